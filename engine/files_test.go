package engine

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/dns"
)

// file reads one of the files that a container sees.
func (w *world) file(e *Engine, name, file string) string {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.process(e, name).spec.Dir, file))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// settings are the lines of a resolv.conf without comments.
func settings(text string) []string {
	return slices.DeleteFunc(strings.Split(strings.TrimSpace(text), "\n"), func(l string) bool { return strings.HasPrefix(l, "#") })
}

func TestContainerFiles(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net", EnableIPv6: ptr(true), IPAM: subnet("fd00:9::/64")})
	e.testRun(t, spec{name: "c", mode: "net", cfg: func(c *container.Config) { c.Hostname, c.Domainname = "web", "corp.example" },
		host: func(h *container.HostConfig) {
			h.ExtraHosts = []string{"gw:host-gateway", "six=[fd00::5]", "four:192.0.2.4"}
		}})
	if got, want := settings(w.file(e, "c", "resolv.conf")), []string{
		"nameserver 172.18.0.1", "nameserver fd00:9::1", "search corp.example", "options edns0 ndots:0",
	}; !slices.Equal(got, want) {
		t.Errorf("resolv.conf %q, want %q", got, want)
	}
	hosts := w.file(e, "c", "hosts")
	for _, line := range []string{
		"127.0.0.1\tlocalhost\n", "172.18.0.1\tgw\n", "fd00:9::1\tgw\n", "fd00::5\tsix\n", "192.0.2.4\tfour\n",
		"172.18.0.2\tweb.corp.example web\n", "fd00:9::2\tweb.corp.example web\n",
	} {
		if !strings.Contains(hosts, line) {
			t.Errorf("hosts lacks %q:\n%s", line, hosts)
		}
	}
	if got := w.file(e, "c", "hostname"); got != "web\n" {
		t.Errorf("hostname %q", got)
	}
}

func TestResolvConfChoices(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net"})
	e.testNetwork(t, network.CreateRequest{Name: "inside", Internal: true})
	servers := func(a ...string) func(*container.HostConfig) {
		return func(h *container.HostConfig) {
			for _, s := range a {
				h.DNS = append(h.DNS, netip.MustParseAddr(s))
			}
		}
	}
	for i, tt := range []struct {
		what string
		s    spec
		want []string
	}{
		{"default bridge", spec{}, []string{"nameserver 172.17.0.1", "search corp.example", "options edns0 ndots:0"}},
		{"--dns there is asked directly", spec{host: servers("1.1.1.1", "8.8.8.8")}, []string{"nameserver 1.1.1.1", "nameserver 8.8.8.8", "search corp.example", "options edns0 ndots:0"}},
		{"--dns with names goes through the gateway", spec{mode: "net", host: servers("1.1.1.1")}, []string{"nameserver 172.18.0.1", "search corp.example", "options edns0 ndots:0"}},
		{"but not to what only the container reaches", spec{mode: "net", host: servers("127.0.0.1")}, []string{"nameserver 127.0.0.1", "search corp.example", "options edns0 ndots:0"}},
		{"nor to another container", spec{mode: "net", host: servers("172.18.0.77")}, []string{"nameserver 172.18.0.77", "search corp.example", "options edns0 ndots:0"}},
		{"internal", spec{mode: "inside"}, []string{"nameserver 172.19.0.1", "search corp.example", "options edns0 ndots:0"}},
		{"--dns-search .", spec{host: func(h *container.HostConfig) { h.DNSSearch = []string{"."} }}, []string{"nameserver 172.17.0.1", "options edns0 ndots:0"}},
		{"own search and options", spec{host: func(h *container.HostConfig) { h.DNSSearch, h.DNSOptions = []string{"a", "b"}, []string{"ndots:3"} }},
			[]string{"nameserver 172.17.0.1", "search a b", "options ndots:3"}},
	} {
		tt.s.name = "c" + itoa(i)
		e.testRun(t, tt.s)
		if got := settings(w.file(e, tt.s.name, "resolv.conf")); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
		}
	}
	// The container's own servers are asked by the gateway on its behalf.
	n := w.plane("net")
	addr := e.testInspect(t, "c2").NetworkSettings.Networks["net"].IPAddress
	if v := n.views[addr]; !slices.Equal(v.Servers, []netip.AddrPort{netip.MustParseAddrPort("1.1.1.1:53")}) {
		t.Errorf("view of c2: %+v", v)
	}
	e.testStop(t, "c2")
	if v := n.views[addr]; len(v.Servers) > 0 {
		t.Error("the view outlives the container")
	}
}

