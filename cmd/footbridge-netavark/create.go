package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/containerd/errdefs"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
	"github.com/footbridge-net/footbridge/internal/netavark"
)

// maxAttempts bounds how often other subnets are chosen when the host is found to lead
// elsewhere with the ones before.
const maxAttempts = 16

// create completes a network that podman is to have. Whether footbridge can make it is
// found out by making it: it goes again, and comes back with its first container.
func (p *program) create(ctx context.Context, asked netavark.Network) (netavark.Network, error) {
	d, err := p.connect(ctx, plugin.Options{Getenv: p.getenv})
	if err != nil {
		return asked, err
	}
	if err := sweep(ctx, d); err != nil {
		return asked, err
	}
	taken, err := subnetsOf(ctx, d)
	if err != nil {
		return asked, err
	}
	taken = append(taken, netavark.Taken(p.getenv)...)
	for attempt := 0; ; attempt++ {
		n := asked
		n.Subnets = slices.Clone(asked.Subnets)
		chosen, err := n.Complete(taken, attempt)
		if err != nil {
			return n, err
		}
		req, err := n.Request()
		if err != nil {
			return n, err
		}
		made, err := d.NetworkCreate(ctx, req)
		switch {
		case err == nil:
			return n, d.NetworkRemove(ctx, made.ID)
		case errdefs.IsConflict(err):
			return n, fmt.Errorf("%w: it is footbridge's own, or one of another storage of podman's; choose another name, or remove it with `footbridge network rm %s`", err, n.Name)
		case !chosen || !errdefs.IsPermissionDenied(err) || attempt == maxAttempts:
			return n, err
		}
	}
}

// subnetsOf returns those of the networks that there are.
func subnetsOf(ctx context.Context, d daemon) ([]netip.Prefix, error) {
	list, err := d.NetworkList(ctx, api.Filters{})
	if err != nil {
		return nil, err
	}
	var out []netip.Prefix
	for _, n := range list {
		for _, c := range n.IPAM.Config {
			if c.Subnet.IsValid() {
				out = append(out, c.Subnet)
			}
		}
	}
	return out, nil
}
