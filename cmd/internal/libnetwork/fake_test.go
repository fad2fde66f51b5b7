package libnetwork

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// fakeDaemon keeps networks and attachments, and notes what it is asked for.
type fakeDaemon struct {
	mu        sync.Mutex
	networks  map[string]network.Inspect
	attached  map[string]container.InspectResponse
	published map[string]network.PortMap
	fail      map[string]error // by method
}

func (d *fakeDaemon) failing(method string) error { return d.fail[method] }

func (d *fakeDaemon) NetworkCreate(_ context.Context, req network.CreateRequest) (network.CreateResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.networks[req.Name]; ok {
		return network.CreateResponse{}, api.Errorf(errdefs.ErrConflict, "network with name %s already exists", req.Name)
	}
	d.networks[req.Name] = network.Inspect{Network: network.Network{
		Name: req.Name, ID: "id-of-" + req.Name, Driver: req.Driver, Internal: req.Internal, Options: req.Options, Labels: req.Labels, IPAM: *req.IPAM,
	}}
	return network.CreateResponse{ID: "id-of-" + req.Name}, d.failing("NetworkCreate")
}

func (d *fakeDaemon) NetworkInspect(_ context.Context, name string, _ api.NetworkInspectOptions) (network.Inspect, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.networks[strings.TrimPrefix(name, "id-of-")]
	if !ok {
		return n, api.Errorf(errdefs.ErrNotFound, "network %s not found", name)
	}
	return n, d.failing("NetworkInspect")
}

func (d *fakeDaemon) NetworkList(_ context.Context, filters api.Filters) ([]network.Summary, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []network.Summary
	for _, n := range d.networks {
		if _, ok := n.Labels[labelNetwork]; ok && filters["label"][labelNetwork] {
			out = append(out, network.Summary{Network: n.Network})
		}
	}
	return out, d.failing("NetworkList")
}

func (d *fakeDaemon) NetworkRemove(_ context.Context, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	name = strings.TrimPrefix(name, "id-of-")
	if _, ok := d.networks[name]; !ok {
		return api.Errorf(errdefs.ErrNotFound, "network %s not found", name)
	}
	if err := d.failing("NetworkRemove"); err != nil {
		return err
	}
	delete(d.networks, name)
	return nil
}

func (d *fakeDaemon) ContainerInspect(_ context.Context, name string) (container.InspectResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.attached[name]
	if !ok {
		return c, api.Errorf(errdefs.ErrNotFound, "No such container: %s", name)
	}
	c.HostConfig = &container.HostConfig{PortBindings: d.published[name]}
	return c, d.failing("ContainerInspect")
}

func (d *fakeDaemon) ContainerPublish(_ context.Context, name string, req api.PublishRequest) (api.PublishResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failing("ContainerPublish"); err != nil {
		return api.PublishResponse{}, err
	}
	d.published[name] = req.PortBindings
	return api.PublishResponse{}, nil
}

func (d *fakeDaemon) ContainerUnpublish(_ context.Context, name string, req api.PublishRequest) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for port, bindings := range req.PortBindings {
		if len(bindings) > 0 {
			return fmt.Errorf("not all of %s", port)
		}
	}
	delete(d.published, name)
	return d.failing("ContainerUnpublish")
}

func (d *fakeDaemon) NamespaceDetach(_ context.Context, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.attached[name]; !ok {
		return api.Errorf(errdefs.ErrNotFound, "No such container: %s", name)
	}
	delete(d.attached, name)
	return d.failing("NamespaceDetach")
}

// attach makes an attachment, with the addresses asked for or some.
func (d *fakeDaemon) attach(_ context.Context, _ Daemon, req api.NamespaceRequest) (container.CreateResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.failing("Attach"); err != nil {
		return container.CreateResponse{}, err
	}
	name := string(req.HostConfig.NetworkMode)
	n := d.networks[name]
	got := *req.NetworkingConfig.EndpointsConfig[name]
	if !req.Bare || got.DriverOpts[optIfname] == "" {
		return container.CreateResponse{}, fmt.Errorf("not a bare interface with a name: %+v", req)
	}
	got.NetworkID = n.ID
	for _, c := range n.IPAM.Config {
		a := got.IPAMConfig.IPv4Address
		if c.Subnet.Addr().Is6() {
			a = got.IPAMConfig.IPv6Address
		}
		if !a.IsValid() {
			a = c.Gateway.Next()
		}
		if a.Is4() {
			got.IPAddress, got.IPPrefixLen, got.Gateway = a, c.Subnet.Bits(), c.Gateway
		} else {
			got.GlobalIPv6Address, got.GlobalIPv6PrefixLen, got.IPv6Gateway = a, c.Subnet.Bits(), c.Gateway
		}
	}
	if len(got.MacAddress) == 0 {
		got.MacAddress = network.HardwareAddr{2, 0x42, 1, 2, 3, 4}
	}
	d.attached[req.Name] = container.InspectResponse{
		ID: "id-of-" + req.Name, Config: req.Config,
		NetworkSettings: &container.NetworkSettings{Networks: map[string]*network.EndpointSettings{name: &got}},
	}
	return container.CreateResponse{ID: "id-of-" + req.Name}, nil
}

// newDriver returns a server before a daemon that has nothing.
func newDriver(t testing.TB) (*fakeDaemon, *Server, records) {
	t.Helper()
	d := &fakeDaemon{networks: map[string]network.Inspect{}, attached: map[string]container.InspectResponse{}, published: map[string]network.PortMap{}, fail: map[string]error{}}
	dir := t.TempDir()
	driver := NewDriver(Options{
		Client: func(context.Context) (Daemon, error) { return d, d.failing("Client") },
		Attach: d.attach, Dir: dir,
	})
	return d, NewServer(driver, slog.New(slog.DiscardHandler)), records(dir)
}

// post asks for a method with JSON and returns the status and what was answered.
func (s *Server) post(t testing.TB, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
	out, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(bytes.TrimSpace(out))
}

// must asks for a method of the driver's that succeeds, and returns the answer.
func (s *Server) must(t testing.TB, method, body string) string {
	t.Helper()
	code, out := s.post(t, driverPath+method, body)
	if code != http.StatusOK {
		t.Fatalf("%s %s: %d %s", method, body, code, out)
	}
	return out
}

// refuses asks for a method that fails, and returns the reason.
func (s *Server) refuses(t testing.TB, method, body, phrase string) {
	t.Helper()
	code, out := s.post(t, driverPath+method, body)
	var e errorResponse
	if err := json.Unmarshal([]byte(out), &e); err != nil || code != http.StatusInternalServerError || !strings.Contains(e.Err, phrase) {
		t.Errorf("%s %s: %d %s; want an Err with %q", method, body, code, out, phrase)
	}
}

func (d *fakeDaemon) names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for n := range d.networks {
		out = append(out, n)
	}
	for n := range d.attached {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// have adds a network that somebody else has made.
func (d *fakeDaemon) have(name, driver, subnet, gateway string) {
	d.networks[name] = network.Inspect{Network: network.Network{
		Name: name, ID: "id-of-" + name, Driver: driver,
		IPAM: network.IPAM{Config: []network.IPAMConfig{{Subnet: netip.MustParsePrefix(subnet), Gateway: netip.MustParseAddr(gateway)}}},
	}}
}
