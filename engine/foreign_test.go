package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/foreign"
	"github.com/footbridge-net/footbridge/engine/plane"
	"github.com/footbridge-net/footbridge/tap"
)

// fakePlaces are namespaces in memory, by pid.
type fakePlaces struct {
	w *world

	mu  sync.Mutex
	all map[int]*fakeNamespace
}

type fakeNamespace struct {
	place foreign.Place
	view  tap.View
	ended chan struct{}
}

var errAway = errors.New("not to be told for the moment")

func (p *fakePlaces) add(pid int, view tap.View) *fakeNamespace {
	p.mu.Lock()
	defer p.mu.Unlock()
	view.Cookie = uint64(1000 + pid)
	n := &fakeNamespace{
		place: foreign.Place{Process: foreign.Process{PID: pid, Start: 7}, Boot: "this", Dev: 4, Ino: uint64(pid)},
		view:  view, ended: make(chan struct{}),
	}
	if p.all == nil {
		p.all = map[int]*fakeNamespace{}
	}
	p.all[pid] = n
	return n
}

func (p *fakePlaces) end(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.all[pid].ended)
	delete(p.all, pid)
}

func (p *fakePlaces) find(pid int) (*fakeNamespace, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.all[pid]; n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("no such process: %d: %w", pid, foreign.ErrGone)
}

// open gives a namespace whose descriptor is a file that names it.
func (p *fakePlaces) open(n *fakeNamespace) (tap.Namespaces, error) {
	f, err := os.CreateTemp(p.w.dir, fmt.Sprintf("ns-%d-", n.place.Process.PID))
	return tap.Namespaces{Net: f}, err
}

func (p *fakePlaces) of(ns tap.Namespaces) *fakeNamespace {
	var pid int
	if _, err := fmt.Sscanf(filepath.Base(ns.Net.Name()), "ns-%d-", &pid); err != nil {
		p.w.t.Errorf("%v is no namespace", ns)
	}
	n, err := p.find(pid)
	if err != nil { // it is held, and goes on as long
		return &fakeNamespace{}
	}
	return n
}

func (p *fakePlaces) Resolve(w foreign.Wish) (foreign.Place, tap.Namespaces, error) {
	if err := p.w.step("resolve"); err != nil {
		return foreign.Place{}, tap.Namespaces{}, err
	}
	n, err := p.find(w.PID)
	if err != nil {
		return foreign.Place{}, tap.Namespaces{}, err
	}
	place := n.place
	place.Holder = w.Holder
	ns, err := p.open(n)
	return place, ns, err
}

func (p *fakePlaces) Open(place foreign.Place) (tap.Namespaces, error) {
	if err := p.w.step("open"); err != nil {
		return tap.Namespaces{}, err
	}
	n, err := p.find(place.Process.PID)
	if err != nil {
		return tap.Namespaces{}, err
	}
	return p.open(n)
}

// Owner is as many as there are namespaces.
func (p *fakePlaces) Owner(ns tap.Namespaces) (foreign.Owner, error) {
	return foreign.Owner{Dev: 4, Ino: p.of(ns).place.Ino + 1}, nil
}

func (p *fakePlaces) Check(place foreign.Place) error {
	if err := p.w.step("check"); err != nil {
		return err
	}
	_, err := p.find(place.Process.PID)
	return err
}

