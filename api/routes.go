package api

import (
	"net/http"

	"github.com/containerd/errdefs"
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

const (
	noImages  = "images are not supported by footbridge: its containers run the host's programs and see the host's files"
	noVolumes = "volumes are not supported by footbridge: its containers see the host's files"
	noSwarm   = "swarm mode is not supported by footbridge: its networks live on one host"
	noPlugins = "plugins are not supported by footbridge"
	noBuild   = "building images is not supported by footbridge"
	noLogin   = "registries are not supported by footbridge: it has no images"
	noCgroups = "resource limits and statistics are not supported by footbridge"
	noFiles   = "copying files is not supported by footbridge: its containers see the host's files"
	noDocker  = "this Docker operation is not supported by footbridge"
)

// lacking is what Docker has and footbridge has not: pattern -> why. The words
// "not supported" matter: docker's command line, when it looks for a name among
// objects of every kind, goes on to the next kind when it reads them.
var lacking = map[string]string{
	"/images/":       noImages,
	"/images":        noImages,
	"/distribution/": noImages,
	"/commit":        noImages,

	"/build":   noBuild,
	"/build/":  noBuild,
	"/session": noBuild,
	"/grpc":    noBuild,
	"/auth":    noLogin,

	"/volumes":  noVolumes,
	"/volumes/": noVolumes,

	"/swarm":     noSwarm,
	"/swarm/":    noSwarm,
	"/nodes":     noSwarm,
	"/nodes/":    noSwarm,
	"/services":  noSwarm,
	"/services/": noSwarm,
	"/tasks":     noSwarm,
	"/tasks/":    noSwarm,
	"/secrets":   noSwarm,
	"/secrets/":  noSwarm,
	"/configs":   noSwarm,
	"/configs/":  noSwarm,

	"/plugins":  noPlugins,
	"/plugins/": noPlugins,

	"GET /system/df": noDocker,

	"GET /containers/{name}/changes":                     noDocker,
	"GET /containers/{name}/attach/ws":                   noDocker,
	"POST /containers/{name}/pause":                      noDocker,
	"POST /containers/{name}/unpause":                    noDocker,
	"GET /containers/{name}/checkpoints":                 noDocker,
	"POST /containers/{name}/checkpoints":                noDocker,
	"DELETE /containers/{name}/checkpoints/{checkpoint}": noDocker,
	"GET /containers/{name}/stats":                       noCgroups,
	"POST /containers/{name}/update":                     noCgroups,
	"GET /containers/{name}/export":                      noFiles,
	"GET /containers/{name}/archive":                     noFiles,
	"PUT /containers/{name}/archive":                     noFiles,
}
