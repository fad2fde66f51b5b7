package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
)

// daemon is a backend that keeps what it is asked for, and nothing of a network. What the
// plugin does not call panics.
type daemon struct {
	api.Backend

	mu         sync.Mutex
	networks   map[string]*network.Inspect
	containers map[string]*api.ContainerInspect
	fail       map[string]error // method -> what it answers
	calls      []string
}

// enter notes a call; the caller unlocks.
func (d *daemon) enter(method string, args ...any) error {
	d.mu.Lock()
	d.calls = append(d.calls, strings.TrimSpace(method+" "+fmt.Sprintln(args...)))
	return d.fail[method]
}

func (d *daemon) Ping(context.Context) error { return nil }

func (d *daemon) NetworkInspect(_ context.Context, name string, _ api.NetworkInspectOptions) (network.Inspect, error) {
	err := d.enter("NetworkInspect", name)
	defer d.mu.Unlock()
	for _, n := range d.networks {
		if err == nil && (n.Name == name || n.ID == name) {
			out := *n
			out.Containers = map[string]network.EndpointResource{}
			for id, c := range d.containers {
				if c.NetworkSettings.Networks[n.Name] != nil {
					out.Containers[id] = network.EndpointResource{}
				}
			}
			return out, nil
		}
	}
	return network.Inspect{}, errors.Join(err, api.Errorf(errdefs.ErrNotFound, "network %s not found", name))
}

func (d *daemon) NetworkCreate(_ context.Context, req network.CreateRequest) (network.CreateResponse, error) {
	err := d.enter("NetworkCreate", req.Name)
	defer d.mu.Unlock()
	if err != nil {
		return network.CreateResponse{}, err
	}
	n := &network.Inspect{Network: network.Network{Name: req.Name, ID: "id-" + req.Name, Labels: req.Labels, Options: req.Options, Internal: req.Internal}}
	if req.IPAM != nil {
		n.IPAM = *req.IPAM
	}
	d.networks[req.Name] = n
	return network.CreateResponse{ID: n.ID}, nil
}

func (d *daemon) NetworkRemove(_ context.Context, name string) error {
	err := d.enter("NetworkRemove", name)
	defer d.mu.Unlock()
	delete(d.networks, strings.TrimPrefix(name, "id-"))
	return err
}

func (d *daemon) find(name string) (*api.ContainerInspect, error) {
	if c := d.containers[name]; c != nil {
		return c, nil
	}
	return nil, api.Errorf(errdefs.ErrNotFound, "No such container: %s", name)
}

func (d *daemon) ContainerInspect(_ context.Context, name string) (container.InspectResponse, error) {
	err := d.enter("ContainerInspect", name)
	defer d.mu.Unlock()
	c, ferr := d.find(name)
	if err = errors.Join(err, ferr); err != nil {
		return container.InspectResponse{}, err
	}
	return c.InspectResponse, nil
}

func (d *daemon) ContainerDetail(_ context.Context, name string) (api.ContainerDetail, error) {
	err := d.enter("ContainerDetail", name)
	defer d.mu.Unlock()
	c, ferr := d.find(name)
	if err = errors.Join(err, ferr); err != nil {
		return api.ContainerDetail{}, err
	}
	return c.Footbridge, nil
}

func (d *daemon) ContainerList(_ context.Context, o api.ListOptions) ([]container.Summary, error) {
	err := d.enter("ContainerList")
	defer d.mu.Unlock()
	var out []container.Summary
	for _, c := range d.containers {
		if o.Filters.MatchLabels(c.Config.Labels) {
			out = append(out, container.Summary{ID: c.ID, Labels: c.Config.Labels})
		}
	}
	return out, err
}

// given is an endpoint with what the daemon adds.
func (d *daemon) given(e *network.EndpointSettings) *network.EndpointSettings {
	e.IPAddress, e.IPPrefixLen, e.Gateway = netip.MustParseAddr("10.1.0.7"), 24, netip.MustParseAddr("10.1.0.1")
	e.MacAddress = network.HardwareAddr{2, 0, 0, 0, 0, 7}
	return e
}