func (p *fakePlaces) Await(ctx context.Context, place foreign.Place) error {
	n, err := p.find(place.Process.PID)
	if err != nil {
		return err
	}
	select {
	case <-n.ended:
		return foreign.ErrGone
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *fakePlaces) Look(_ context.Context, ns tap.Namespaces) (tap.View, *os.File, error) {
	n := p.of(ns)
	p.mu.Lock()
	defer p.mu.Unlock()
	view := n.view
	view.Interfaces = slices.Clone(view.Interfaces)
	// What was made there is there.
	for key := range p.w.links() {
		if _, name, ok := strings.Cut(key, ": box "); ok {
			view.Interfaces = append(view.Interfaces, name)
		}
	}
	return view, nil, p.w.step("look")
}

func (p *fakePlaces) Unplug(_ context.Context, ns tap.Namespaces, name string) error {
	n := p.of(ns)
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Contains(n.view.Interfaces, name) {
		p.w.t.Errorf("%s is not ours, and was removed", name)
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.unplugged = append(p.w.unplugged, name)
	return nil
}

func (p *fakePlaces) Loopback(_ context.Context, ns tap.Namespaces, up bool) error {
	n := p.of(ns)
	p.mu.Lock()
	defer p.mu.Unlock()
	n.view.Loopback = up
	return p.w.step("loopback")
}

// testAttach attaches the namespace of a process.
func (e *Engine) testAttach(name string, pid int, nets ...string) (string, error) {
	req := api.NamespaceRequest{Name: name, PID: pid}
	req.HostConfig = &container.HostConfig{
		NetworkMode:  container.NetworkMode(nets[0]),
		PortBindings: network.PortMap{network.MustParsePort("80/tcp"): {{HostPort: "8000"}}},
	}
	req.NetworkingConfig = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{}}
	for _, n := range nets {
		req.NetworkingConfig.EndpointsConfig[n] = &network.EndpointSettings{}
	}
	r, err := e.NamespaceAttach(context.Background(), req)
	return r.ID, err
}

func (w *world) mustAttach(e *Engine, name string, pid int, nets ...string) {
	w.t.Helper()
	if _, err := e.testAttach(name, pid, nets...); err != nil {
		w.t.Fatalf("attach %s: %v", name, err)
	}
}

// isGone waits until a container is there no more; another one's id may begin with its name.
func (w *world) isGone(e *Engine, name string) {
	w.t.Helper()
	eventually(w.t, name+" is gone", func() bool {
		in, err := e.ContainerInspect(context.Background(), name)
		return errdefs.IsNotFound(err) || err == nil && in.Name != "/"+name
	})
}

func TestAnAttachedNamespaceIsAContainer(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	e.testNetwork(t, network.CreateRequest{Name: "net", EnableIPv6: ptr(true)})
	e.testNetwork(t, network.CreateRequest{Name: "more"})
	ns := w.places.add(77, tap.View{Interfaces: []string{"lo", "eth0"}, Default6: []string{"eth0"}})
	w.mustAttach(e, "box", 77, "net")
	in := e.testInspect(t, "box")
	if !in.State.Running || in.State.Pid != 77 || in.NetworkSettings.SandboxKey != "/proc/77/ns/net" || !in.HostConfig.AutoRemove || in.HostsPath != "" || in.LogPath != "" {
		t.Errorf("inspect: %+v, %+v", in.State, in.NetworkSettings)
	}
	// Its eth0 is its own, and so is its default route of the one family.
	l, ok := w.links()["net: box eth1"]
	if !ok || !l.Guest || l.Existing != tap.Refuse || !l.Default4 || l.Default6 {
		t.Fatalf("links: %+v", w.links())
	}
	if !ns.view.Loopback {
		t.Error("lo is down")
	}
	if err := e.NetworkConnect(ctx, "more", network.ConnectRequest{Container: "box"}); err != nil {
		t.Fatal(err)
	}
	if l, ok := w.links()["more: box eth2"]; !ok || !l.Guest {
		t.Errorf("links: %+v", w.links())
	}
	detail, err := e.ContainerDetail(ctx, "box")
	if err != nil || detail.Namespace == nil || detail.Namespace.PID != 77 || !slices.Contains(detail.Namespace.NameServers, netip.MustParseAddr("172.18.0.1")) {
		t.Errorf("detail: %+v, %v", detail.Namespace, err)
	}
	if err := e.NetworkDisconnect(ctx, "net", network.DisconnectRequest{Container: "box"}); err != nil {
		t.Fatal(err)
	}
	list, err := e.ContainerList(ctx, api.ListOptions{})
	if err != nil || len(list) != 1 || list[0].Command != "attach --pid 77" || list[0].Image != attachedImage {
		t.Errorf("list: %+v, %v", list, err)
	}

	// What takes processes is refused, and says what to do.
	stop := func() error { return e.ContainerStop(ctx, "box", api.StopOptions{}) }
	for what, do := range map[string]func() error{
		"stop": stop, "restart": func() error { return e.ContainerRestart(ctx, "box", api.StopOptions{}) },
		"kill": func() error { return e.ContainerKill(ctx, "box", "KILL") },
		"exec": func() error {
			_, err := e.ExecCreate(ctx, "box", container.ExecCreateRequest{Cmd: []string{"true"}})
			return err
		},
		"logs": func() error { _, err := e.ContainerLogs(ctx, "box", api.LogsOptions{Stdout: true}); return err },
		"top":  func() error { _, err := e.ContainerTop(ctx, "box", ""); return err },
		"attach": func() error {
			_, err := e.ContainerAttach(ctx, "box", api.AttachOptions{Stream: true, Stdout: true})
			return err
		},
		"resize": func() error { return e.ContainerResize(ctx, "box", api.TTYSize{}) },
		"rm":     func() error { return e.ContainerRemove(ctx, "box", api.RemoveOptions{}) },
		"rename": func() error { return e.ContainerRename(ctx, "box", "crate") },
	} {
		if err := do(); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "footbridge detach box") {
			t.Errorf("%s: %v", what, err)
		}
	}
	e.testRun(t, spec{name: "own", mode: "net"})
	if err := e.NamespaceDetach(ctx, "own"); !errdefs.IsConflict(err) {
		t.Errorf("detach of a container of our own: %v", err)
	}
	if err := e.NamespaceDetach(ctx, "box"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.ContainerInspect(ctx, "box"); !errdefs.IsNotFound(err) {
		t.Errorf("after detach: %v", err)
	}
	if ns.view.Loopback {
		t.Error("lo is not as it was")
	}
	if !slices.Equal(w.unplugged, []string{"eth2"}) { // eth1 was disconnected
		t.Errorf("unplugged: %v", w.unplugged)
	}
	if err := e.ContainerRemove(ctx, "own", api.RemoveOptions{}); err == nil || strings.Contains(err.Error(), "detach") {
		t.Errorf("rm of one's own: %v", err)
	}
	if err := e.ContainerRemove(ctx, "own", api.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	w.checkClean(e)
	w.noNamespaces()
}

func TestAnAttachmentEndsWithItsNamespace(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net"})
	ns := w.places.add(77, tap.View{Interfaces: []string{"lo"}})
	w.mustAttach(e, "box", 77, "net")
	w.places.end(77)
	w.isGone(e, "box")
	if !ns.view.Loopback {
		t.Error("lo was taken from whoever goes on in there")
	}
	w.checkClean(e)
	w.noNamespaces()
}

// Whatever fails, nothing is left: not in the namespace, not here.
func TestAnAttachThatFailsChangesNothing(t *testing.T) {
	for _, step := range []string{"resolve", "look", "plane", "attach", "publish", "loopback"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t)
			e := w.engine()
			e.testNetwork(t, network.CreateRequest{Name: "net"})
			ns := w.places.add(77, tap.View{Interfaces: []string{"lo"}})
			w.failAt(step, errInjected)
			if _, err := e.testAttach("box", 77, "net"); !errors.Is(err, errInjected) {
				t.Fatalf("%v", err)
			}
			if all := e.allContainers(); len(all) > 0 {
				t.Errorf("containers left: %d", len(all))
			}
			if made := step == "publish" || step == "loopback"; made != slices.Equal(w.unplugged, []string{"eth0"}) {
				t.Errorf("unplugged: %v", w.unplugged)
			}
			if ns.view.Loopback && step != "loopback" {
				t.Error("lo was brought up")
			}
			w.checkClean(e)
			w.noNamespaces()
			// And then it works.
			w.failAt(step, nil)
			w.mustAttach(e, "box", 77, "net")
		})
	}
}

