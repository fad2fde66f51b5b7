package engine

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

func TestTheHostsNamesFollowTheDefaultRoute(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	e.testNetwork(t, network.CreateRequest{Name: "alpha"})
	e.testNetwork(t, network.CreateRequest{Name: "inside", Internal: true})
	const names = "\thost.docker.internal host.containers.internal gateway.docker.internal\n"
	check := func(container, want string) {
		t.Helper()
		if got := w.file(e, container, "hosts"); !strings.Contains(got, want) {
			t.Errorf("hosts of %s lacks %q:\n%s", container, want, got)
		}
	}
	e.testRun(t, spec{name: "c", host: func(h *container.HostConfig) { h.ExtraHosts = []string{"me:host-gateway"} }})
	check("c", "172.17.0.1"+names)
	check("c", "172.17.0.1\tme\n")
	if err := connectTo(e, "alpha", "c", nil); err != nil {
		t.Fatal(err)
	}
	check("c", "172.18.0.1"+names)
	check("c", "172.18.0.1\tme\n")
	if got := w.file(e, "c", "hosts"); strings.Contains(got, "172.17.0.1") {
		t.Errorf("the old gateway is still there:\n%s", got)
	}
	if err := e.NetworkDisconnect(ctx, "alpha", network.DisconnectRequest{Container: "c"}); err != nil {
		t.Fatal(err)
	}
	check("c", "172.17.0.1"+names)
	// What the user says of a name counts more.
	e.testRun(t, spec{name: "own", host: func(h *container.HostConfig) { h.ExtraHosts = []string{"Host.docker.internal:192.0.2.1"} }})
	check("own", "172.17.0.1\thost.containers.internal gateway.docker.internal\n")
	check("own", "192.0.2.1\tHost.docker.internal\n")
	e.testRun(t, spec{name: "in", mode: "inside"})
	check("in", "172.19.0.1"+names)
	// Without a network nothing stands for the host; its own loopback would be somebody else.
	e.testRun(t, spec{name: "none", mode: "none", host: func(h *container.HostConfig) { h.ExtraHosts = []string{"me:host-gateway"} }})
	check("none", "172.17.0.1\tme\n")
	if got := w.file(e, "none", "hosts"); strings.Contains(got, "host.docker.internal") {
		t.Errorf("hosts without a network:\n%s", got)
	}
	e.testRun(t, spec{name: "host", mode: "host", host: func(h *container.HostConfig) { h.ExtraHosts = []string{"me:host-gateway"} }})
	check("host", "127.0.0.1"+names)
	check("host", "127.0.0.1\tme\n")
}

// Lines of the user's stay, and what the user has taken out or changed is not put back.
func TestAnEditedHostsFileKeepsItsEdits(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net"})
	id := e.testRun(t, spec{name: "c", host: func(h *container.HostConfig) { h.ExtraHosts = []string{"a:192.0.2.1", "b:192.0.2.2"} }})[:12]
	path := filepath.Join(w.process(e, "c").spec.Dir, "hosts")
	text := strings.NewReplacer("192.0.2.1\ta\n", "192.0.2.77\ta\n", "192.0.2.2\tb\n", "", "172.17.0.1\thost.docker", "#172.17.0.1\thost.docker").Replace(w.file(e, "c", "hosts"))
	text += "10.0.0.1 mine" // without an end
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := connectTo(e, "net", "c", nil); err != nil {
		t.Fatal(err)
	}
	if got, want := w.file(e, "c", "hosts"), text+"\n172.18.0.2\t"+id+"\n"; got != want {
		t.Errorf("hosts\n%q, want\n%q", got, want)
	}
	e = w.restart(e)
	if err := e.NetworkDisconnect(context.Background(), "net", network.DisconnectRequest{Container: "c"}); err != nil {
		t.Fatal(err)
	}
	if got, want := w.file(e, "c", "hosts"), text+"\n"; got != want {
		t.Errorf("hosts\n%q, want\n%q", got, want)
	}
}

func TestMergeHosts(t *testing.T) {
	for _, test := range []struct {
		what, text string
		was, lines []string
		want       string
	}{
		{"nothing", "", nil, nil, ""},
		{"one more", "1 a\n", nil, []string{"2 b\n"}, "1 a\n2 b\n"},
		{"another", "1 a\n2 b\n3 c\n", []string{"2 b\n"}, []string{"2 d\n"}, "1 a\n3 c\n2 d\n"},
		{"there already", "1 a\n", nil, []string{"1 a\n"}, "1 a\n"},
		{"taken out by the user", "1 a\n", []string{"2 b\n"}, []string{"2 b\n"}, "1 a\n"},
		{"changed by the user", "1 a\n2 c\n", []string{"2 b\n"}, []string{"3 b\n"}, "1 a\n2 c\n3 b\n"},
		{"no end of line", "1 a", nil, []string{"2 b\n"}, "1 a\n2 b\n"},
	} {
		if got := mergeHosts(test.text, test.was, test.lines); got != test.want {
			t.Errorf("%s: %q, want %q", test.what, got, test.want)
		}
	}
}

// Whatever a container has written into its hosts file: its own lines stay, in their order, and ours are there once.
func FuzzMergeHosts(f *testing.F) {
	f.Add("127.0.0.1\tlocalhost\n172.17.0.2\tc\n", "172.17.0.2\tc\n", "172.18.0.2\tc\n")
	f.Add("\n\r\x00 a", "\n", "x\n")
	f.Fuzz(func(t *testing.T, text, was, lines string) {
		old, now := slices.Collect(strings.Lines(was+"\n")), slices.Collect(strings.Lines(lines+"\n"))
		got := slices.Collect(strings.Lines(mergeHosts(text, old, now)))
		i := 0
		for line := range strings.Lines(text) {
			if slices.Contains(old, line) {
				continue
			}
			// It may have got a newline, and be one of ours by that.
			is := func(other string) bool { return strings.TrimSuffix(other, "\n") == strings.TrimSuffix(line, "\n") }
			for i < len(got) && !is(got[i]) && slices.Contains(old, got[i]) { // ours that still hold
				i++
			}
			if i >= len(got) || !is(got[i]) {
				t.Fatalf("%q of the user's is not in %q", line, got)
			}
			i++
		}
		for _, line := range now {
			if !slices.Contains(old, line) && !slices.Contains(got, line) {
				t.Fatalf("%q of ours is not in %q", line, got)
			}
		}
	})
}
