package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/shim"
)

func TestFirstContainer(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	id := e.testRun(t, spec{name: "c1", ports: map[string]string{"80/tcp": "8000"}})
	in := e.testInspect(t, "c1")
	s := in.NetworkSettings.Networks["bridge"]
	if s == nil || s.IPAddress != netip.MustParseAddr("172.17.0.2") || s.IPPrefixLen != 16 || s.Gateway != netip.MustParseAddr("172.17.0.1") ||
		s.MacAddress.String() != "02:42:ac:11:00:02" || len(s.EndpointID) != 64 || s.NetworkID == "" {
		t.Fatalf("endpoint %+v", s)
	}
	if in.Name != "/c1" || in.Path != "sleep" || !slices.Equal(in.Args, []string{"1000"}) || !in.State.Running || in.State.Pid != 4242 || in.Config.Hostname != id[:12] {
		t.Errorf("inspect: %+v, state %+v", in, in.State)
	}
	ports := in.NetworkSettings.Ports[network.MustParsePort("80/tcp")]
	if len(ports) == 0 || ports[0].HostIP != netip.IPv4Unspecified() || ports[0].HostPort != "8000" {
		t.Errorf("ports %v", ports)
	}
	n, err := e.NetworkInspect(context.Background(), "bridge", api.NetworkInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r := n.Containers[id]; r.Name != "c1" || r.EndpointID != s.EndpointID || r.IPv4Address.String() != "172.17.0.2/16" || r.MacAddress.String() != "02:42:ac:11:00:02" {
		t.Errorf("network's view: %+v", r)
	}
	l := w.links()["bridge: c1 eth0"]
	if !l.Default4 || l.Default6 || len(l.Addresses) != 1 || l.Addresses[0].String() != "172.17.0.2/16" {
		t.Errorf("link %+v", l)
	}
	if got := w.process(e, "c1").spec; got.Hostname != id[:12] || got.Args[0] != "sleep" || !slices.Contains(got.Env, "HOSTNAME="+id[:12]) || len(got.Mask) != 2 {
		t.Errorf("process %+v", got)
	}

	e.testStop(t, "c1")
	in = e.testInspect(t, "c1")
	if in.State.Status != container.StateExited || in.State.ExitCode != 143 || in.NetworkSettings.Networks["bridge"].IPAddress.IsValid() || len(in.NetworkSettings.Ports) != 0 {
		t.Errorf("after stop: %+v, %+v", in.State, in.NetworkSettings)
	}
	w.checkClean(e)
	// Its address is free again, and it can be started again.
	e.testRun(t, spec{name: "c2"})
	if got := e.testInspect(t, "c2").NetworkSettings.Networks["bridge"].IPAddress; got != netip.MustParseAddr("172.17.0.2") {
		t.Errorf("the next one got %v", got)
	}
	if err := e.ContainerStart(context.Background(), "c1"); err != nil {
		t.Fatal(err)
	}
	if err := e.ContainerStart(context.Background(), "c1"); !errdefs.IsNotModified(err) {
		t.Errorf("second start: %v", err)
	}
	if got := e.testInspect(t, "c1").NetworkSettings.Networks["bridge"].IPAddress; got != netip.MustParseAddr("172.17.0.3") {
		t.Errorf("started again it got %v", got)
	}
}

// Whatever step of a start fails, nothing of the container is left but its
// definition, and with --rm not even that.
func TestFailedStartLeavesNothing(t *testing.T) {
	notFound := &shim.StartError{Code: 127, Message: `exec: "x": executable file not found in $PATH`}
	denied := &shim.StartError{Code: 126, Message: `exec: "x": permission denied`}
	for _, tt := range []struct {
		step  string
		cause error
		is    error
		code  int
	}{
		{"create", errInjected, errInjected, 128},
		{"create", shim.ErrInvalid, errdefs.ErrInvalidArgument, 128},
		{"namespaces", errInjected, errInjected, 128},
		{"plane", errInjected, errInjected, 128},
		{"attach", errInjected, errInjected, 128},
		{"attach eth1", errInjected, errInjected, 128},
		{"publish", errInjected, errInjected, 128},
		{"attach streams", errInjected, errInjected, 128},
		{"state", errInjected, errInjected, 128},
		{"start", errInjected, errInjected, 128},
		{"start", notFound, api.ErrCommandNotFound, 127},
		{"start", denied, api.ErrCommandNotExecutable, 126},
	} {
		for _, rm := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.step, tt.code, rm), func(t *testing.T) {
				w := newWorld(t)
				e := w.engine()
				e.testNetwork(t, network.CreateRequest{Name: "net", EnableIPv6: ptr(true)})
				id, err := e.testCreate(spec{
					name: "c", mode: "net", rm: rm, ports: map[string]string{"80/tcp": "8000", "81/tcp": "8001"},
					nets: map[string]*network.EndpointSettings{"bridge": nil},
				})
				if err != nil {
					t.Fatal(err)
				}
				stream, err := e.ContainerAttach(context.Background(), id, api.AttachOptions{Stdout: true, Stream: true})
				if err != nil {
					t.Fatal(err)
				}
				w.failAt(tt.step, tt.cause)
				err = e.ContainerStart(context.Background(), id)
				if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.cause.Error()) {
					t.Fatalf("start: %v, want %v", err, tt.is)
				}
				if n, err := stream.Stdout.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Errorf("the waiting client read %d bytes, %v", n, err)
				}
				w.checkClean(e)
				in, err := e.ContainerInspect(context.Background(), id)
				if rm {
					if !errdefs.IsNotFound(err) {
						t.Errorf("--rm: inspect: %v", err)
					}
					return
				}
				if err != nil || in.State.Status != container.StateCreated || in.State.ExitCode != tt.code || in.State.Error == "" {
					t.Errorf("state %+v, %v", in.State, err)
				}
				w.failAt(tt.step, nil)
				if err := e.ContainerStart(context.Background(), id); err != nil {
					t.Errorf("after the cause is gone: %v", err)
				}
			})
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net", EnableIPv6: ptr(true)})
	const n = 24
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			name := fmt.Sprint("c", i)
			id, err := e.testCreate(spec{name: name, mode: "net", ports: map[string]string{"80/tcp": "9000-9100"}})
			if err == nil {
				err = e.ContainerStart(context.Background(), id)
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for i := range n {
		in := e.testInspect(t, fmt.Sprint("c", i))
		s := in.NetworkSettings.Networks["net"]
		for _, v := range []string{s.IPAddress.String(), s.GlobalIPv6Address.String(), s.MacAddress.String(), in.NetworkSettings.Ports[network.MustParsePort("80/tcp")][0].HostPort} {
			if seen[v] {
				t.Errorf("%s is there twice", v)
			}
			seen[v] = true
		}
	}
	for i := range n {
		all.Go(func() {
			if err := e.ContainerRemove(context.Background(), fmt.Sprint("c", i), api.RemoveOptions{Force: true}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	w.checkClean(e)
}

func TestStopKillRemove(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	e.testRun(t, spec{name: "stubborn"})
	w.process(e, "stubborn").ignores = true
	if err := e.ContainerRemove(ctx, "stubborn", api.RemoveOptions{}); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "container is running") {
		t.Errorf("rm of a running one: %v", err)
	}
	if err := e.ContainerStop(ctx, "stubborn", api.StopOptions{Timeout: ptr(0)}); err != nil {
		t.Fatal(err)
	}
	if got := e.testInspect(t, "stubborn").State.ExitCode; got != 137 {
		t.Errorf("exit code %d after SIGKILL", got)
	}
	if err := e.ContainerStop(ctx, "stubborn", api.StopOptions{}); !errdefs.IsNotModified(err) {
		t.Errorf("second stop: %v", err)
	}
	if err := e.ContainerKill(ctx, "stubborn", "TERM"); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "is not running") {
		t.Errorf("kill of an ended one: %v", err)
	}
	if err := e.ContainerKill(ctx, "stubborn", "SIGNONSENSE"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("nonsense signal: %v", err)
	}
	if err := e.ContainerRemove(ctx, "stubborn", api.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		e.ContainerStart(ctx, "stubborn"), e.ContainerKill(ctx, "stubborn", ""), e.ContainerRemove(ctx, "stubborn", api.RemoveOptions{Force: true}),
	} {
		if !errdefs.IsNotFound(err) || !strings.HasSuffix(err.Error(), "No such container: stubborn") {
			t.Errorf("removed: %v", err)
		}
	}
	if _, err := os.Stat(filepath.Join(w.dir, "state", "containers")); err != nil {
		t.Error(err)
	}
	w.checkClean(e)
}

func TestAutoRemove(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	id := e.testRun(t, spec{rm: true})
	removed, err := e.ContainerWait(ctx, id, container.WaitConditionRemoved)
	if err != nil {
		t.Fatal(err)
	}
	w.process(e, id).end(3)
	if r, ok := <-removed; !ok || r.StatusCode != 3 {
		t.Errorf("wait: %+v, %v", r, ok)
	}
	if _, err := e.ContainerInspect(ctx, id); !errdefs.IsNotFound(err) {
		t.Errorf("inspect: %v", err)
	}
	if !e.Idle() {
		t.Error("not idle")
	}
	w.checkClean(e)
}

// A disk that refuses the removal ends the wait for it.
func TestAutoRemoveFails(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	id := e.testRun(t, spec{rm: true})
	removed, err := e.ContainerWait(context.Background(), id, container.WaitConditionRemoved)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.store.Close(); err != nil {
		t.Fatal(err)
	}
	w.process(e, id).end(3)
	select {
	case r := <-removed:
		if r.StatusCode != 3 || r.Error == nil || !strings.Contains(r.Error.Message, "could not be removed") {
			t.Errorf("wait: %+v, %+v", r, r.Error)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the wait for the removal has not ended")
	}
}

func TestWaitConditions(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	id, err := e.testCreate(spec{name: "c"})
	if err != nil {
		t.Fatal(err)
	}
	wait := func(c container.WaitCondition) <-chan container.WaitResponse {
		t.Helper()
		ch, err := e.ContainerWait(context.Background(), id, c)
		if err != nil {
			t.Fatal(err)
		}
		return ch
	}
	if r := <-wait(""); r.StatusCode != 0 {
		t.Errorf("a created container: %+v", r)
	}
	next := wait(container.WaitConditionNextExit)
	ctx, cancel := context.WithCancel(context.Background())
	abandoned, err := e.ContainerWait(ctx, id, container.WaitConditionNextExit)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if r, ok := <-abandoned; ok {
		t.Errorf("an abandoned wait got %+v", r)
	}
	if err := e.ContainerStart(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	running := wait(container.WaitConditionNotRunning)
	w.process(e, id).end(9)
	for _, ch := range []<-chan container.WaitResponse{next, running} {
		if r := <-ch; r.StatusCode != 9 {
			t.Errorf("got %+v, want 9", r)
		}
	}
	if _, err := e.ContainerWait(context.Background(), id, "sometime"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("nonsense condition: %v", err)
	}
}

func TestEvents(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ch, err := e.Events(ctx, api.EventsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e.testNetwork(t, network.CreateRequest{Name: "net"})
	e.testRun(t, spec{name: "c", mode: "net", rm: true})
	removed, err := e.ContainerWait(ctx, "c", container.WaitConditionRemoved)
	if err != nil {
		t.Fatal(err)
	}
	w.process(e, "c").end(0)
	<-removed
	if err := e.NetworkRemove(ctx, "net"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for m := range ch {
		got = append(got, string(m.Type)+" "+string(m.Action))
		if m.Action == events.ActionDestroy && m.Type == events.NetworkEventType {
			cancel()
		}
	}
	want := []string{
		"network create", "container create", "network connect", "container start",
		"network disconnect", "container die", "container destroy", "network destroy",
	}
	if !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	since, err := e.Events(context.Background(), api.EventsOptions{Since: time.Unix(1, 0), Until: time.Now(), Filters: api.Filters{}.Add("event", "die")})
	if err != nil {
		t.Fatal(err)
	}
	var old []string
	for m := range since {
		old = append(old, string(m.Action)+" "+m.Actor.Attributes["exitCode"])
	}
	if !slices.Equal(old, []string{"die 0"}) {
		t.Errorf("kept events %v", old)
	}
}

func TestSlowSubscriberIsDropped(t *testing.T) {
	b := newBroker(time.Now)
	slow := b.subscribe(context.Background(), api.EventsOptions{})
	for range eventBuffer + eventHistory + 10 {
		b.publish(events.ContainerEventType, events.ActionStart, "id", nil)
	}
	n := 0
	for range slow {
		n++
	}
	if n != eventBuffer+eventHistory {
		t.Errorf("%d events before the end", n)
	}
}

// isInvalidOnly: "not found" would be about the image, for docker's command line.
func isInvalidOnly(err error) bool { return api.StatusCode(err) == http.StatusBadRequest }

func TestCreateRefuses(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "auto"})
	e.testNetwork(t, network.CreateRequest{Name: "static", IPAM: subnet("10.5.0.0/24")})
	e.testRun(t, spec{name: "taken", mode: "static"})
	ip := func(n, a string) map[string]*network.EndpointSettings {
		return map[string]*network.EndpointSettings{n: {IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr(a)}}}
	}
	with := func(f func(*container.HostConfig)) func(*container.HostConfig) { return f }
	tests := []struct {
		name string
		s    spec
		is   func(error) bool
		text string
	}{
		{"name taken", spec{name: "taken"}, errdefs.IsConflict, `Conflict. The container name "/taken" is already in use by container "`},
		{"bad name", spec{name: "-x"}, errdefs.IsInvalidArgument, "Invalid container name"},
		{"unknown network", spec{mode: "nowhere"}, isInvalidOnly, "network nowhere not found"},
		{"unknown container", spec{mode: "container:nobody"}, isInvalidOnly, "No such container: nobody"},
		{"relative path", spec{mode: "ns:x"}, errdefs.IsInvalidArgument, "absolute path"},
		{"static on bridge", spec{nets: ip("bridge", "172.17.0.9")}, errdefs.IsInvalidArgument, "user-specified IP address is supported on user-defined networks only"},
		{"static on auto", spec{mode: "auto", nets: ip("auto", "172.18.0.9")}, errdefs.IsInvalidArgument, "user-specified IP address is supported only when connecting to networks with user configured subnets"},
		{"static outside", spec{mode: "static", nets: ip("static", "10.6.0.1")}, errdefs.IsInvalidArgument, "no configured subnet contains IP address 10.6.0.1: network static has "},
		{"alias on bridge", spec{nets: map[string]*network.EndpointSettings{"bridge": {Aliases: []string{"a"}}}}, errdefs.IsInvalidArgument, "network-scoped aliases are only supported for user-defined networks"},
		{"bad alias", spec{mode: "auto", nets: map[string]*network.EndpointSettings{"auto": {Aliases: []string{"a b"}}}}, errdefs.IsInvalidArgument, "invalid alias"},
		{"group MAC", spec{nets: map[string]*network.EndpointSettings{"bridge": {MacAddress: network.HardwareAddr{1, 0, 0, 0, 0, 1}}}}, errdefs.IsInvalidArgument, "it is a group's"},
		{"driver option", spec{nets: map[string]*network.EndpointSettings{"bridge": {DriverOpts: map[string]string{"x": "y"}}}}, errdefs.IsInvalidArgument, "unknown driver option"},
		{"host and another", spec{mode: "auto", nets: map[string]*network.EndpointSettings{"host": nil}}, errdefs.IsInvalidArgument, "cannot be on network host and on others"},
		{"SCTP", spec{ports: map[string]string{"80/sctp": "80"}}, errdefs.IsInvalidArgument, "SCTP cannot be published"},
		{"port nonsense", spec{ports: map[string]string{"80/tcp": "http"}}, errdefs.IsInvalidArgument, "invalid port specification"},
		{"ports of a shared network", spec{mode: "container:taken", ports: map[string]string{"80/tcp": "80"}}, errdefs.IsInvalidArgument, "conflicting options: port publishing and the container type network mode"},
		{"no command", spec{cfg: func(c *container.Config) { c.Cmd = nil }}, errdefs.IsInvalidArgument, "no command specified"},
		{"relative folder", spec{cfg: func(c *container.Config) { c.WorkingDir = "x" }}, errdefs.IsInvalidArgument, "needs to be an absolute path"},
		{"stop signal", spec{cfg: func(c *container.Config) { c.StopSignal = "SIGFOO" }}, errdefs.IsInvalidArgument, "invalid stop signal"},
		{"hostname", spec{cfg: func(c *container.Config) { c.Hostname = "a\nb" }}, errdefs.IsInvalidArgument, "invalid hostname"},
		{"volumes", spec{host: with(func(h *container.HostConfig) { h.Binds = []string{"/a:/b"} })}, errdefs.IsInvalidArgument, "volumes and mounts are not available"},
		{"restart", spec{host: with(func(h *container.HostConfig) { h.RestartPolicy.Name = "always" })}, errdefs.IsInvalidArgument, "restart policy"},
		{"link to nobody", spec{host: with(func(h *container.HostConfig) { h.Links = []string{"nobody:b"} })}, errdefs.IsInvalidArgument, "could not get container for nobody: No such container: nobody"},
		{"add-host", spec{host: with(func(h *container.HostConfig) { h.ExtraHosts = []string{"x:y"} })}, errdefs.IsInvalidArgument, "invalid IP address in add-host"},
		{"DNS search", spec{host: with(func(h *container.HostConfig) { h.DNSSearch = []string{"a\nnameserver 192.0.2.6"} })}, errdefs.IsInvalidArgument, "invalid DNS search domain"},
		{"DNS option", spec{host: with(func(h *container.HostConfig) { h.DNSOptions = []string{"debug\nnameserver 192.0.2.6"} })}, errdefs.IsInvalidArgument, "invalid DNS option"},
		{"userns", spec{host: with(func(h *container.HostConfig) { h.UsernsMode = "host" })}, errdefs.IsInvalidArgument, "user namespace mode"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := e.testCreate(tt.s)
			if err == nil || !tt.is(err) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v (status %d), want %q", err, api.StatusCode(err), tt.text)
			}
		})
	}
	if list, err := e.ContainerList(context.Background(), api.ListOptions{All: true}); err != nil || len(list) != 1 {
		t.Errorf("%d containers after nothing but errors, %v", len(list), err)
	}
	if entries, err := os.ReadDir(filepath.Join(w.dir, "run", "c")); err != nil || len(entries) != 1 {
		t.Errorf("directories %v, %v", entries, err)
	}
}