func TestBadAttachmentsAreRefused(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	e.testNetwork(t, network.CreateRequest{Name: "net"})
	w.places.add(77, tap.View{Interfaces: []string{"lo", "lan"}})
	w.places.add(78, tap.View{})
	w.mustAttach(e, "box", 77, "net")
	base := func() api.NamespaceRequest {
		return api.NamespaceRequest{Name: "bad", PID: 78, CreateRequest: container.CreateRequest{
			Config: &container.Config{}, HostConfig: &container.HostConfig{NetworkMode: "net"},
		}}
	}
	for name, c := range map[string]struct {
		change func(*api.NamespaceRequest)
		is     func(error) bool
		text   string
	}{
		"attached already": {func(r *api.NamespaceRequest) { r.PID = 77 }, errdefs.IsConflict, "attached already, as container box"},
		"no process":       {func(r *api.NamespaceRequest) { r.PID = 79 }, errdefs.IsNotFound, "no such process"},
		"a taken name":     {func(r *api.NamespaceRequest) { r.Name = "box" }, errdefs.IsConflict, "already in use"},
		"a bad name":       {func(r *api.NamespaceRequest) { r.Name = "a b" }, errdefs.IsInvalidArgument, "Invalid container name"},
		"no network":       {func(r *api.NamespaceRequest) { r.HostConfig.NetworkMode = "none" }, errdefs.IsInvalidArgument, "attached to networks"},
		"unknown network":  {func(r *api.NamespaceRequest) { r.HostConfig.NetworkMode = "what" }, errdefs.IsInvalidArgument, "network what not found"},
		"a command":        {func(r *api.NamespaceRequest) { r.Config.Cmd = []string{"true"} }, errdefs.IsInvalidArgument, "a command cannot be given"},
		"environment":      {func(r *api.NamespaceRequest) { r.Config.Env = []string{"A=b"} }, errdefs.IsInvalidArgument, "settings of a command"},
		"hosts":            {func(r *api.NamespaceRequest) { r.HostConfig.ExtraHosts = []string{"a:1.2.3.4"} }, errdefs.IsInvalidArgument, "lines of /etc/hosts"},
		"sysctls":          {func(r *api.NamespaceRequest) { r.HostConfig.Sysctls = map[string]string{"net.a": "1"} }, errdefs.IsInvalidArgument, "sysctls cannot be given"},
		"capabilities":     {func(r *api.NamespaceRequest) { r.HostConfig.CapAdd = []string{"ALL"} }, errdefs.IsInvalidArgument, "capabilities"},
		"a link": {func(r *api.NamespaceRequest) {
			r.HostConfig.NetworkMode, r.HostConfig.Links = "bridge", []string{"box"}
		}, errdefs.IsInvalidArgument, "links on the default network"},
		"memory": {func(r *api.NamespaceRequest) { r.HostConfig.Memory = 1 << 30 }, errdefs.IsInvalidArgument, "memory limits"},
	} {
		r := base()
		c.change(&r)
		if _, err := e.NamespaceAttach(ctx, r); !c.is(err) || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	taken := base()
	taken.PID = 80
	w.places.add(80, tap.View{Interfaces: []string{"lo", "lan"}})
	taken.NetworkingConfig = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
		"net": {DriverOpts: map[string]string{optIfname: "lan"}},
	}}
	if _, err := e.NamespaceAttach(ctx, taken); !errdefs.IsConflict(err) || !strings.Contains(fmt.Sprint(err), "interface name lan") {
		t.Errorf("an interface of theirs: %v", err)
	}
	if all := e.allContainers(); len(all) != 1 {
		t.Errorf("%d containers", len(all))
	}
	if err := e.NamespaceDetach(ctx, "box"); err != nil {
		t.Error(err)
	}
	w.checkClean(e)
	w.noNamespaces()
}

