package engine

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

func TestContainerList(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	e := w.engine()
	e.opts.Now = func() time.Time { now = now.Add(time.Second); return now }
	e.testNetwork(t, network.CreateRequest{Name: "net"})
	a := e.testRun(t, spec{name: "web1", ports: map[string]string{"80/tcp": "8000"}, cfg: func(c *container.Config) { c.Labels = map[string]string{"tier": "front"} }})
	e.testRun(t, spec{name: "web2", mode: "net"})
	e.testRun(t, spec{name: "db", mode: "net"})
	w.process(e, "db").end(3)
	done, err := e.ContainerWait(context.Background(), "db", "")
	if err != nil {
		t.Fatal(err)
	}
	<-done
	for _, tt := range []struct {
		what string
		o    api.ListOptions
		want string
	}{
		{"running", api.ListOptions{}, "web2 web1"},
		{"all", api.ListOptions{All: true}, "db web2 web1"},
		{"newest", api.ListOptions{Limit: 1}, "db"},
		{"name", api.ListOptions{Filters: api.Filters{}.Add("name", "web")}, "web2 web1"},
		{"whole name", api.ListOptions{Filters: api.Filters{}.Add("name", "^/web1$")}, "web1"},
		{"id", api.ListOptions{Filters: api.Filters{}.Add("id", a[:5])}, "web1"},
		{"label", api.ListOptions{Filters: api.Filters{}.Add("label", "tier")}, "web1"},
		{"status", api.ListOptions{Filters: api.Filters{}.Add("status", "exited")}, "db"},
		{"exit code", api.ListOptions{All: true, Filters: api.Filters{}.Add("exited", "3")}, "db"},
		{"network", api.ListOptions{All: true, Filters: api.Filters{}.Add("network", "net")}, "db web2"},
		{"published", api.ListOptions{Filters: api.Filters{}.Add("publish", "7999-8001/tcp")}, "web1"},
		{"before", api.ListOptions{Filters: api.Filters{}.Add("before", "web2")}, "web1"},
		{"since", api.ListOptions{Filters: api.Filters{}.Add("since", "web1")}, "db web2"},
	} {
		list, err := e.ContainerList(context.Background(), tt.o)
		var got []string
		for _, s := range list {
			got = append(got, s.Names[0][1:])
		}
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %v, %v, want %s", tt.what, got, err, tt.want)
		}
	}
	list, err := e.ContainerList(context.Background(), api.ListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	if s := list[0]; s.State != container.StateExited || !strings.HasPrefix(s.Status, "Exited (3) ") || !strings.HasSuffix(s.Status, " ago") {
		t.Errorf("db: %s, %q", s.State, s.Status)
	}
	if s := list[2]; !strings.HasPrefix(s.Status, "Up ") || s.Command != "sleep 1000" || len(s.Ports) == 0 || s.Ports[0].PublicPort != 8000 ||
		s.NetworkSettings.Networks["bridge"].IPAddress != netip.MustParseAddr("172.17.0.2") {
		t.Errorf("web1: %+v", s)
	}
	for _, term := range []string{"nonsense", "status", "exited"} {
		if _, err := e.ContainerList(context.Background(), api.ListOptions{Filters: api.Filters{}.Add(term, "x")}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", term, err)
		}
	}
}

func TestStatusText(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for want, s := range map[string]StateDef{
		"Created":                     {Status: container.StateCreated},
		"Up 5 minutes":                {Status: container.StateRunning, Started: now.Add(-5 * time.Minute)},
		"Up Less than a second":       {Status: container.StateRunning, Started: now},
		"Exited (0) 3 seconds ago":    {Status: container.StateExited, Finished: now.Add(-3 * time.Second)},
		"Exited (137) 2 days ago":     {Status: container.StateExited, ExitCode: 137, Finished: now.Add(-49 * time.Hour)},
		"Exited (1) About a hour ago": {},
	} {
		if s.Status == "" {
			continue
		}
		if got := s.statusText(now); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestContainerPrefix(t *testing.T) {
	e := newWorld(t).engine()
	id, err := e.testCreate(spec{name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.containers[id[:12]+"x"] = &ctr{def: &ContainerDef{ID: id[:12] + "x", Name: "b"}}
	defer delete(e.containers, id[:12]+"x")
	if _, err := e.findContainer(id[:12]); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "multiple IDs found with provided prefix") {
		t.Errorf("ambiguous: %v", err)
	}
	for _, term := range []string{id, id[:13], "a", "/a"} {
		if c, err := e.findContainer(term); err != nil || c.def.ID != id {
			t.Errorf("%s: %v, %v", term, c, err)
		}
	}
	if _, err := e.findContainer(""); !errdefs.IsNotFound(err) {
		t.Errorf("empty: %v", err)
	}
}

func TestGeneratedNames(t *testing.T) {
	if !slices.IsSorted(adjectives[:]) {
		t.Error("the adjectives are not in order: a word may be there twice")
	}
	seen := map[string]bool{}
	for range 5000 {
		name := generateName(func(n string) bool { return seen[n] })
		if seen[name] || !validName(name) || !strings.Contains(name, "_") {
			t.Fatalf("generated %q", name)
		}
		seen[name] = true
	}
}

func TestIDs(t *testing.T) {
	for range 1000 {
		if id := newID(); len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" || strings.Trim(short(id), "0123456789") == "" {
			t.Fatalf("id %q", id)
		}
	}
}

func TestStatus(t *testing.T) {
	e := newWorld(t).engine()
	e.testRun(t, spec{name: "c"})
	s, err := e.Status(context.Background())
	if err != nil || s.Containers != 1 || s.Running != 1 || len(s.Networks) != 3 || s.PID == 0 || s.StartedAt.IsZero() {
		t.Fatalf("%+v, %v", s, err)
	}
	if n := s.Networks[0]; n.Name != "bridge" || n.Endpoints != 1 || n.Containers[0].Container != "c" || n.Counters["rx_frames"] != 1 {
		t.Errorf("%+v", n)
	}
	if e.Idle() {
		t.Error("idle with a running container")
	}
	i, err := e.Info(context.Background())
	if err != nil || i.ContainersRunning != 1 {
		t.Errorf("%+v, %v", i, err)
	}
}
