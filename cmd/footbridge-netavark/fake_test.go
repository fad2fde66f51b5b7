package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
	"github.com/footbridge-net/footbridge/internal/netavark"
)

// fake is a daemon of which only what the plugin uses is there.
type fake struct {
	networks   map[string]*network.CreateRequest // by name, which is the id too
	containers map[string]*fakeContainer         // by name, which is the id too
	overlaps   []netip.Prefix                    // routes of the host
	stolen     int                               // networks that somebody removes before they are used
	fails      map[string]error                  // by method
	calls      []string                          // what changed something
}

type fakeContainer struct {
	labels   map[string]string
	inode    uint64
	networks map[string]*network.EndpointSettings
	ports    network.PortMap
}

func newFake() *fake {
	return &fake{networks: map[string]*network.CreateRequest{}, containers: map[string]*fakeContainer{}, fails: map[string]error{}}
}

func (f *fake) did(format string, args ...any) error {
	call := fmt.Sprintf(format, args...)
	f.calls = append(f.calls, call)
	return f.fails[strings.Fields(call)[0]]
}

func (f *fake) NetworkCreate(_ context.Context, req network.CreateRequest) (network.CreateResponse, error) {
	if f.networks[req.Name] != nil {
		return network.CreateResponse{}, api.Errorf(errdefs.ErrConflict, "network with name %s already exists", req.Name)
	}
	for _, c := range req.IPAM.Config {
		if slices.ContainsFunc(f.overlaps, c.Subnet.Overlaps) {
			return network.CreateResponse{}, api.Errorf(errdefs.ErrPermissionDenied, "Pool overlaps")
		}
	}
	if err := f.did("create %s", req.Name); err != nil {
		return network.CreateResponse{}, err
	}
	if f.stolen > 0 { // by another podman's teardown
		f.stolen--
		return network.CreateResponse{ID: req.Name}, nil
	}
	f.networks[req.Name] = &req
	return network.CreateResponse{ID: req.Name}, nil
}

func (f *fake) NetworkList(_ context.Context, filters api.Filters) ([]network.Summary, error) {
	var out []network.Summary
	for name, n := range f.networks {
		used := slices.ContainsFunc(slices.Collect(maps.Values(f.containers)), func(c *fakeContainer) bool { return c.networks[name] != nil })
		if filters.MatchLabels(n.Labels) && (!filters.Has("dangling") || !used) {
			out = append(out, network.Summary{Network: network.Network{ID: name, Name: name, IPAM: *n.IPAM}})
		}
	}
	return out, nil
}

func (f *fake) NetworkRemove(_ context.Context, name string) error {
	if err := f.did("remove %s", name); err != nil {
		return err
	}
	if f.networks[name] == nil {
		return api.Errorf(errdefs.ErrNotFound, "no network %s", name)
	}
	delete(f.networks, name)
	return nil
}

func (f *fake) NetworkConnect(_ context.Context, name string, req network.ConnectRequest) error {
	if err := f.did("connect %s %s", name, req.Container); err != nil {
		return err
	}
	return f.join(name, f.containers[req.Container], req.EndpointConfig)
}

func (f *fake) join(name string, c *fakeContainer, s *network.EndpointSettings) error {
	if f.networks[name] == nil {
		return api.Errorf(errdefs.ErrNotFound, "no network %s", name)
	}
	got := *s
	got.NetworkID, got.IPAddress, got.IPPrefixLen = name, s.IPAMConfig.IPv4Address, 24
	got.Gateway = f.networks[name].IPAM.Config[0].Gateway
	c.networks[name] = &got
	return nil
}

func (f *fake) NetworkDisconnect(_ context.Context, name string, req network.DisconnectRequest) error {
	delete(f.containers[req.Container].networks, name)
	return f.did("disconnect %s %s", name, req.Container)
}

func (f *fake) ContainerList(_ context.Context, o api.ListOptions) ([]container.Summary, error) {
	var out []container.Summary
	for id, c := range f.containers {
		if o.Filters.MatchLabels(c.labels) {
			out = append(out, container.Summary{ID: id})
		}
	}
	return out, nil
}

func (f *fake) ContainerInspectAll(_ context.Context, id string) (api.ContainerInspect, error) {
	var out api.ContainerInspect
	c := f.containers[id]
	if c == nil || f.fails["inspect"] != nil {
		return out, api.Errorf(errdefs.ErrNotFound, "no container %s", id)
	}
	out.NetworkSettings = &container.NetworkSettings{Networks: c.networks}
	ns := &api.NamespaceDetail{Inode: c.inode}
	for name := range c.networks {
		ns.NameServers = append(ns.NameServers, f.networks[name].IPAM.Config[0].Gateway)
	}
	out.Footbridge.Namespace = ns
	return out, nil
}

