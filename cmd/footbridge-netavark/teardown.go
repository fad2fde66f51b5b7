package main

import (
	"context"
	"errors"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
	"github.com/footbridge-net/footbridge/internal/netavark"
)

// teardown takes a container from a network. Nothing to take is no error: podman calls
// it again after failures. The namespace is not looked at, it may be gone.
func (p *program) teardown(ctx context.Context, e netavark.Exec) error {
	d, err := p.connect(ctx, plugin.Options{Getenv: p.getenv, Existing: true})
	if errors.Is(err, api.ErrNoDaemon) {
		// The next daemon finds the namespace gone, and detaches it.
		return nil
	}
	if err != nil {
		return err
	}
	if err := leave(ctx, d, e); err != nil {
		return err
	}
	return sweep(ctx, d)
}

// leave takes the container from the network, and from footbridge with its last one.
func leave(ctx context.Context, d daemon, e netavark.Exec) error {
	id, err := findContainer(ctx, d, e.ContainerID)
	if err != nil || id == "" {
		return err
	}
	at, err := findNetwork(ctx, d, e.Network.ID)
	if err != nil {
		return err
	}
	found, err := d.ContainerInspectAll(ctx, id)
	if err != nil {
		return ignore(err, errdefs.IsNotFound)
	}
	on, others := false, 0
	for _, n := range found.NetworkSettings.Networks {
		if at != "" && n.NetworkID == at {
			on = true
		} else {
			others++
		}
	}
	switch {
	case others == 0:
		err = d.NamespaceDetach(ctx, id)
	case on:
		err = d.NetworkDisconnect(ctx, at, network.DisconnectRequest{Container: id})
	}
	return ignore(err, errdefs.IsNotFound)
}
