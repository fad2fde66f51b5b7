package engine

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/tap"
)

// fakeName is what fakePlaces calls a namespace: ns-PID.
func fakeName(ns tap.Namespaces) string {
	if ns.Net == nil {
		return ""
	}
	parts := strings.Split(filepath.Base(ns.Net.Name()), "-")
	return strings.Join(parts[:min(2, len(parts))], "-")
}

// Beside: all of them are.
func (p *fakePlaces) Beside(ns tap.Namespaces) ([]tap.Namespaces, error) {
	p.mu.Lock()
	var others []*fakeNamespace
	for _, n := range p.all {
		if "ns-"+itoa(n.place.Process.PID) != fakeName(ns) {
			others = append(others, n)
		}
	}
	p.mu.Unlock()
	var out []tap.Namespaces
	for _, n := range others {
		ns, err := p.open(n)
		if err != nil {
			return out, err
		}
		out = append(out, ns)
	}
	return out, p.w.step("beside")
}

func (p *fakePlaces) UnplugBare(_ context.Context, ns tap.Namespaces, name string, _ [6]byte) error {
	if err := p.w.step("unplug " + name + " in " + fakeName(ns)); err != nil {
		return err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.unplugged = append(p.w.unplugged, name+" "+fakeName(ns))
	return nil
}

// testBare attaches a bare interface.
func (e *Engine) testBare(name string, pid int, ifname, publish string, nets ...string) error {
	req := api.NamespaceRequest{Name: name, PID: pid, Bare: true}
	req.HostConfig = &container.HostConfig{NetworkMode: container.NetworkMode(nets[0])}
	if publish != "" {
		req.HostConfig.PortBindings = network.PortMap{network.MustParsePort("80/tcp"): {{HostPort: publish}}}
	}
	req.NetworkingConfig = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{}}
	for _, n := range nets {
		req.NetworkingConfig.EndpointsConfig[n] = &network.EndpointSettings{}
	}
	req.NetworkingConfig.EndpointsConfig[nets[0]].DriverOpts = map[string]string{optIfname: ifname}
	_, err := e.NamespaceAttach(context.Background(), req)
	return err
}

func (e *Engine) mustMakeNetworks(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := e.NetworkCreate(context.Background(), network.CreateRequest{Name: n}); err != nil {
			t.Fatal(err)
		}
	}
}

// A runtime's namespace begins many interfaces, of which nothing is set up.
func TestBareInterfacesAreOnlyMade(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.mustMakeNetworks(t, "n", "m")
	runtime := w.places.add(40, tap.View{Interfaces: []string{"lo", "tap0"}, Default4: []string{"tap0"}})
	// Its servers are not in the namespace where it is made.
	w.failAt("publish for ns-40", errors.New("connections are led into the runtime's namespace"))
	for i, name := range []string{"a", "b"} {
		if err := e.testBare(name, 40, []string{"fb1", "fb2"}[i], []string{"8000", ""}[i], "n"); err != nil {
			t.Fatal(err)
		}
	}
	if runtime.view.Loopback {
		t.Error("the runtime's own loopback was brought up")
	}
	l := w.links()["n: a fb1"]
	if !l.Bare || !l.Guest || l.Default4 || l.Existing != tap.Refuse || len(l.Addresses) != 1 || l.Addresses[0] != netip.MustParsePrefix("172.18.0.2/16") {
		t.Errorf("the link is %+v", l)
	}
	if got := w.boundPorts(); len(got) == 0 {
		t.Error("its port is not published")
	}
	// Refused, each with nothing left.
	for _, tt := range []struct {
		what   string
		err    error
		class  func(error) bool
		phrase string
	}{
		{"two networks", e.testBare("c", 40, "fb3", "", "n", "m"), errdefs.IsInvalidArgument, "on one network"},
		{"a name that is there", e.testBare("c", 40, "tap0", "", "n"), errdefs.IsConflict, "has an interface of that name"},
		{"another network", e.NetworkConnect(context.Background(), "m", network.ConnectRequest{Container: "a"}), errdefs.IsConflict, "footbridge detach a"},
		{"no network", e.NetworkDisconnect(context.Background(), "n", network.DisconnectRequest{Container: "a"}), errdefs.IsConflict, "footbridge detach a"},
	} {
		if tt.err == nil || !tt.class(tt.err) || !strings.Contains(tt.err.Error(), tt.phrase) {
			t.Errorf("%s: %v; want %q", tt.what, tt.err, tt.phrase)
		}
	}
	if n := len(w.links()); n != 2 {
		t.Errorf("there are %d endpoints, want 2", n)
	}
	// Where it has gone with its container, it is gone.
	w.failAt("unplug fb1 in ns-40", tap.ErrNoDevice)
	for _, name := range []string{"a", "b"} {
		if err := e.NamespaceDetach(context.Background(), name); err != nil {
			t.Error(err)
		}
		w.isGone(e, name)
	}
	if want := []string{"fb2 ns-40"}; !slices.Equal(w.unplugged, want) {
		t.Errorf("removed: %q, want %q", w.unplugged, want)
	}
}

// The next daemon finds it where the runtime has moved it, and removes it there.
func TestABareInterfaceIsFoundWhereItWasMoved(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.mustMakeNetworks(t, "n")
	w.places.add(40, tap.View{Interfaces: []string{"lo"}})
	w.places.add(50, tap.View{Interfaces: []string{"lo", "eth0"}})
	w.places.add(51, tap.View{Interfaces: []string{"lo", "eth0"}})
	if err := e.testBare("a", 40, "fb1", "8000", "n"); err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"attach fb1 in ns-40", "attach fb1 in ns-50", "unplug fb1 in ns-40", "unplug fb1 in ns-50"} {
		w.failAt(step, tap.ErrNoDevice)
	}
	e = w.restart(e)
	eventually(t, "the endpoint", func() bool { l, ok := w.links()["n: a fb1"]; return ok && l.Existing == tap.Keep })
	if err := e.NamespaceDetach(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"fb1 ns-51"}; !slices.Equal(w.unplugged, want) {
		t.Errorf("removed: %q, want %q", w.unplugged, want)
	}
}

// As long as it is nowhere the container has a flaw, and is whole when it comes back.
func TestABareInterfaceThatIsNowhereIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.quiet = true
	e := w.engine()
	e.mustMakeNetworks(t, "n")
	w.places.add(40, tap.View{Interfaces: []string{"lo"}})
	if err := e.testBare("a", 40, "fb1", "", "n"); err != nil {
		t.Fatal(err)
	}
	w.failAt("attach fb1 in ns-40", tap.ErrNoDevice)
	e = w.restart(e)
	eventually(t, "a warning", func() bool {
		st, err := e.Status(context.Background())
		return err == nil && len(st.Warnings) > 0 && strings.Contains(st.Warnings[0].Text, "made for a runtime")
	})
	w.failAt("attach fb1 in ns-40", nil)
	eventually(t, "the endpoint", func() bool { _, ok := w.links()["n: a fb1"]; return ok })
	w.failAt("unplug fb1 in ns-40", errors.New("no memory"))
	if err := e.NamespaceDetach(context.Background(), "a"); err != nil {
		t.Errorf("what cannot be removed keeps nobody: %v", err)
	}
}
