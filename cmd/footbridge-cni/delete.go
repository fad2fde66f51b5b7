package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
)

// del implements DEL. What is not there is no error: neither the container, nor its
// namespace, nor the network, nor a daemon.
func (p request) del(args *skel.CmdArgs) error {
	name, err := networkName(args.StdinData)
	if err != nil {
		return err
	}
	client, err := p.forRemoval()
	if client == nil {
		return fromDaemon(err)
	}
	return fromDaemon(remove(p.ctx, client, name, args.ContainerID, args.IfName))
}

// forRemoval returns a client, and none if there is no daemon and nothing that it would
// remove. What a daemon that ended has left it would attach again at its next start.
func (p request) forRemoval() (*api.Client, error) {
	client, err := p.connect(p.ctx, plugin.Options{Existing: true})
	if !errors.Is(err, api.ErrNoDaemon) {
		return client, err
	}
	left, err := filepath.Glob(filepath.Join(plugin.RuntimeDir(os.Getenv), "c", "*"))
	if err != nil || len(left) == 0 || plugin.InRuntime() {
		// A runtime removes its namespaces after this, and the next daemon finds them gone.
		return nil, err
	}
	return p.connect(p.ctx, plugin.Options{})
}

// remove takes a network from a container, and with the last one the container.
func remove(ctx context.Context, client *api.Client, network, id, ifname string) error {
	name := containerName(id)
	there, err := client.ContainerInspect(ctx, name)
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case err != nil:
		return err
	case there.Config.Labels[labelContainer] != id:
		return nil
	}
	e, ok := there.NetworkSettings.Networks[network]
	if !ok || e.DriverOpts[optIfname] != ifname {
		return nil
	}
	if len(there.NetworkSettings.Networks) > 1 {
		err = disconnect(ctx, client, network, name)
	} else {
		err = client.NamespaceDetach(ctx, there.ID)
	}
	if errdefs.IsNotFound(err) { // it has ended meanwhile
		return nil
	}
	return err
}

func disconnect(ctx context.Context, client *api.Client, name, container string) error {
	return client.NetworkDisconnect(ctx, name, network.DisconnectRequest{Container: container, Force: true})
}

// collect implements GC: of this network, attachments that are not named are removed.
func (p request) collect(args *skel.CmdArgs) error {
	c, err := readConfig(args.StdinData)
	if err != nil {
		return err
	}
	client, err := p.forRemoval()
	if client == nil {
		return fromDaemon(err)
	}
	all, err := client.ContainerList(p.ctx, api.ListOptions{All: true, Filters: api.Filters{}.Add("label", labelContainer)})
	if err != nil {
		return fromDaemon(err)
	}
	var failed []error
	for _, found := range all {
		id := found.Labels[labelContainer]
		there, err := client.ContainerInspect(p.ctx, found.ID)
		if errdefs.IsNotFound(err) || errdefs.IsPermissionDenied(err) { // it has ended, or is another runtime's
			continue
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		e, ok := there.NetworkSettings.Networks[c.name]
		if !ok {
			continue
		}
		ifname := e.DriverOpts[optIfname]
		if slices.Contains(c.attachments, types.GCAttachment{ContainerID: id, IfName: ifname}) {
			continue
		}
		if err := remove(p.ctx, client, c.name, id, ifname); err != nil {
			failed = append(failed, err)
		}
	}
	return fromDaemon(errors.Join(failed...))
}
