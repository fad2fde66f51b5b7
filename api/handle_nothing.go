package api

import (
	"net/http"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/volume"
)

// Lists of what there is none of, and their prunes, are answered with the truth instead of a
// refusal: scripts that clean up go on. What would make or fetch something stays refused.
var (
	imagesNone    = []image.Summary{}
	imagesPruned  = image.PruneReport{ImagesDeleted: []image.DeleteResponse{}}
	volumesNone   = volume.ListResponse{Volumes: []volume.Volume{}, Warnings: []string{}}
	volumesPruned = volume.PruneReport{VolumesDeleted: []string{}}
	buildPruned   = build.CachePruneReport{CachesDeleted: []string{}}
)

// nothing answers with what never changes. Filters must be such, whatever they select of nothing.
func (s *Server) nothing(answer any) handlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		q, err := queryOf(r)
		if err != nil {
			return err
		}
		if _, err := q.filters(); err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, answer)
	}
}
