package libnetwork

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// protocols are names of IP protocols that ports are published of, by their numbers.
var protocols = map[uint8]network.IPProtocol{6: network.TCP, 17: network.UDP}

func (d *Driver) publish(ctx context.Context, req externalConnectivity) error {
	bindings, err := portMap(req.Options)
	if err != nil || len(bindings) == 0 {
		return err
	}
	client, err := d.client(ctx)
	if err != nil {
		return err
	}
	if _, _, err := d.find(ctx, client, req.endpointID); err != nil {
		return err
	}
	_, err = client.ContainerPublish(ctx, containerOf(req.EndpointID), api.PublishRequest{PortBindings: bindings})
	return err
}

func (d *Driver) unpublish(ctx context.Context, req endpointID) error {
	client, err := d.client(ctx)
	if err != nil {
		return err
	}
	c, err := client.ContainerInspect(ctx, containerOf(req.EndpointID))
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil || c.HostConfig == nil || len(c.HostConfig.PortBindings) == 0 {
		return err
	}
	all := network.PortMap{}
	for port := range c.HostConfig.PortBindings {
		all[port] = nil // all of it
	}
	err = client.ContainerUnpublish(ctx, containerOf(req.EndpointID), api.PublishRequest{PortBindings: all})
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// portMap reads the published ports of a container.
func portMap(options map[string]any) (network.PortMap, error) {
	given, ok := options[optPortMap]
	if !ok || given == nil {
		return nil, nil
	}
	b, err := json.Marshal(given)
	if err != nil {
		return nil, err
	}
	var list []portBinding
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("the published ports are not understood: %w", err)
	}
	out := network.PortMap{}
	for _, b := range list {
		proto, ok := protocols[b.Proto]
		if !ok {
			return nil, fmt.Errorf("port %d of the IP protocol %d cannot be published: footbridge's networks carry TCP and UDP", b.Port, b.Proto)
		}
		port, ok := network.PortFrom(b.Port, proto)
		if !ok || b.Port == 0 {
			return nil, fmt.Errorf("port %d cannot be published", b.Port)
		}
		binding := network.PortBinding{}
		if b.HostIP != "" {
			if binding.HostIP, err = netip.ParseAddr(b.HostIP); err != nil {
				return nil, fmt.Errorf("port %d: %w", b.Port, err)
			}
		}
		switch {
		case b.HostPortEnd > b.HostPort:
			binding.HostPort = fmt.Sprintf("%d-%d", b.HostPort, b.HostPortEnd)
		case b.HostPort != 0:
			binding.HostPort = strconv.Itoa(int(b.HostPort))
		}
		out[port] = append(out[port], binding)
	}
	return out, nil
}
