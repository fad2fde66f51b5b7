package main

import (
	"context"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
	"github.com/footbridge-net/footbridge/internal/netavark"
)

// daemon is what the plugin asks of footbridge's. It is an api.Client.
type daemon interface {
	NetworkCreate(ctx context.Context, req network.CreateRequest) (network.CreateResponse, error)
	NetworkList(ctx context.Context, filters api.Filters) ([]network.Summary, error)
	NetworkRemove(ctx context.Context, nameOrID string) error
	NetworkConnect(ctx context.Context, nameOrID string, req network.ConnectRequest) error
	NetworkDisconnect(ctx context.Context, nameOrID string, req network.DisconnectRequest) error
	ContainerList(ctx context.Context, o api.ListOptions) ([]container.Summary, error)
	ContainerInspectAll(ctx context.Context, nameOrID string) (api.ContainerInspect, error)
	ContainerPublish(ctx context.Context, nameOrID string, req api.PublishRequest) (api.PublishResponse, error)
	NamespaceAttach(ctx context.Context, req api.NamespaceRequest) (container.CreateResponse, error)
	NamespaceDetach(ctx context.Context, nameOrID string) error
}

// labelled is a filter.
func labelled(label, value string) api.Filters {
	f := api.Filters{}
	f.Add("label", label+"="+value)
	return f
}

// findContainer returns the id of the attached namespace that stands for one of podman's
// containers, "" if there is none.
func findContainer(ctx context.Context, d daemon, podmanID string) (string, error) {
	// The CNI plugin's are podman's as well, where that is its network backend.
	for _, label := range []string{netavark.LabelContainer, plugin.LabelCNI} {
		list, err := d.ContainerList(ctx, api.ListOptions{All: true, Filters: labelled(label, podmanID)})
		if err != nil || len(list) > 0 {
			return firstID(list), err
		}
	}
	return "", nil
}

func firstID(list []container.Summary) string {
	if len(list) == 0 {
		return ""
	}
	return list[0].ID
}

// findNetwork returns the id of the network that stands for one of podman's, "" if there
// is none.
func findNetwork(ctx context.Context, d daemon, podmanID string) (string, error) {
	list, err := d.NetworkList(ctx, labelled(netavark.LabelNetwork, podmanID))
	if err != nil || len(list) == 0 {
		return "", err
	}
	return list[0].ID, nil
}

// sweep removes the networks of podman's on which nobody is: the one of a teardown, and
// what containers left that ended without one. Whoever is about to use such a network
// makes it once more.
func sweep(ctx context.Context, d daemon) error {
	f := api.Filters{}
	f.Add("label", netavark.LabelNetwork)
	f.Add("dangling", "true")
	list, err := d.NetworkList(ctx, f)
	if err != nil {
		return err
	}
	for _, n := range list {
		err := d.NetworkRemove(ctx, n.ID)
		if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsPermissionDenied(err) { // somebody was faster, or has come
			return err
		}
	}
	return nil
}
