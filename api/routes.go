package api

import (
	"net/http"

	"github.com/containerd/errdefs"

	"github.com/footbridge-net/footbridge/internal/absent"
)

// routes registers everything the server knows. A pattern is here once; the
// version before it is taken off by negotiate.
func (s *Server) routes() {
	for pattern, h := range map[string]handlerFunc{
		"GET /_ping":   s.ping, // GET is HEAD too
		"GET /version": s.version,
		"GET /info":    s.info,
		"GET /events":  s.events,

		"GET /networks":                    s.networkList,
		"GET /networks/{name}":             s.networkInspect,
		"DELETE /networks/{name}":          s.networkRemove,
		"POST /networks/create":            s.networkCreate,
		"POST /networks/prune":             s.networksPrune,
		"POST /networks/{name}/connect":    s.networkConnect,
		"POST /networks/{name}/disconnect": s.networkDisconnect,

		"GET /containers/json":            s.containerList,
		"POST /containers/create":         s.containerCreate,
		"GET /containers/{name}/json":     s.containerInspect,
		"GET /containers/{name}/logs":     s.containerLogs,
		"POST /containers/{name}/start":   s.containerStart,
		"POST /containers/{name}/stop":    s.containerStop,
		"POST /containers/{name}/kill":    s.containerKill,
		"POST /containers/{name}/restart": s.containerRestart,
		"POST /containers/{name}/rename":  s.containerRename,
		"GET /containers/{name}/top":      s.containerTop,
		"POST /containers/prune":          s.containersPrune,
		"POST /containers/{name}/wait":    s.containerWait,
		"POST /containers/{name}/attach":  s.containerAttach,
		"POST /containers/{name}/resize":  s.containerResize,
		"POST /containers/{name}/exec":    s.execCreate,
		"DELETE /containers/{name}":       s.containerRemove,

		"GET /images/json":    s.nothing(imagesNone),
		"POST /images/prune":  s.nothing(imagesPruned),
		"GET /volumes":        s.nothing(volumesNone),
		"POST /volumes/prune": s.nothing(volumesPruned),
		"POST /build/prune":   s.nothing(buildPruned),

		"POST /exec/{id}/start":  s.execStart,
		"POST /exec/{id}/resize": s.execResize,
		"GET /exec/{id}/json":    s.execInspect,

		"GET " + ownPrefix + "/status":    s.status,
		"POST " + ownPrefix + "/shutdown": s.shutdown,
		"POST " + ownPrefix + "/upgrade":  s.upgrade,
		"POST " + ownPrefix + "/attach":   s.namespaceAttach,
		"POST " + ownPrefix + "/dial":     s.dial,

		"POST " + ownPrefix + "/containers/{name}/detach":    s.namespaceDetach,
		"POST " + ownPrefix + "/containers/{name}/publish":   s.containerPublish,
		"POST " + ownPrefix + "/containers/{name}/unpublish": s.containerUnpublish,
	} {
		s.handle(pattern, h)
	}
	for pattern, why := range lacking {
		s.handle(pattern, func(http.ResponseWriter, *http.Request) error {
			return Errorf(errdefs.ErrNotImplemented, "%s", why)
		})
	}
}

// lacking is what Docker has and footbridge has not: pattern -> why. What can be
// answered truly all the same is in handle_nothing.go.
var lacking = map[string]string{
	"/images/":       absent.Images,
	"/images":        absent.Images,
	"/distribution/": absent.Images,
	"/commit":        absent.Images,

	"/build":   absent.Build,
	"/build/":  absent.Build,
	"/session": absent.Build,
	"/grpc":    absent.Build,
	"/auth":    absent.Login,

	"/volumes/": absent.Volumes,

	"/swarm":     absent.Swarm,
	"/swarm/":    absent.Swarm,
	"/nodes":     absent.Swarm,
	"/nodes/":    absent.Swarm,
	"/services":  absent.Swarm,
	"/services/": absent.Swarm,
	"/tasks":     absent.Swarm,
	"/tasks/":    absent.Swarm,
	"/secrets":   absent.Swarm,
	"/secrets/":  absent.Swarm,
	"/configs":   absent.Swarm,
	"/configs/":  absent.Swarm,

	"/plugins":  absent.Plugins,
	"/plugins/": absent.Plugins,

	"GET /system/df": absent.DiskUsage,

	"GET /containers/{name}/changes":                     absent.Changes,
	"GET /containers/{name}/attach/ws":                   absent.WebSocket,
	"POST /containers/{name}/pause":                      absent.Pause,
	"POST /containers/{name}/unpause":                    absent.Pause,
	"GET /containers/{name}/checkpoints":                 absent.Checkpoints,
	"POST /containers/{name}/checkpoints":                absent.Checkpoints,
	"DELETE /containers/{name}/checkpoints/{checkpoint}": absent.Checkpoints,
	"GET /containers/{name}/stats":                       absent.Cgroups,
	"POST /containers/{name}/update":                     absent.Cgroups,
	"GET /containers/{name}/export":                      absent.Files,
	"GET /containers/{name}/archive":                     absent.Files,
	"PUT /containers/{name}/archive":                     absent.Files,
}