// The next daemon knows what is attached, with or without the record; what has gone
// meanwhile is cleared away, and what cannot be told for the moment is kept.
func TestAttachmentsOutliveTheDaemon(t *testing.T) {
	for _, known := range []bool{true, false} {
		w := newWorld(t)
		e := w.engine()
		ctx := context.Background()
		e.testNetwork(t, network.CreateRequest{Name: "net"})
		w.places.add(77, tap.View{Interfaces: []string{"lo"}})
		w.mustAttach(e, "box", 77, "net")
		before := asJSON(t, e.testInspect(t, "box"))
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if !known {
			if err := os.Remove(filepath.Join(w.dir, "state", stateFile)); err != nil {
				t.Fatal(err)
			}
		}
		w.failAt("check", errAway)
		w.failAt("open", errAway)
		e = w.restart(e)
		if in := e.testInspect(t, "box"); !in.State.Running || !strings.Contains(in.State.Error, errAway.Error()) {
			t.Errorf("not to be told: %+v", in.State)
		}
		w.failAt("check", nil)
		w.failAt("open", nil)
		eventually(t, "it is connected again", func() bool { return len(w.links()) == 1 && e.testInspect(t, "box").State.Error == "" })
		if l := w.links()["net: box eth0"]; l.Existing != tap.Keep || !l.Guest {
			t.Errorf("link: %+v", l)
		}
		if after := asJSON(t, e.testInspect(t, "box")); after != before {
			t.Errorf("before\n%s\nafter\n%s", before, after)
		}
		// Another process has its inode, and not its cookie.
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		w.places.all[77].view.Cookie++
		e = w.restart(e)
		w.isGone(e, "box")
		if len(w.unplugged) > 0 {
			t.Errorf("taken from another namespace: %v", w.unplugged)
		}
		w.places.end(77)
		w.places.add(77, tap.View{Interfaces: []string{"lo"}})
		w.mustAttach(e, "box", 77, "net")
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		w.places.end(77)
		e = w.restart(e)
		w.isGone(e, "box")
		if list, err := e.ContainerList(ctx, api.ListOptions{All: true}); err != nil || len(list) > 0 {
			t.Errorf("list: %v, %v", list, err)
		}
		w.checkClean(e)
		w.noNamespaces()
	}
}

