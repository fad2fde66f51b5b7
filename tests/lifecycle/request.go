package lifecycle

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// Docker is what is asked: the engine, or a client of a daemon.
type Docker interface {
	NetworkCreate(context.Context, network.CreateRequest) (network.CreateResponse, error)
	NetworkList(context.Context, api.Filters) ([]network.Summary, error)
	NetworkInspect(context.Context, string, api.NetworkInspectOptions) (network.Inspect, error)
	NetworkRemove(context.Context, string) error
	NetworksPrune(context.Context, api.Filters) (network.PruneReport, error)
	NetworkConnect(context.Context, string, network.ConnectRequest) error
	NetworkDisconnect(context.Context, string, network.DisconnectRequest) error
	ContainerCreate(context.Context, string, container.CreateRequest) (container.CreateResponse, error)
	ContainerStart(context.Context, string) error
	ContainerStop(context.Context, string, api.StopOptions) error
	ContainerRestart(context.Context, string, api.StopOptions) error
	ContainerKill(context.Context, string, string) error
	ContainerRename(context.Context, string, string) error
	ContainerRemove(context.Context, string, api.RemoveOptions) error
	ContainersPrune(context.Context, api.Filters) (api.ContainersPruneReport, error)
	ContainerList(context.Context, api.ListOptions) ([]container.Summary, error)
	ContainerInspect(context.Context, string) (container.InspectResponse, error)
	ContainerWait(context.Context, string, container.WaitCondition) (<-chan container.WaitResponse, error)
	ExecCreate(context.Context, string, container.ExecCreateRequest) (container.ExecCreateResponse, error)
	ContainerPublish(context.Context, string, api.PublishRequest) (api.PublishResponse, error)
	ContainerUnpublish(context.Context, string, api.PublishRequest) error
}

// ask does an operation of Docker's API. namespace is the path that a container in mode "ns" joins.
func ask(ctx context.Context, d Docker, op Op, namespace string) error {
	name := ctrName(op.C)
	var err error
	switch op.Kind {
	case NetCreate:
		_, err = d.NetworkCreate(ctx, networkRequest(op))
	case NetRemove:
		err = d.NetworkRemove(ctx, netName(op.N[0]))
	case NetPrune:
		_, err = d.NetworksPrune(ctx, nil)
	case Connect:
		err = d.NetworkConnect(ctx, netName(op.N[0]), network.ConnectRequest{Container: name, EndpointConfig: endpointRequest(op)})
	case Disconnect:
		err = d.NetworkDisconnect(ctx, netName(op.N[0]), network.DisconnectRequest{Container: name})
	case Create:
		_, err = d.ContainerCreate(ctx, name, containerRequest(op, namespace))
	case Start:
		err = d.ContainerStart(ctx, name)
	case Stop:
		err = d.ContainerStop(ctx, name, api.StopOptions{})
	case Kill:
		err = d.ContainerKill(ctx, name, "KILL")
	case Restart:
		err = d.ContainerRestart(ctx, name, api.StopOptions{})
	case Rename:
		err = d.ContainerRename(ctx, name, ctrName(op.Other))
	case Remove:
		err = d.ContainerRemove(ctx, name, api.RemoveOptions{Force: op.Flag})
	case Prune:
		_, err = d.ContainersPrune(ctx, nil)
	case Exec:
		_, err = d.ExecCreate(ctx, name, container.ExecCreateRequest{Cmd: []string{"true"}})
	case Publish:
		_, err = d.ContainerPublish(ctx, name, api.PublishRequest{PortBindings: portMap(op)})
	case Unpublish:
		err = d.ContainerUnpublish(ctx, name, api.PublishRequest{PortBindings: portMap(op)})
	default:
		return fmt.Errorf("%s is no operation of the API", op.Kind)
	}
	return err
}

func networkRequest(op Op) network.CreateRequest {
	s := shapes[op.Shape]
	req := network.CreateRequest{Name: netName(op.N[0]), Internal: s.internal, IPAM: &network.IPAM{}}
	for _, p := range s.subnets(op.N[0]) {
		req.IPAM.Config = append(req.IPAM.Config, network.IPAMConfig{Subnet: p})
	}
	yes, no := true, false
	if s.has6() {
		req.EnableIPv6 = &yes
	}
	if s.only6 {
		req.EnableIPv4 = &no
	}
	return req
}

func endpointRequest(op Op) *network.EndpointSettings {
	s := &network.EndpointSettings{}
	if op.Alias > 0 {
		s.Aliases = []string{fmt.Sprintf("alias%d", op.Alias)}
	}
	if op.Static > 0 {
		s.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: staticAddr(op, netName(op.N[0]))}
	}
	return s
}

func containerRequest(op Op, namespace string) container.CreateRequest {
	host := &container.HostConfig{AutoRemove: op.Flag, PortBindings: network.PortMap{}, NetworkMode: container.NetworkMode(op.Mode)}
	networks := &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{}}
	switch op.Mode {
	case "":
		numbers := networksOf(op)
		host.NetworkMode = container.NetworkMode(netName(numbers[0]))
		for i, n := range numbers {
			s := &network.EndpointSettings{}
			if i == 0 {
				op.N = numbers
				s = endpointRequest(op)
			}
			networks.EndpointsConfig[netName(n)] = s
		}
		host.PortBindings = portMap(op)
	case "container":
		host.NetworkMode = container.NetworkMode("container:" + ctrName(op.Other))
	case "ns":
		host.NetworkMode = container.NetworkMode("ns:" + namespace)
	}
	return container.CreateRequest{
		Config:     &container.Config{Cmd: []string{"sleep", "infinity"}},
		HostConfig: host, NetworkingConfig: networks,
	}
}

// portMap is what an operation publishes.
func portMap(op Op) network.PortMap {
	out := network.PortMap{}
	for _, i := range op.Ports {
		p, b := portSpecs[i].wish()
		out[p] = append(out[p], b)
	}
	return out
}

// wish is the spec as the API has it.
func (s portSpec) wish() (network.Port, network.PortBinding) {
	b := network.PortBinding{HostPort: s.hostPorts()}
	if s.host != "" {
		b.HostIP = netip.MustParseAddr(s.host)
	}
	return network.MustParsePort(fmt.Sprintf("%d/%s", s.container, s.proto)), b
}

// classOf is the class of an error, as the model has it.
func classOf(err error) string {
	switch {
	case err == nil:
		return ok
	case errdefs.IsNotFound(err):
		return notFound
	case errdefs.IsConflict(err):
		return conflict
	case errdefs.IsPermissionDenied(err):
		return forbidden
	case errdefs.IsInvalidArgument(err):
		return invalid
	case errdefs.IsNotModified(err):
		return notModified
	}
	return "another error"
}