func (d *daemon) NamespaceAttach(_ context.Context, req api.NamespaceRequest) (container.CreateResponse, error) {
	defer req.Passed.Close()
	err := d.enter("NamespaceAttach", req.Name, req.NetNS, req.HostConfig.PortBindings)
	defer d.mu.Unlock()
	if err != nil {
		return container.CreateResponse{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(req.Passed.Fd()), &st); err != nil {
		return container.CreateResponse{}, err
	}
	c := &api.ContainerInspect{InspectResponse: container.InspectResponse{
		ID: req.Name, Name: "/" + req.Name, Config: req.Config, State: &container.State{},
		NetworkSettings: &container.NetworkSettings{Networks: map[string]*network.EndpointSettings{}},
	}}
	for name, e := range req.NetworkingConfig.EndpointsConfig {
		c.NetworkSettings.Networks[name] = d.given(e)
	}
	c.Footbridge.Namespace = &api.NamespaceDetail{Inode: st.Ino, NameServers: []netip.Addr{netip.MustParseAddr("10.1.0.1")}}
	d.containers[req.Name] = c
	return container.CreateResponse{ID: req.Name}, nil
}

func (d *daemon) NamespaceDetach(_ context.Context, name string) error {
	err := d.enter("NamespaceDetach", name)
	defer d.mu.Unlock()
	delete(d.containers, name)
	return err
}

func (d *daemon) NetworkConnect(_ context.Context, name string, req network.ConnectRequest) error {
	err := d.enter("NetworkConnect", name, req.Container)
	defer d.mu.Unlock()
	if err == nil {
		d.containers[req.Container].NetworkSettings.Networks[name] = d.given(req.EndpointConfig)
	}
	return err
}

func (d *daemon) NetworkDisconnect(_ context.Context, name string, req network.DisconnectRequest) error {
	err := d.enter("NetworkDisconnect", name, req.Container)
	defer d.mu.Unlock()
	delete(d.containers[req.Container].NetworkSettings.Networks, name)
	return err
}

func (d *daemon) ContainerPublish(_ context.Context, name string, req api.PublishRequest) (api.PublishResponse, error) {
	err := d.enter("ContainerPublish", name, req.PortBindings)
	defer d.mu.Unlock()
	return api.PublishResponse{}, err
}

// stage is a daemon, and a plugin that reaches it.
type stage struct {
	*daemon
	t   *testing.T
	p   request
	out string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "fbcni")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &daemon{networks: map[string]*network.Inspect{}, containers: map[string]*api.ContainerInspect{}, fail: map[string]error{}}
	server, err := api.NewServer(api.ServerOptions{Backend: d})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(server.Shutdown(context.Background()), <-done); err != nil {
			t.Error(err)
		}
	})
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	client := api.New(filepath.Join(dir, "s"))
	connect := func(context.Context, plugin.Options) (*api.Client, error) { return client, nil }
	return &stage{daemon: d, t: t, p: request{ctx: t.Context(), connect: connect, out: out}, out: out.Name()}
}

// args are those of one request. Our own namespace is one like any other to this daemon.
func args(ifname, name, more string) *skel.CmdArgs {
	return &skel.CmdArgs{
		ContainerID: "abc", Netns: "/proc/self/ns/net", IfName: ifname, Args: "IgnoreUnknown=1;K8S_POD_NAME=pod",
		StdinData: []byte(`{"cniVersion": "1.0.0", "name": "` + name + `"` + more + `}`),
	}
}

// result reads what was answered last.
func (s *stage) result() *types100.Result {
	s.t.Helper()
	b, err := os.ReadFile(s.out)
	if err != nil {
		s.t.Fatal(err)
	}
	var r types100.Result
	if err := json.Unmarshal(b, &r); err != nil {
		s.t.Fatalf("%v: %s", err, b)
	}
	if err := errors.Join(s.p.out.Truncate(0), errorOf(s.p.out.Seek(0, 0))); err != nil {
		s.t.Fatal(err)
	}
	return &r
}

