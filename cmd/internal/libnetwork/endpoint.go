package libnetwork

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// optIfname names the interface of an endpoint of footbridge's.
const optIfname = "com.docker.network.endpoint.ifname"

// containerOf is the name of an endpoint's attachment.
func containerOf(endpoint string) string { return namePrefix + short(endpoint) }

// interfaceOf is what an endpoint's interface is called until dockerd renames it: ten digits
// of its id, since the kernel takes 15 bytes.
func interfaceOf(endpoint string) string { return "fb" + endpoint[:10] }

func (id endpointID) check() error {
	if !validID(id.EndpointID) {
		return fmt.Errorf("%q is not the id of an endpoint", clip(id.EndpointID))
	}
	return nil
}

func (d *Driver) createEndpoint(ctx context.Context, req createEndpoint) (createdEndpoint, error) {
	var out createdEndpoint
	if err := req.check(); err != nil {
		return out, err
	}
	rec, err := d.records.get(req.NetworkID)
	if err != nil {
		return out, err
	}
	settings := &network.EndpointSettings{
		IPAMConfig: &network.EndpointIPAMConfig{},
		DriverOpts: map[string]string{optIfname: interfaceOf(req.EndpointID)},
	}
	asked := endpointInterface{}
	if req.Interface != nil {
		asked = *req.Interface
	}
	if settings.IPAMConfig.IPv4Address, err = addressOf(asked.Address); err != nil {
		return out, err
	}
	if settings.IPAMConfig.IPv6Address, err = addressOf(asked.AddressIPv6); err != nil {
		return out, err
	}
	if asked.MacAddress != "" {
		mac, err := net.ParseMAC(asked.MacAddress)
		if err != nil {
			return out, err
		}
		settings.MacAddress = network.HardwareAddr(mac)
	}
	attach := api.NamespaceRequest{Name: containerOf(req.EndpointID), Bare: true}
	attach.Config = &container.Config{Labels: map[string]string{labelNetwork: req.NetworkID, labelEndpoint: req.EndpointID}}
	attach.HostConfig = &container.HostConfig{NetworkMode: container.NetworkMode(rec.Network)}
	attach.NetworkingConfig = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{rec.Network: settings}}
	client, err := d.client(ctx)
	if err != nil {
		return out, err
	}
	if _, err := d.attach(ctx, client, attach); err != nil {
		return out, err
	}
	_, made, err := d.find(ctx, client, req.endpointID)
	if err != nil {
		return out, errors.Join(err, client.NamespaceDetach(context.WithoutCancel(ctx), attach.Name))
	}
	if asked.Address == "" && made.IPAddress.IsValid() {
		out.Interface.Address = netip.PrefixFrom(made.IPAddress, made.IPPrefixLen).String()
	}
	if asked.AddressIPv6 == "" && made.GlobalIPv6Address.IsValid() {
		out.Interface.AddressIPv6 = netip.PrefixFrom(made.GlobalIPv6Address, made.GlobalIPv6PrefixLen).String()
	}
	if asked.MacAddress == "" {
		out.Interface.MacAddress = net.HardwareAddr(made.MacAddress).String()
	}
	return out, nil
}

// addressOf reads ADDRESS/LENGTH; "" is none.
func addressOf(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("the address of an endpoint: %w", err)
	}
	return p.Addr(), nil
}

// find returns the attachment of an endpoint, and what it has on its network.
func (d *Driver) find(ctx context.Context, client Daemon, id endpointID) (container.InspectResponse, *network.EndpointSettings, error) {
	var none container.InspectResponse
	if err := id.check(); err != nil {
		return none, nil, err
	}
	c, err := client.ContainerInspect(ctx, containerOf(id.EndpointID))
	switch {
	case errdefs.IsNotFound(err):
		return none, nil, fmt.Errorf("the endpoint %s is not known here: start its container again", short(id.EndpointID))
	case err != nil:
		return none, nil, err
	case c.Config == nil || c.Config.Labels[labelEndpoint] != id.EndpointID || c.NetworkSettings == nil:
		return none, nil, fmt.Errorf("container %s is not the attachment of endpoint %s: remove it with `footbridge rm -f %[1]s`", containerOf(id.EndpointID), short(id.EndpointID))
	}
	for _, settings := range c.NetworkSettings.Networks {
		return c, settings, nil
	}
	return none, nil, fmt.Errorf("container %s is on no network any more: start its container again", containerOf(id.EndpointID))
}

func (d *Driver) endpointInfo(ctx context.Context, req endpointID) (endpointInfo, error) {
	out := endpointInfo{Value: map[string]string{}}
	client, err := d.client(ctx)
	if err != nil {
		return out, err
	}
	c, settings, err := d.find(ctx, client, req)
	if err != nil {
		return out, err
	}
	out.Value["com.footbridge.container"] = c.ID
	out.Value["com.footbridge.interface"] = interfaceOf(req.EndpointID)
	out.Value["com.docker.network.endpoint.macaddress"] = net.HardwareAddr(settings.MacAddress).String()
	return out, nil
}

func (d *Driver) deleteEndpoint(ctx context.Context, req endpointID) error {
	if err := req.check(); err != nil {
		return err
	}
	client, err := d.client(ctx)
	if err != nil {
		return err
	}
	if _, _, err := d.find(ctx, client, req); err != nil {
		// Of one that is gone dockerd need not know.
		if _, ierr := client.ContainerInspect(ctx, containerOf(req.EndpointID)); errdefs.IsNotFound(ierr) {
			return nil
		}
		return err
	}
	if err := client.NamespaceDetach(ctx, containerOf(req.EndpointID)); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

func (d *Driver) join(ctx context.Context, req join) (joined, error) {
	out := joined{InterfaceName: interfaceName{SrcName: "", DstPrefix: "eth"}}
	client, err := d.client(ctx)
	if err != nil {
		return out, err
	}
	_, settings, err := d.find(ctx, client, req.endpointID)
	if err != nil {
		return out, err
	}
	n, err := client.NetworkInspect(ctx, settings.NetworkID, api.NetworkInspectOptions{})
	if err != nil {
		return out, err
	}
	out.InterfaceName.SrcName = interfaceOf(req.EndpointID)
	if prefix := n.Options[optIfacePrefix]; prefix != "" {
		out.InterfaceName.DstPrefix = prefix
	}
	if !n.Internal {
		if settings.Gateway.IsValid() {
			out.Gateway = settings.Gateway.String()
		}
		if settings.IPv6Gateway.IsValid() {
			out.GatewayIPv6 = settings.IPv6Gateway.String()
		}
	}
	// Else dockerd gives a container without a gateway another way out, by a bridge of its own.
	out.DisableGatewayService = out.Gateway == ""
	return out, nil
}

// leave has nothing to do: dockerd has taken the interface out of its container.
func (d *Driver) leave(_ context.Context, req endpointID) error { return req.check() }
