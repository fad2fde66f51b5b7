package api

import (
	"context"
	"net/netip"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// ContainerPublish of the fake listens wherever it is asked to.
func (f *fake) ContainerPublish(_ context.Context, nameOrID string, req PublishRequest) (PublishResponse, error) {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return PublishResponse{}, err
	}
	if _, err := f.container(nameOrID); err != nil {
		return PublishResponse{}, err
	}
	return PublishResponse{Ports: req.PortBindings}, nil
}

// ContainerUnpublish of the fake knows of no published port.
func (f *fake) ContainerUnpublish(_ context.Context, nameOrID string, _ PublishRequest) error {
	return Errorf(errdefs.ErrNotFound, "no public port published for %s", nameOrID)
}

func TestPublish(t *testing.T) {
	_, c := start(t)
	ctx := testContext(t)
	createContainer(t, c, "web", container.Config{Cmd: []string{"wait"}})
	at := network.PortBinding{HostIP: netip.MustParseAddr("::1"), HostPort: "8000-8010"}
	want := PublishRequest{PortBindings: network.PortMap{network.MustParsePort("80/tcp"): {at}}}
	res, err := c.ContainerPublish(ctx, "web", want)
	if err != nil || len(res.Ports) != 1 || res.Ports[network.MustParsePort("80/tcp")][0] != at || res.Warnings == nil {
		t.Errorf("publish: %+v, %v", res, err)
	}
	if err := c.ContainerUnpublish(ctx, "web", want); !errdefs.IsNotFound(err) {
		t.Errorf("unpublish: %v, want not found", err)
	}
	for _, name := range []string{"web", "", "-", "nobody"} {
		request := want
		if name == "web" {
			request = PublishRequest{}
		}
		if _, err := c.ContainerPublish(ctx, name, request); err == nil {
			t.Errorf("publish of %q, %v: no error", name, request)
		}
	}
}
