package api

import (
	"context"
	"net/http"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
)

// PublishRequest names published ports of a container, as HostConfig.PortBindings
// does: by the container's port, each with the host's addresses and ports.
type PublishRequest struct {
	PortBindings network.PortMap
}

// PublishResponse tells what came of it.
type PublishResponse struct {
	// Ports are those of the request that the host listens at now, as in
	// NetworkSettings.Ports.
	Ports    network.PortMap
	Warnings []string
}

// Publisher changes the published ports of containers that are there already.
type Publisher interface {
	// ContainerPublish publishes further ports, all of the request or none: at once
	// if the container runs, and at its starts. What is published already in the same
	// words stays as it is and is no error.
	ContainerPublish(ctx context.Context, nameOrID string, req PublishRequest) (PublishResponse, error)
	// ContainerUnpublish takes published ports back, all of the request or none. A
	// port without bindings means all of that port's; in a binding, no address means
	// any, and no host port any. errdefs.ErrNotFound when one is not published.
	ContainerUnpublish(ctx context.Context, nameOrID string, req PublishRequest) error
}

func publishRequest(w http.ResponseWriter, r *http.Request) (name string, req PublishRequest, err error) {
	if name, _, err = containerAnd(r); err != nil {
		return name, req, err
	}
	if err := readJSON(w, r, &req); err != nil {
		return name, req, err
	}
	if len(req.PortBindings) == 0 {
		return name, req, Errorf(errdefs.ErrInvalidArgument, "no port given: PortBindings is empty")
	}
	return name, req, nil
}

func (s *Server) containerPublish(w http.ResponseWriter, r *http.Request) error {
	name, req, err := publishRequest(w, r)
	if err != nil {
		return err
	}
	res, err := s.backend.ContainerPublish(r.Context(), name, req)
	if err != nil {
		return err
	}
	if res.Ports == nil {
		res.Ports = network.PortMap{}
	}
	res.Warnings = orEmpty(res.Warnings)
	return writeJSON(w, http.StatusOK, res)
}

func (s *Server) containerUnpublish(w http.ResponseWriter, r *http.Request) error {
	name, req, err := publishRequest(w, r)
	if err != nil {
		return err
	}
	return writeStatus(w, http.StatusNoContent, s.backend.ContainerUnpublish(r.Context(), name, req))
}

// ContainerPublish publishes further ports of a container.
func (c *Client) ContainerPublish(ctx context.Context, nameOrID string, req PublishRequest) (PublishResponse, error) {
	var out PublishResponse
	return out, c.postOwn(ctx, pathOf("containers", nameOrID, "publish"), req, &out)
}

// ContainerUnpublish takes published ports of a container back.
func (c *Client) ContainerUnpublish(ctx context.Context, nameOrID string, req PublishRequest) error {
	return c.postOwn(ctx, pathOf("containers", nameOrID, "unpublish"), req, nil)
}