// Where a network has no gateway, names are asked at an address of their own.
func TestAnAttachmentIsToldWhereNamesAre(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "alone", Internal: true, EnableIPv6: ptr(true), Options: map[string]string{optGatewayMode4: "isolated"}})
	w.places.add(77, tap.View{Interfaces: []string{"lo"}})
	w.mustAttach(e, "box", 77, "alone")
	n := e.networkByName("alone")
	detail, err := e.ContainerDetail(t.Context(), "box")
	if want := []netip.Addr{plane.Resolver4, n.def.gateway(false).Addr()}; err != nil || !slices.Equal(detail.Namespace.NameServers, want) {
		t.Errorf("%+v, %v, want %v", detail.Namespace, err, want)
	}
}

// A daemon that died in the middle of an attachment has left interfaces: the next one
// removes them.
func TestAnAttachmentThatWasCutOffIsClearedAway(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net"})
	w.places.add(77, tap.View{Interfaces: []string{"lo"}})
	w.mustAttach(e, "box", 77, "net")
	c, err := e.container("box")
	if err != nil {
		t.Fatal(err)
	}
	c.op.Lock()
	if err := e.decide(c, func(d *ContainerDef) { d.State = StateDef{Status: container.StateCreated} }); err != nil {
		t.Fatal(err)
	}
	c.op.Unlock()
	e = w.restart(e)
	w.isGone(e, "box")
	if !slices.Equal(w.unplugged, []string{"eth0"}) {
		t.Errorf("unplugged: %v", w.unplugged)
	}
	w.checkClean(e)
	w.noNamespaces()
}

// noNamespaces fails unless every namespace that was opened is closed.
func (w *world) noNamespaces() {
	w.t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, entry := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && strings.HasPrefix(to, filepath.Join(w.dir, "ns-")) {
			w.t.Errorf("still open: %s", to)
		}
	}
}

func TestErrorsAboutPlacesHaveAClass(t *testing.T) {
	for cause, class := range map[error]error{
		foreign.ErrWish:    errdefs.ErrInvalidArgument,
		foreign.ErrRefused: errdefs.ErrPermissionDenied,
		foreign.ErrGone:    errdefs.ErrNotFound,
		foreign.ErrSilent:  errdefs.ErrUnavailable,
	} {
		if got := foreignError(fmt.Errorf("/a/path: %w", cause)); !errors.Is(got, class) || !errors.Is(got, cause) {
			t.Errorf("%v: %v, want %v", cause, got, class)
		}
	}
}
