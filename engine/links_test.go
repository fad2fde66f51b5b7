package engine

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/engine/worker"
)

func linksOf(links ...string) func(*container.HostConfig) {
	return func(h *container.HostConfig) { h.Links = links }
}

func TestLinksOnTheDefaultNetwork(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	target := e.testRun(t, spec{name: "web", cfg: func(c *container.Config) {
		c.Env = []string{"A=b", "PATH=/x"}
		c.ExposedPorts = network.PortSet{network.MustParsePort("80/tcp"): {}}
	}})
	e.testRun(t, spec{name: "me", host: linksOf("web:db", "web", target[:12]+":db")})
	check := func(line string) {
		t.Helper()
		if got := w.file(e, "me", "hosts"); !strings.Contains(got, line) {
			t.Errorf("hosts lacks %q:\n%s", line, got)
		}
	}
	check("172.17.0.2\tdb " + target[:12] + " web\n")
	check("172.17.0.2\tweb " + target[:12] + "\n")
	env := w.process(e, "me").spec.Env
	for _, v := range []string{"DB_PORT=tcp://172.17.0.2:80", "DB_PORT_80_TCP_ADDR=172.17.0.2", "DB_NAME=/me/db", "DB_ENV_A=b", "WEB_NAME=/me/web"} {
		if !slices.Contains(env, v) {
			t.Errorf("environment lacks %s: %q", v, env)
		}
	}
	if slices.Contains(env, "DB_ENV_PATH=/x") {
		t.Error("the target's PATH is given on")
	}
	if got := e.testInspect(t, "me").HostConfig.Links; !slices.Equal(got, []string{"/web:/me/db", "/web:/me/web"}) {
		t.Errorf("inspect shows links %q", got)
	}

	// The target comes back with another address.
	e.testStop(t, "web")
	eventually(t, "the line of a stopped target to go", func() bool { return !strings.Contains(w.file(e, "me", "hosts"), "\tdb ") })
	e.testRun(t, spec{name: "taker"})
	if err := e.ContainerStart(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	check("172.17.0.4\tdb " + target[:12] + " web\n")
	// So it does after the daemon has.
	e = w.restart(e)
	check("172.17.0.4\tdb " + target[:12] + " web\n")
	if got := e.testInspect(t, "me").HostConfig.Links; len(got) != 2 {
		t.Errorf("after a restart inspect shows links %q", got)
	}

	// It must run when the linking one starts.
	e.testStop(t, "me")
	e.testStop(t, "web")
	if err := e.ContainerStart(ctx, "me"); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "Cannot link to a non running container: /web AS /me/db") {
		t.Errorf("start with a stopped target: %v", err)
	}
	if len(w.links()) != 1 {
		t.Errorf("a refused start has left endpoints: %v", w.links())
	}
	// A link goes with its target.
	if err := e.remove(must(e.container("web"))(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the link to go with its target", func() bool { return len(e.testInspect(t, "me").HostConfig.Links) == 0 })
	if err := e.ContainerStart(ctx, "me"); err != nil {
		t.Errorf("start without the link: %v", err)
	}
}

func must(c *ctr, err error) func(*testing.T) *ctr {
	return func(t *testing.T) *ctr {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func TestLinksOnAUserDefinedNetwork(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net"})
	e.testNetwork(t, network.CreateRequest{Name: "zet"})
	unnamed := e.testRun(t, spec{mode: "net"})
	e.testRun(t, spec{name: "me", mode: "net", host: linksOf("later:db", unnamed+":other")})
	n := w.plane("net")
	addr := e.testInspect(t, "me").NetworkSettings.Networks["net"].IPAddress
	want := []worker.Alias{{Name: "db", Network: n.spec.ID, Target: "later"}, {Name: "other", Network: n.spec.ID, Target: unnamed}}
	if v := n.views[addr]; !slices.Equal(v.Aliases, want) {
		t.Errorf("view %+v, want %+v", v.Aliases, want)
	}
	if addrs, ok := n.names.Lookup(unnamed); !ok || len(addrs) != 1 {
		t.Errorf("the id leads to %v", addrs)
	}
	in := e.testInspect(t, "me")
	if got := in.NetworkSettings.Networks["net"].Links; !slices.Equal(got, []string{"later:db", unnamed + ":other"}) || len(in.HostConfig.Links) != 0 {
		t.Errorf("inspect shows %q and %q", got, in.HostConfig.Links)
	}
	if slices.Contains(strings.Fields(w.file(e, "me", "hosts")), "db") {
		t.Error("the alias is in the hosts file")
	}
	// By connect, and on all networks that the container asks on.
	if err := connectTo(e, "zet", "me", &network.EndpointSettings{Links: []string{"far:away"}}); err != nil {
		t.Fatal(err)
	}
	z := w.plane("zet")
	if v := n.views[addr]; !slices.Contains(v.Aliases, worker.Alias{Name: "away", Network: z.spec.ID, Target: "far"}) {
		t.Errorf("view on net after connect: %+v", v.Aliases)
	}
	e = w.restart(e)
	if v := w.plane("net").views[addr]; len(v.Aliases) != 3 {
		t.Errorf("view after a restart of the daemon: %+v", v.Aliases)
	}
	if err := connectTo(e, "bridge", "me", &network.EndpointSettings{Links: []string{"a:b"}}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("link by connect on the default network: %v", err)
	}
	if e.testInspect(t, "me").NetworkSettings.Networks["bridge"] != nil {
		t.Error("a refused connect has connected")
	}
}

// Who has an id that begins like a name is not who a link names.
func TestALinkLeadsToNobodyByAFewDigits(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net"})
	squatter := e.testRun(t, spec{mode: "net"})
	generated := e.testInspect(t, squatter).Name[1:]
	digits := squatter[:3]
	e.testRun(t, spec{name: "me", mode: "net", host: linksOf(digits+":db", short(squatter)+":s", squatter+":w", generated+":g")})
	n := w.plane("net")
	addr := e.testInspect(t, "me").NetworkSettings.Networks["net"].IPAddress
	var got []string
	for _, a := range n.views[addr].Aliases {
		got = append(got, a.Target)
	}
	if want := []string{digits, squatter, squatter, squatter}; !slices.Equal(got, want) {
		t.Errorf("links lead to %q, want %q", got, want)
	}
}

func TestLinksThatMakeNoSense(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net"})
	e.testRun(t, spec{name: "web"})
	e.testRun(t, spec{name: "far", mode: "net"})
	e.testRun(t, spec{name: "hosted", mode: "host"})
	for _, test := range []struct {
		mode, text string
		links      []string
	}{
		{"", "No such container: nobody", []string{"nobody:x"}},
		{"", "bad format for links", []string{""}},
		{"", "bad format for links", []string{"web:a b"}},
		{"", "bad format for links", []string{"web:a:b"}},
		{"", "bad format for links", []string{"web:x\n10.0.0.1"}},
		{"net", "bad format for links", []string{"web:"}},
		{"", "two links have the alias", []string{"web:x", "far:x"}},
		{"", "host type networking can't be used with links", []string{"hosted:x"}},
		{"host", "conflicting options: host type networking can't be used with links. This would result in undefined behavior", []string{"web"}},
		{"container:web", "conflicting options: container type network can't be used with links. This would result in undefined behavior", []string{"web"}},
		{"none", "conflicting options: links lead", []string{"web"}},
	} {
		if _, err := e.testCreate(spec{name: "c", mode: test.mode, host: linksOf(test.links...)}); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%q with %q: %v, want %q", test.mode, test.links, err, test.text)
		}
	}
	// One that is on other networks only is seen at the start.
	if _, err := e.testCreate(spec{name: "c", host: linksOf("far:x")}); err != nil {
		t.Fatal(err)
	}
	if err := e.ContainerStart(context.Background(), "c"); err == nil || !strings.Contains(err.Error(), "Cannot link to /far, as it does not belong to the default network") {
		t.Errorf("start: %v", err)
	}
}

func TestLinkVariables(t *testing.T) {
	ports := network.PortSet{}
	for _, p := range []string{"80/tcp", "81/tcp", "82/tcp", "53/udp", "90/udp"} {
		ports[network.MustParsePort(p)] = struct{}{}
	}
	got := linkVariables("me", "my-db", netip.MustParseAddr("172.17.0.2"), container.Config{ExposedPorts: ports, Env: []string{"A=b=c", "HOME=/", "X"}})
	want := []string{
		"MY_DB_PORT=udp://172.17.0.2:53",
		"MY_DB_PORT_80_TCP_START=tcp://172.17.0.2:80", "MY_DB_PORT_80_TCP_PORT_START=80",
		"MY_DB_PORT_80_TCP_END=tcp://172.17.0.2:82", "MY_DB_PORT_80_TCP_PORT_END=82",
		"MY_DB_PORT_53_UDP=udp://172.17.0.2:53", "MY_DB_PORT_53_UDP_ADDR=172.17.0.2", "MY_DB_PORT_53_UDP_PORT=53", "MY_DB_PORT_53_UDP_PROTO=udp",
		"MY_DB_PORT_80_TCP=tcp://172.17.0.2:80", "MY_DB_PORT_80_TCP_ADDR=172.17.0.2", "MY_DB_PORT_80_TCP_PORT=80", "MY_DB_PORT_80_TCP_PROTO=tcp",
		"MY_DB_PORT_81_TCP=tcp://172.17.0.2:81", "MY_DB_PORT_81_TCP_ADDR=172.17.0.2", "MY_DB_PORT_81_TCP_PORT=81", "MY_DB_PORT_81_TCP_PROTO=tcp",
		"MY_DB_PORT_82_TCP=tcp://172.17.0.2:82", "MY_DB_PORT_82_TCP_ADDR=172.17.0.2", "MY_DB_PORT_82_TCP_PORT=82", "MY_DB_PORT_82_TCP_PROTO=tcp",
		"MY_DB_PORT_90_UDP=udp://172.17.0.2:90", "MY_DB_PORT_90_UDP_ADDR=172.17.0.2", "MY_DB_PORT_90_UDP_PORT=90", "MY_DB_PORT_90_UDP_PROTO=udp",
		"MY_DB_NAME=/me/my-db", "MY_DB_ENV_A=b=c",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	six := linkVariables("me", "db", netip.MustParseAddr("fd00::2"), container.Config{ExposedPorts: network.PortSet{network.MustParsePort("80/tcp"): {}}})
	if six[0] != "DB_PORT=tcp://[fd00::2]:80" {
		t.Errorf("IPv6: %s", six[0])
	}
}

// A link follows its target off the default network and back, and so it does when the container itself is connected again.
func TestALinkFollowsItsTargetsNetworks(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	e.testNetwork(t, network.CreateRequest{Name: "net"})
	e.testRun(t, spec{name: "web"})
	e.testRun(t, spec{name: "me", host: linksOf("web:db")})
	has := func() bool { return strings.Contains(w.file(e, "me", "hosts"), "\tdb ") }
	off := func(name string) {
		t.Helper()
		if err := e.NetworkDisconnect(ctx, "bridge", network.DisconnectRequest{Container: name}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"web", "me"} {
		if !has() {
			t.Fatalf("hosts lacks the link:\n%s", w.file(e, "me", "hosts"))
		}
		off(name)
		eventually(t, "the line to go with "+name+"'s network", func() bool { return !has() })
		if err := connectTo(e, "bridge", name, nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the line to come with "+name+"'s network", has)
	}
	if _, err := e.testCreate(spec{name: "many", host: linksOf(slices.Repeat([]string{"web:x"}, maxLinks+1)...)}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("more links than allowed: %v", err)
	}
}
