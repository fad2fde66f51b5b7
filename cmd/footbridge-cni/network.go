package main

import (
	"context"
	"encoding/json"
	"maps"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// labelConfig is the label of a network that the plugin has made: its networkConfig.
const labelConfig = "com.footbridge.cni.config"

// optMTU is a network's option.
const optMTU = "com.docker.network.driver.mtu"

// ensureNetwork makes the network of a configuration where it is not there. One that the
// plugin has made from other settings is made anew if nobody is on it; one that somebody
// else has made is used as it is.
func ensureNetwork(ctx context.Context, client *api.Client, c *config) error {
	wanted, err := json.Marshal(c.network)
	if err != nil {
		return err
	}
	there, err := client.NetworkInspect(ctx, c.name, api.NetworkInspectOptions{})
	if errdefs.IsNotFound(err) {
		return createNetwork(ctx, client, c, string(wanted))
	}
	if err != nil {
		return err
	}
	made, ours := there.Labels[labelConfig]
	switch {
	case ours && made == string(wanted), !ours && c.network.empty():
		return nil
	case !ours:
		return badConfig("the network %s is there already, and was not made by this plugin: leave subnets, ipv6, internal, mtu and options out, or remove it with `footbridge network rm %s`", c.name, c.name)
	case len(there.Containers) > 0:
		return badConfig("the network %s has %d containers, and was made with other settings (%s): change them when the last one has left", c.name, len(there.Containers), made)
	}
	if err := client.NetworkRemove(ctx, there.ID); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return createNetwork(ctx, client, c, string(wanted))
}

func createNetwork(ctx context.Context, client *api.Client, c *config, label string) error {
	n := c.network
	req := network.CreateRequest{
		Name: c.name, Internal: n.Internal, EnableIPv6: n.IPv6, Options: maps.Clone(n.Options),
		Labels: map[string]string{labelConfig: label},
	}
	if n.MTU != 0 {
		if req.Options == nil {
			req.Options = map[string]string{}
		}
		req.Options[optMTU] = strconv.Itoa(n.MTU)
	}
	if len(n.Subnets) > 0 {
		req.IPAM = &network.IPAM{}
	}
	for _, s := range n.Subnets {
		req.IPAM.Config = append(req.IPAM.Config, network.IPAMConfig{Subnet: s.Subnet, Gateway: s.Gateway, IPRange: s.Range})
	}
	_, err := client.NetworkCreate(ctx, req)
	if !errdefs.IsConflict(err) && !errdefs.IsPermissionDenied(err) {
		return err
	}
	// Another request was first; or it is something else that is in the way.
	there, ierr := client.NetworkInspect(ctx, c.name, api.NetworkInspectOptions{})
	if ierr != nil || there.Labels[labelConfig] != label {
		return badConfig("%v", err)
	}
	return nil
}