func (f *fake) ContainerPublish(_ context.Context, id string, req api.PublishRequest) (api.PublishResponse, error) {
	if err := f.did("publish %s", id); err != nil {
		return api.PublishResponse{}, err
	}
	f.containers[id].ports = req.PortBindings
	return api.PublishResponse{}, nil
}

func (f *fake) NamespaceAttach(_ context.Context, req api.NamespaceRequest) (container.CreateResponse, error) {
	if err := f.did("attach %s", req.Name); err != nil {
		return container.CreateResponse{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(*req.Descriptor, &st); err != nil {
		return container.CreateResponse{}, err
	}
	c := &fakeContainer{labels: req.Config.Labels, inode: st.Ino, networks: map[string]*network.EndpointSettings{}, ports: req.HostConfig.PortBindings}
	for name, s := range req.NetworkingConfig.EndpointsConfig {
		if err := f.join(name, c, s); err != nil {
			return container.CreateResponse{}, err
		}
	}
	f.containers[req.Name] = c
	return container.CreateResponse{ID: req.Name}, nil
}

func (f *fake) NamespaceDetach(_ context.Context, id string) error {
	if f.containers[id] == nil {
		return api.Errorf(errdefs.ErrNotFound, "no container %s", id)
	}
	delete(f.containers, id)
	return f.did("detach %s", id)
}

// call is one start of the plugin.
type call struct {
	t      *testing.T
	d      *fake // nil: there is no daemon
	env    map[string]string
	stderr bytes.Buffer
}

// run returns what the plugin answered, and its exit status.
func (c *call) run(input any, args ...string) (string, int) {
	c.t.Helper()
	text, ok := input.(string)
	if !ok {
		b, err := json.Marshal(input)
		if err != nil {
			c.t.Fatal(err)
		}
		text = string(b)
	}
	var out bytes.Buffer
	p := &program{stdin: strings.NewReader(text), stdout: &out, stderr: &c.stderr, getenv: func(k string) string { return c.env[k] },
		connect: func(context.Context, plugin.Options) (daemon, error) {
			if c.d == nil {
				return nil, api.Errorf(api.ErrNoDaemon, "no daemon")
			}
			return c.d, nil
		}}
	code := p.main(c.t.Context(), args)
	return out.String(), code
}

// ok runs a command that must succeed, and decodes its answer.
func (c *call) ok(out, input any, args ...string) {
	c.t.Helper()
	text, code := c.run(input, args...)
	if code != 0 {
		c.t.Fatalf("%v: exit status %d: %s", args, code, text)
	}
	if out == nil {
		if text != "" {
			c.t.Errorf("%v said %q", args, text)
		}
		return
	}
	if err := json.Unmarshal([]byte(text), out); err != nil {
		c.t.Fatalf("%v: %q: %v", args, text, err)
	}
}

// fails runs a command that must fail in the API's form.
func (c *call) fails(want string, input any, args ...string) {
	c.t.Helper()
	text, code := c.run(input, args...)
	var f netavark.Failure
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields() // as podman does
	if err := d.Decode(&f); err != nil || code != 1 || !strings.Contains(f.Error, want) {
		c.t.Errorf("%v: exit status %d, %q, %v; want an error with %q", args, code, text, err, want)
	}
}

// ownNetNS is a network namespace that any test has.
const ownNetNS = "/proc/self/ns/net"

// on is a container on one of podman's networks.
func on(name string, octet byte, containerID string) netavark.Exec {
	net := netip.AddrFrom4([4]byte{10, 200, octet, 0})
	gateway := net.Next()
	return netavark.Exec{
		ContainerID: containerID, ContainerName: "c-" + containerID,
		Ports: []netavark.PortMapping{{HostPort: 8000, ContainerPort: 80, Range: 1, Protocol: "tcp"}},
		Network: netavark.Network{Name: name, ID: "id-" + name, Driver: "footbridge", DNS: true,
			Subnets: []netavark.Subnet{{Subnet: netip.PrefixFrom(net, 24), Gateway: gateway}}},
		Options: netavark.EndpointOptions{Interface: "eth0", StaticIPs: []netip.Addr{gateway.Next()}, Aliases: []string{"alias"}},
	}
}