// changeResolv writes the host's resolv.conf anew and waits until the engine
// has taken it in.
func (w *world) changeResolv(e *Engine, text string) {
	w.t.Helper()
	done := make(chan struct{}, 8)
	cancel := e.upstream.Subscribe(func(dns.Config) { done <- struct{}{} })
	defer cancel()
	if err := os.WriteFile(w.resolv+".new", []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(w.resolv+".new", w.resolv); err != nil {
		w.t.Fatal(err)
	}
	<-done // subscribers are called in order: the engine's came first
}

func TestResolvConfFollowsTheHost(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testRun(t, spec{name: "plain"})
	e.testRun(t, spec{name: "edited"})
	e.testRun(t, spec{name: "linked"})
	dir := func(name string) string { return filepath.Join(w.process(e, name).spec.Dir, "resolv.conf") }
	before, err := os.Stat(dir("plain"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir("edited"), []byte("nameserver 9.9.9.9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(w.dir, "victim")
	if err := os.WriteFile(victim, []byte(w.file(e, "linked", "resolv.conf")), 0o600); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(victim)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir("linked")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, dir("linked")); err != nil {
		t.Fatal(err)
	}

	w.changeResolv(e, "nameserver 192.0.2.54\nsearch a.example\n")
	if got, want := settings(w.file(e, "plain", "resolv.conf")), []string{"nameserver 172.17.0.1", "search a.example", "options ndots:0"}; !slices.Equal(got, want) {
		t.Errorf("plain: %q, want %q", got, want)
	}
	after, err := os.Stat(dir("plain"))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("another inode: the container still sees the old one (%v)", err)
	}
	if got := w.file(e, "edited", "resolv.conf"); got != "nameserver 9.9.9.9\n" {
		t.Errorf("the user's own was overruled: %q", got)
	}
	if got, err := os.ReadFile(victim); err != nil || string(got) != string(kept) {
		t.Errorf("a symbolic link was followed: %q, %v", got, err)
	}
	// A second change finds its own first one.
	w.changeResolv(e, "nameserver 192.0.2.54\nsearch b.example\n")
	if got := w.file(e, "plain", "resolv.conf"); !strings.Contains(got, "search b.example\n") || strings.Contains(got, "a.example") {
		t.Errorf("plain: %q", got)
	}
}

func TestHostsFollowsConnect(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net"})
	id := e.testRun(t, spec{name: "c"})
	path := filepath.Join(w.process(e, "c").spec.Dir, "hosts")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("192.0.2.9 mine\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	before := w.file(e, "c", "hosts")
	if err := connectTo(e, "net", "c", nil); err != nil {
		t.Fatal(err)
	}
	if got, want := w.file(e, "c", "hosts"), before+"172.18.0.2\t"+id[:12]+"\n"; got != want {
		t.Errorf("hosts\n%q, want\n%q", got, want)
	}
	if err := e.NetworkDisconnect(context.Background(), "net", network.DisconnectRequest{Container: "c"}); err != nil {
		t.Fatal(err)
	}
	if got := w.file(e, "c", "hosts"); got != before {
		t.Errorf("hosts\n%q, want\n%q", got, before)
	}
}

func TestNames(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net"})
	e.testNetwork(t, network.CreateRequest{Name: "other"})
	alias := map[string]*network.EndpointSettings{"net": {Aliases: []string{"web"}}}
	c3 := e.testRun(t, spec{name: "c3", mode: "net", nets: alias, cfg: func(c *container.Config) { c.Hostname = "hosty" }})
	unnamed := e.testRun(t, spec{mode: "net", nets: alias})
	e.testRun(t, spec{name: "c1"})
	both := e.testRun(t, spec{name: "both", mode: "net", nets: map[string]*network.EndpointSettings{"other": nil}})
	net := w.plane("net")
	for name, want := range map[string]int{"c3": 1, "web": 2, c3[:12]: 1, "hosty": 1, "c3.net": 1, "both": 1, "c1": 0, unnamed[:12]: 0, e.testInspect(t, unnamed).Name[1:]: 0} {
		if addrs, _ := net.names.Lookup(name); len(addrs) != want {
			t.Errorf("%s: %v, want %d addresses", name, addrs, want)
		}
	}
	if name, _ := net.names.Reverse(e.testInspect(t, "c3").NetworkSettings.Networks["net"].IPAddress); name != "c3.net" {
		t.Errorf("the address leads back to %q", name)
	}
	if addrs, ok := w.plane("bridge").names.Lookup("c1"); ok || w.plane("bridge").spec.Resolves {
		t.Errorf("a name on the default network: %v", addrs)
	}
	// A container sees the names of all its networks.
	addr := e.testInspect(t, both).NetworkSettings.Networks["net"].IPAddress
	if v := net.views[addr].Networks; len(v) != 1 || v[0] != w.plane("other").spec.ID {
		t.Errorf("view of both: %v", v)
	}
	e.testStop(t, "c3")
	if addrs, ok := net.names.Lookup("c3"); ok {
		t.Errorf("an ended container is known: %v", addrs)
	}
}

// A container that could get at its runtime directory leads nobody by what it puts
// there: links are not followed, pipes not waited for, and what is huge not read.
func TestReplacedFilesLeadNowhere(t *testing.T) {
	victim := filepath.Join(t.TempDir(), "victim")
	for name, replace := range map[string]func(path string) error{
		"a link":   func(path string) error { return os.Symlink(victim, path) },
		"a pipe":   func(path string) error { return unix.Mkfifo(path, 0o600) },
		"a folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"nothing":  func(string) error { return nil },
		"huge": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			e := w.engine()
			e.testNetwork(t, network.CreateRequest{Name: "net"})
			e.testRun(t, spec{name: "c", mode: "net"})
			e.testNetwork(t, network.CreateRequest{Name: "other"})
			dir := w.process(e, "c").spec.Dir
			if err := os.WriteFile(victim, []byte("kept\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{fileHosts, fileResolv, fileResolvSum, copyName, copyName + ".new", fileResolvSum + ".new", fileHostsLines, fileHostsLines + ".new", "exit.json"} {
				path := filepath.Join(dir, file)
				if err := errors.Join(os.RemoveAll(path), replace(path)); err != nil {
					t.Fatal(err)
				}
			}
			done := make(chan *Engine)
			go func() {
				defer close(done)
				_ = connectTo(e, "other", "c", nil) // writes hosts, resolv.conf and the copy
				e.rewriteResolvConfs()
				e = w.restart(e)
				_ = os.Remove(filepath.Join(w.dir, "state", stateFile)) // next time from the copy
				_ = e.ContainerStop(context.Background(), "c", api.StopOptions{})
				done <- e
			}()
			select {
			case e = <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("somebody waits for it")
			}
			if b, err := os.ReadFile(victim); err != nil || string(b) != "kept\n" {
				t.Errorf("the link was followed: %q, %v", b, err)
			}
			w.checkClean(e)
		})
	}
}