// called reports the calls that change something, and forgets all.
func (s *stage) called() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes := slices.DeleteFunc(s.calls, func(c string) bool {
		return strings.Contains(c, "Inspect") || strings.Contains(c, "Detail") || strings.Contains(c, "List")
	})
	s.calls = nil
	return changes
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) wantCalls(what string, want ...string) {
	s.t.Helper()
	if got := s.called(); !slices.Equal(got, want) {
		s.t.Errorf("%s called\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const onePort = `, "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}`

func TestAContainerComesAndGoes(t *testing.T) {
	s := newStage(t)
	s.must(s.p.add(args("eth0", "n", onePort)))
	s.wantCalls("the first ADD", "NetworkCreate n", "NamespaceAttach cni-abc /proc/self/ns/net map[80/tcp:[{invalid IP 8080}]]")
	r := s.result()
	if len(r.Interfaces) != 1 || len(r.IPs) != 1 || len(r.Routes) != 1 || r.CNIVersion != "1.0.0" || r.Interfaces[0].Name != "eth0" ||
		r.Interfaces[0].Mac != "02:00:00:00:00:07" || r.IPs[0].Address.String() != "10.1.0.7/24" || *r.IPs[0].Interface != 0 || r.DNS.Nameservers[0] != "10.1.0.1" {
		t.Errorf("the result is %+v", r)
	}
	if got := s.containers["cni-abc"].NetworkSettings.Networks["n"].Aliases; !slices.Equal(got, []string{"pod"}) {
		t.Errorf("the names are %v", got)
	}

	prev, _ := json.Marshal(r)
	s.must(s.p.add(args("eth1", "m", onePort+`, "prevResult": `+string(prev))))
	s.wantCalls("the second ADD", "NetworkCreate m", "NetworkConnect m cni-abc", "ContainerPublish cni-abc map[80/tcp:[{invalid IP 8080}]]")
	// After those before; and m's name comes first, so its default route goes.
	if r := s.result(); len(r.Interfaces) != 2 || len(r.IPs) != 2 || *r.IPs[1].Interface != 1 || len(r.Routes) != 2 {
		t.Errorf("the chained result is %+v", r)
	}

	s.must(s.p.check(args("eth0", "n", `, "prevResult": `+string(prev))))
	s.must(s.p.del(args("eth7", "n", "")))
	s.must(s.p.del(args("eth0", "other", "")))
	s.wantCalls("DELs of what is not there")
	s.must(s.p.del(args("eth1", "m", `, "removed in the next version": true`)))
	s.wantCalls("DEL of one of two", "NetworkDisconnect m cni-abc")
	s.must(s.p.del(args("eth0", "n", "")))
	s.must(s.p.del(args("eth0", "n", "")))
	s.wantCalls("DEL of the last, twice", "NamespaceDetach cni-abc")
	if err := s.p.check(args("eth0", "n", `, "prevResult": `+string(prev))); codeOf(err) != types.ErrUnknownContainer {
		t.Errorf("CHECK after DEL: %v", err)
	}
}

func TestAFailedAddLeavesNothing(t *testing.T) {
	s := newStage(t)
	taken := api.Errorf(errdefs.ErrConflict, "port is taken")
	s.fail["NamespaceAttach"] = taken
	if err := s.p.add(args("eth0", "n", onePort)); codeOf(err) != codeRefused || err.Error() != "port is taken" {
		t.Errorf("%v, want code %d", err, codeRefused)
	}
	delete(s.fail, "NamespaceAttach")
	s.called()
	s.fail["ContainerDetail"] = errors.New("no memory")
	if err := s.p.add(args("eth0", "o", "")); err == nil {
		t.Error("no error")
	}
	delete(s.fail, "ContainerDetail")
	if len(s.containers) != 0 {
		t.Errorf("left: %v", s.called())
	}
	s.must(s.p.add(args("eth0", "n", "")))
	s.called()
	s.fail["ContainerPublish"] = taken
	if err := s.p.add(args("eth1", "m", onePort)); codeOf(err) != codeRefused {
		t.Errorf("%v, want code %d", err, codeRefused)
	}
	if got := s.containers["cni-abc"].NetworkSettings.Networks; len(got) != 1 {
		t.Errorf("left: %v", got)
	}
}

func TestRefusals(t *testing.T) {
	s := newStage(t)
	gone := args("eth0", "n", "")
	gone.Netns = "/run/netns/nowhere"
	file := args("eth0", "n", "")
	file.Netns = "/etc/passwd"
	unknown := args("eth0", "n", "")
	unknown.Args = "WHAT=1"
	s.containers["cni-abc"] = &api.ContainerInspect{InspectResponse: container.InspectResponse{ID: "cni-abc", Config: &container.Config{}, NetworkSettings: &container.NetworkSettings{}}}
	for _, c := range []struct {
		name string
		err  error
		code uint
	}{
		{"no such namespace", s.p.add(gone), types.ErrUnknownContainer},
		{"no namespace", s.p.add(file), types.ErrInvalidEnvironmentVariables},
		{"argument", s.p.add(unknown), types.ErrInvalidEnvironmentVariables},
		{"name of somebody else's", s.p.add(args("eth0", "n", "")), codeRefused},
		{"CHECK without prevResult", s.p.check(args("eth0", "n", "")), types.ErrInvalidNetworkConfig},
	} {
		if codeOf(c.err) != c.code {
			t.Errorf("%s: %v (code %d), want code %d", c.name, c.err, codeOf(c.err), c.code)
		}
	}
	s.must(s.p.del(args("eth0", "n", "")))
	if s.containers["cni-abc"] == nil {
		t.Error("DEL has removed somebody else's container")
	}
	for err, code := range map[error]uint{
		api.Errorf(api.ErrNoDaemon, "none"): types.ErrTryAgainLater, api.Errorf(errdefs.ErrUnavailable, "upgrade"): types.ErrTryAgainLater,
		api.Errorf(api.ErrOtherVersion, "2"): codeVersion, api.Errorf(errdefs.ErrInvalidArgument, "x"): types.ErrInvalidNetworkConfig,
		api.Errorf(errdefs.ErrPermissionDenied, "x"): codeRefused, api.Errorf(errdefs.ErrNotFound, "x"): types.ErrUnknownContainer, errors.New("x"): types.ErrInternal,
	} {
		if got := codeOf(fromDaemon(err)); got != code {
			t.Errorf("%v has code %d, want %d", err, got, code)
		}
	}
}

func TestNetworksAreMadeAsTheyAreConfigured(t *testing.T) {
	s := newStage(t)
	const first = `, "subnets": [{"subnet": "10.1.0.0/24", "range": "10.1.0.0/25"}], "mtu": 9000, "internal": true`
	s.must(s.p.add(args("eth0", "n", first)))
	n := s.networks["n"]
	if !n.Internal || n.Options[optMTU] != "9000" || n.IPAM.Config[0].IPRange.String() != "10.1.0.0/25" {
		t.Errorf("the network is %+v", n)
	}
	other := args("eth0", "n", `, "mtu": 1400`)
	other.ContainerID = "def"
	if err := s.p.add(other); codeOf(err) != types.ErrInvalidNetworkConfig || !strings.Contains(err.Error(), "1 containers") {
		t.Errorf("other settings, of a network in use: %v", err)
	}
	s.must(s.p.del(args("eth0", "n", "")))
	s.called()
	s.must(s.p.add(other))
	s.wantCalls("an ADD with other settings", "NetworkRemove id-n", "NetworkCreate n", "NamespaceAttach cni-def /proc/self/ns/net map[]")

	// Somebody else's is used as it is.
	s.networks["theirs"] = &network.Inspect{Network: network.Network{Name: "theirs", ID: "id-theirs"}}
	s.must(s.p.add(args("eth0", "theirs", "")))
	if err := s.p.add(args("eth0", "theirs", `, "mtu": 1400`)); codeOf(err) != types.ErrInvalidNetworkConfig {
		t.Errorf("settings for a network of somebody else: %v", err)
	}
}

func TestAStaleContainerMakesRoom(t *testing.T) {
	s := newStage(t)
	s.must(s.p.add(args("eth0", "n", "")))
	s.containers["cni-abc"].Footbridge.Namespace.Inode++ // the namespace is another one now
	s.called()
	s.must(s.p.add(args("eth0", "n", "")))
	s.wantCalls("ADD after a DEL that never came", "NamespaceDetach cni-abc", "NamespaceAttach cni-abc /proc/self/ns/net map[]")
}

func TestCollecting(t *testing.T) {
	s := newStage(t)
	for _, id := range []string{"a", "b", "c"} {
		a := args("eth0", "n", "")
		a.ContainerID = id
		s.must(s.p.add(a))
	}
	other := args("eth0", "m", "")
	s.must(s.p.add(other))
	s.containers["plain"] = &api.ContainerInspect{InspectResponse: container.InspectResponse{ID: "plain", Config: &container.Config{}, NetworkSettings: &container.NetworkSettings{
		Networks: map[string]*network.EndpointSettings{"n": {}},
	}}}
	s.must(s.p.collect(args("", "n", `, "cni.dev/valid-attachments": [{"containerID": "b", "ifname": "eth0"}, {"containerID": "c", "ifname": "eth1"}]`)))
	var left []string
	for name := range s.containers {
		left = append(left, name)
	}
	slices.Sort(left)
	if !slices.Equal(left, []string{"cni-abc", "cni-b", "plain"}) {
		t.Errorf("left: %v", left)
	}
}

func TestCheckFindsWhatHasChanged(t *testing.T) {
	s := newStage(t)
	s.must(s.p.add(args("eth0", "n", "")))
	prev, _ := json.Marshal(s.result())
	again := func() error { return s.p.check(args("eth0", "n", `, "prevResult": `+string(prev))) }
	s.must(again())
	c := s.containers["cni-abc"]
	e := c.NetworkSettings.Networks["n"]
	for what, change := range map[string]func() (back func()){
		"address": func() func() { old := e.IPPrefixLen; e.IPPrefixLen = 16; return func() { e.IPPrefixLen = old } },
		"MAC": func() func() {
			old := e.MacAddress
			e.MacAddress = network.HardwareAddr{2, 0, 0, 0, 0, 8}
			return func() { e.MacAddress = old }
		},
		"broken":    func() func() { c.State.Error = "broken"; return func() { c.State.Error = "" } },
		"namespace": func() func() { c.Footbridge.Namespace.Inode++; return func() { c.Footbridge.Namespace.Inode-- } },
	} {
		back := change()
		if err := again(); codeOf(err) != codeRefused || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		back()
	}
	if err := s.p.check(args("eth1", "n", `, "prevResult": `+string(prev))); codeOf(err) != types.ErrUnknownContainer {
		t.Errorf("another interface: %v", err)
	}
	s.must(again())
}

func TestWithoutADaemon(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	p := request{ctx: t.Context(), out: os.Stdout, connect: func(_ context.Context, o plugin.Options) (*api.Client, error) {
		if !o.Existing {
			return nil, api.Errorf(api.ErrNoDaemon, "none can be started")
		}
		return nil, api.ErrNoDaemon
	}}
	for what, err := range map[string]error{"DEL": p.del(args("eth0", "n", "")), "GC": p.collect(args("eth0", "n", ""))} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := p.add(args("eth0", "n", "")); codeOf(err) != types.ErrTryAgainLater {
		t.Errorf("ADD: %v", err)
	}
	if err := p.status(args("", "n", "")); codeOf(err) != codeUnavailable {
		t.Errorf("STATUS: %v", err)
	}
	// What the last daemon has left is the next one's to remove.
	if err := os.MkdirAll(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "footbridge/c/0123"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := p.del(args("eth0", "n", "")); (err == nil) != plugin.InRuntime() {
		t.Errorf("DEL with something left: %v", err)
	}
}
