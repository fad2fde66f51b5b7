package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"
)

func createContainer(t *testing.T, c *Client, name string, cfg container.Config) string {
	t.Helper()
	res, err := c.ContainerCreate(testContext(t), name, container.CreateRequest{Config: &cfg})
	if err != nil {
		t.Fatal(err)
	}
	return res.ID
}

func TestNetworksOverTheWire(t *testing.T) {
	f, c := start(t)
	ctx := testContext(t)

	created, err := c.NetworkCreate(ctx, network.CreateRequest{
		Name:   "blue",
		Labels: map[string]string{"team": "a"},
		IPAM: &network.IPAM{Config: []network.IPAMConfig{{
			Subnet: netip.MustParsePrefix("10.9.0.0/24"), Gateway: netip.MustParseAddr("10.9.0.1"),
		}}},
	})
	if err != nil || created.ID == "" {
		t.Fatalf("create: %+v, %v", created, err)
	}
	if _, err := c.NetworkCreate(ctx, network.CreateRequest{Name: "blue"}); !errdefs.IsConflict(err) || err.Error() != "network with name blue already exists" {
		t.Errorf("create again: %v; want a conflict with the backend's own words", err)
	}
	for _, name := range []string{"", "a b", "-a", "a/b", "ä", strings.Repeat("x", 256), "a\nb"} {
		if _, err := c.NetworkCreate(ctx, network.CreateRequest{Name: name}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("create %q: %v; want an invalid argument", name, err)
		}
	}

	got, err := c.NetworkInspect(ctx, "blue", NetworkInspectOptions{Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	if want := netip.MustParsePrefix("10.9.0.0/24"); got.ID != created.ID || got.IPAM.Config[0].Subnet != want {
		t.Errorf("inspect: %+v", got)
	}
	if _, err := c.NetworkInspect(ctx, "red", NetworkInspectOptions{}); !errdefs.IsNotFound(err) {
		t.Errorf("inspect of a missing network: %v", err)
	}

	for want, filters := range map[int]Filters{
		1: Filters{}.Add("name", "blue", "red").Add("label", "team=a"),
		0: Filters{}.Add("label", "team=b"),
	} {
		list, err := c.NetworkList(ctx, filters)
		if err != nil || len(list) != want {
			t.Errorf("list %v: %d networks, %v; want %d", filters, len(list), err, want)
		}
	}
	if _, err := c.NetworkList(ctx, Filters{}.Add("colour", "blue")); !errdefs.IsInvalidArgument(err) {
		t.Errorf("unknown filter: %v", err)
	}

	id := createContainer(t, c, "web", container.Config{Cmd: []string{"cat"}})
	if err := c.NetworkConnect(ctx, "blue", network.ConnectRequest{Container: "web", EndpointConfig: &network.EndpointSettings{
		IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr("10.9.0.77")},
	}}); err != nil {
		t.Fatal(err)
	}
	got, err = c.NetworkInspect(ctx, created.ID, NetworkInspectOptions{})
	if err != nil || got.Containers[id].IPv4Address.Addr() != netip.MustParseAddr("10.9.0.77") {
		t.Errorf("inspect after connect: %+v, %v", got.Containers, err)
	}
	if err := c.NetworkConnect(ctx, "blue", network.ConnectRequest{Container: "\x1b[2J"}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("connect of a control sequence: %v", err)
	}
	if err := c.NetworkRemove(ctx, "blue"); !errdefs.IsPermissionDenied(err) {
		t.Errorf("remove of a network in use: %v", err)
	}
	if err := c.NetworkDisconnect(ctx, "blue", network.DisconnectRequest{Container: "web"}); err != nil {
		t.Error(err)
	}
	if err := c.NetworkDisconnect(ctx, "blue", network.DisconnectRequest{Container: "web", Force: true}); err != nil {
		t.Errorf("disconnect by force: %v", err)
	}
	if err := c.NetworkRemove(ctx, "blue"); err != nil {
		t.Error(err)
	}
	if _, err := c.NetworkCreate(ctx, network.CreateRequest{Name: "green"}); err != nil {
		t.Fatal(err)
	}
	report, err := c.NetworksPrune(ctx, nil)
	if err != nil || !reflect.DeepEqual(report.NetworksDeleted, []string{"green"}) {
		t.Errorf("prune: %+v, %v", report, err)
	}
	if len(f.networks) != 0 {
		t.Errorf("%d networks are left", len(f.networks))
	}
}

func TestContainersOverTheWire(t *testing.T) {
	f, c := start(t)
	ctx := testContext(t)
	init := true
	req := container.CreateRequest{
		Config: &container.Config{
			Cmd: []string{"wait"}, Env: []string{"A=b"}, Hostname: "h", ExposedPorts: network.PortSet{network.MustParsePort("80/tcp"): {}},
			Labels: map[string]string{"footbridge.x": "y"},
		},
		HostConfig: &container.HostConfig{
			NetworkMode: "blue", UsernsMode: "auto", AutoRemove: true, Init: &init,
			DNS:          []netip.Addr{netip.MustParseAddr("10.0.0.53")},
			PortBindings: network.PortMap{network.MustParsePort("80/tcp"): {{HostIP: netip.MustParseAddr("::1"), HostPort: "8080"}}},
			Sysctls:      map[string]string{"net.ipv4.ip_forward": "1"},
		},
		NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
			"blue": {Aliases: []string{"x"}, MacAddress: network.HardwareAddr{2, 0x42, 10, 0, 0, 2}},
		}},
	}
	created, err := c.ContainerCreate(ctx, "web", req)
	if err != nil || created.Warnings == nil {
		t.Fatalf("create: %+v, %v", created, err)
	}
	if got := f.containers[created.ID].req; !reflect.DeepEqual(got, req) {
		t.Errorf("the backend was asked for\n%+v\nthe client sent\n%+v", got, req)
	}
	for _, name := range []string{"a b", "..", "a/b", "x\x00", "\u202e"} {
		if _, err := c.ContainerCreate(ctx, name, req); !errdefs.IsInvalidArgument(err) {
			t.Errorf("create %q: %v; want an invalid argument", name, err)
		}
	}
	if _, err := c.ContainerCreate(ctx, "", container.CreateRequest{}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("create without a config: %v", err)
	}

	if err := c.ContainerStart(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	if err := c.ContainerStart(ctx, "web"); !errdefs.IsNotModified(err) {
		t.Errorf("start of a running container: %v; want not modified", err)
	}
	inspect, err := c.ContainerInspect(ctx, created.ID)
	if err != nil || inspect.Name != "/web" || !inspect.State.Running || inspect.HostConfig.UsernsMode != "auto" {
		t.Errorf("inspect: %+v, %v", inspect, err)
	}
	list, err := c.ContainerList(ctx, ListOptions{All: true, Limit: 3, Filters: Filters{}.Add("name", "web")})
	if err != nil || len(list) != 1 || list[0].Ports[0].PublicPort != 8080 {
		t.Errorf("list: %+v, %v", list, err)
	}
	if want := (ListOptions{All: true, Limit: 3, Filters: Filters{"name": {"web": true}}}); !reflect.DeepEqual(f.lastList, want) {
		t.Errorf("the backend was asked for %+v, want %+v", f.lastList, want)
	}
	if err := c.ContainerResize(ctx, "web", TTYSize{Height: 24, Width: 80}); err != nil || f.containers[created.ID].size != (TTYSize{24, 80}) {
		t.Errorf("resize: %v, %+v", err, f.containers[created.ID].size)
	}
	if err := c.ContainerRemove(ctx, "web", RemoveOptions{}); !errdefs.IsConflict(err) {
		t.Errorf("remove of a running container: %v", err)
	}
	timeout := 3
	if err := c.ContainerStop(ctx, "web", StopOptions{Signal: "INT", Timeout: &timeout}); err != nil {
		t.Error(err)
	}
	if f.lastStop.Signal != "INT" || *f.lastStop.Timeout != 3 {
		t.Errorf("the backend was asked to stop with %+v", f.lastStop)
	}
	if err := c.ContainerStop(ctx, "web", StopOptions{}); !errdefs.IsNotModified(err) {
		t.Errorf("stop of a stopped container: %v", err)
	}
	if err := c.ContainerStart(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	if err := c.ContainerKill(ctx, "web", "SIGUSR1"); err != nil {
		t.Error(err)
	}
	if err := c.ContainerRemove(ctx, "web", RemoveOptions{Force: true}); err != nil {
		t.Error(err)
	}
	if _, err := c.ContainerInspect(ctx, "web"); !errdefs.IsNotFound(err) || err.Error() != "No such container: web" {
		t.Errorf("inspect of a removed container: %v", err)
	}
}

func TestCommandThatIsMissingKeepsItsSentinel(t *testing.T) {
	_, c := start(t)
	createContainer(t, c, "web", container.Config{Cmd: []string{"missing"}})
	err := c.ContainerStart(testContext(t), "web")
	if !errors.Is(err, ErrCommandNotFound) || !errdefs.IsInvalidArgument(err) || !strings.HasPrefix(err.Error(), "exec:") {
		t.Errorf("start: %v; want ErrCommandNotFound with the backend's words", err)
	}
	if errors.Is(err, ErrCommandNotExecutable) {
		t.Error("it is another sentinel too")
	}
}

func TestWaitIsRegisteredBeforeItReturns(t *testing.T) {
	_, c := start(t)
	ctx := testContext(t)
	createContainer(t, c, "web", container.Config{Cmd: []string{"wait"}})
	result, err := c.ContainerWait(ctx, "web", container.WaitConditionNextExit)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ContainerStart(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	if err := c.ContainerKill(ctx, "web", ""); err != nil {
		t.Fatal(err)
	}
	if res, ok := <-result; !ok || res.StatusCode != 143 {
		t.Errorf("got %+v, %v; want status 143", res, ok)
	}
	if _, err := c.ContainerWait(ctx, "web", "tomorrow"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("unknown condition: %v", err)
	}
	if _, err := c.ContainerWait(ctx, "nobody", ""); !errdefs.IsNotFound(err) {
		t.Errorf("missing container: %v", err)
	}
	// One that has nothing to wait for ends with its context.
	waitCtx, cancel := context.WithCancel(ctx)
	result, err = c.ContainerWait(waitCtx, "web", container.WaitConditionRemoved)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if res, ok := <-result; ok {
		t.Errorf("got %+v after the context ended", res)
	}
}

func TestEventsAreSubscribedBeforeItReturns(t *testing.T) {
	f, c := start(t)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	ch, err := c.Events(ctx, EventsOptions{Since: time.Unix(1, 5), Filters: Filters{}.Add("type", "network")})
	if err != nil {
		t.Fatal(err)
	}
	if !f.lastEvent.Since.Equal(time.Unix(1, 5)) || !f.lastEvent.Filters["type"]["network"] {
		t.Errorf("the backend was asked for %+v", f.lastEvent)
	}
	for _, name := range []string{"one", "two"} {
		if _, err := c.NetworkCreate(ctx, network.CreateRequest{Name: name}); err != nil {
			t.Fatal(err)
		}
		if m := <-ch; m.Action != events.ActionCreate || m.Actor.Attributes["name"] != name {
			t.Errorf("event %+v, want the creation of %s", m, name)
		}
	}
	cancel()
	for range ch {
		t.Error("an event after the end")
	}
	ended, err := c.Events(testContext(t), EventsOptions{Until: time.Unix(2, 0)})
	if err != nil {
		t.Fatal(err)
	}
	for range ended {
		t.Error("an event after Until")
	}
}

func TestSystemAndDaemon(t *testing.T) {
	f, c := start(t)
	ctx := testContext(t)
	if err := c.Ping(ctx); err != nil {
		t.Error(err)
	}
	v, err := c.Version(ctx)
	if err != nil || v.APIVersion != MaxVersion || v.MinAPIVersion != MinVersion || v.Os != "linux" || v.KernelVersion != "6.1" || v.Version == "" {
		t.Errorf("version: %+v, %v", v, err)
	}
	info, err := c.Info(ctx)
	if err != nil || info.ID != "fake" || info.OSType != "linux" || info.ServerVersion != v.Version {
		t.Errorf("info: %+v, %v", info, err)
	}
	st, err := c.Status(ctx)
	if err != nil || st.PID != 42 || st.Networks[0].Counters["frames_forwarded"] != 1<<60 {
		t.Errorf("status: %+v, %v", st, err)
	}
	if err := c.Shutdown(ctx); err != nil || f.shutdowns != 1 {
		t.Errorf("shutdown: %v, the backend heard it %d times", err, f.shutdowns)
	}
	f.set(func(f *fake) { f.err = errors.New("the state file is damaged") })
	if err := c.Ping(ctx); err == nil || err.Error() != "the state file is damaged" || !errdefs.IsInternal(err) {
		t.Errorf("ping of a backend in trouble: %v", err)
	}
}

func TestEveryClassCrossesTheWire(t *testing.T) {
	f, c := start(t)
	for _, tt := range []struct {
		class error
		is    func(error) bool
		want  int
	}{
		{errdefs.ErrNotFound, errdefs.IsNotFound, 404},
		{errdefs.ErrInvalidArgument, errdefs.IsInvalidArgument, 400},
		{errdefs.ErrOutOfRange, errdefs.IsInvalidArgument, 400},
		{errdefs.ErrConflict, errdefs.IsConflict, 409},
		{errdefs.ErrAlreadyExists, errdefs.IsConflict, 409},
		{errdefs.ErrFailedPrecondition, errdefs.IsConflict, 409},
		{errdefs.ErrUnauthenticated, errdefs.IsUnauthorized, 401},
		{errdefs.ErrPermissionDenied, errdefs.IsPermissionDenied, 403},
		{errdefs.ErrNotModified, errdefs.IsNotModified, 304},
		{errdefs.ErrNotImplemented, errdefs.IsNotImplemented, 501},
		{errdefs.ErrResourceExhausted, errdefs.IsResourceExhausted, 429},
		{errdefs.ErrUnavailable, errdefs.IsUnavailable, 503},
		{errdefs.ErrInternal, errdefs.IsInternal, 500},
		{errors.New("no class"), errdefs.IsInternal, 500},
	} {
		const text = "it did \"not\" work\n\twith ünicode"
		f.set(func(f *fake) { f.err = Errorf(tt.class, "%s", text) })
		if got := StatusCode(f.err); got != tt.want {
			t.Errorf("%v: status %d, want %d", tt.class, got, tt.want)
		}
		_, err := c.NetworkInspect(testContext(t), "x", NetworkInspectOptions{})
		if !tt.is(err) {
			t.Errorf("%v arrived as %#v", tt.class, err)
		}
		if tt.want != http.StatusNotModified && err.Error() != text { // 304 has no body
			t.Errorf("%v: text %q, want %q", tt.class, err, text)
		}
	}
}

func TestNoDaemon(t *testing.T) {
	dir := shortDir(t)
	missing := New(filepath.Join(dir, "none.sock"))
	if err := missing.Ping(testContext(t)); !errors.Is(err, ErrNoDaemon) || !strings.Contains(err.Error(), "footbridge daemon") {
		t.Errorf("no socket: %v; want ErrNoDaemon and what to do", err)
	}
	stale := filepath.Join(dir, "stale.sock")
	leaveSocket(t, stale)
	if _, err := New(stale).ContainerAttach(testContext(t), "x", AttachOptions{}); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("a socket that nobody serves: %v; want ErrNoDaemon", err)
	}
	long := New("/" + strings.Repeat("x", 107))
	if err := long.Ping(testContext(t)); !errors.Is(err, ErrSocketPath) {
		t.Errorf("a path of 108 bytes: %v; want ErrSocketPath", err)
	}
}

func TestOtherVersion(t *testing.T) {
	_, c := start(t)
	if err := c.CheckVersion(testContext(t)); err != nil {
		t.Errorf("our own version: %v", err)
	}
	for _, server := range []string{"footbridge/0.0.1-other", "Docker/28 (linux)", ""} {
		path := filepath.Join(shortDir(t), "s")
		serveHTTP(t, path, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Server", server) })
		err := New(path).CheckVersion(testContext(t))
		if !errors.Is(err, ErrOtherVersion) {
			t.Errorf("server %q: %v; want ErrOtherVersion", server, err)
		}
	}
}

func TestDaemonThatDiesMidAnswer(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	serveHTTP(t, path, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	err := New(path).Shutdown(testContext(t))
	if err == nil || !strings.Contains(err.Error(), "closed the connection") {
		t.Errorf("got %v; want it said that the daemon closed the connection", err)
	}
}

func TestAnswerThatIsNoJSON(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	serveHTTP(t, path, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "what?", http.StatusTeapot) })
	if err := New(path).Ping(testContext(t)); err == nil || err.Error() != "what?" || !errdefs.IsUnknown(err) {
		t.Errorf("got %v; want the body's text", err)
	}
	_ = os.Remove(path)
}
