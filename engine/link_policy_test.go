package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/engine/plane"
)

// exceptions are those of a network's data plane, one a line.
func (w *world) exceptions(network string) []string {
	p := w.plane(network)
	if p == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, list := range p.exceptions {
		for _, x := range list {
			out = append(out, fmt.Sprintf("%v>%v %s %d-%d", x.From, x.To, x.Proto, x.First, x.Last))
		}
	}
	slices.Sort(out)
	return out
}

func exposing(ports ...string) func(*container.Config) {
	return func(c *container.Config) {
		c.ExposedPorts = network.PortSet{}
		for _, p := range ports {
			c.ExposedPorts[network.MustParsePort(p)] = struct{}{}
		}
	}
}

func apart(name string, icc bool) network.CreateRequest {
	return network.CreateRequest{
		Name: name, EnableIPv6: ptr(true), Options: map[string]string{optICC: fmt.Sprint(icc)},
		IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: netip.MustParsePrefix("10.50.0.0/24")}, {Subnet: netip.MustParsePrefix("fd50::/64")}}},
	}
}

func linkTo(names ...string) func(*container.HostConfig) {
	return func(h *container.HostConfig) { h.Links = names }
}

func TestLinksOpenExposedPorts(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, apart("n", false))
	e.testRun(t, spec{name: "db", mode: "n", cfg: exposing("5432/tcp", "80/tcp", "81/tcp", "53/udp")})
	e.testRun(t, spec{name: "other", mode: "n", cfg: exposing("22/tcp")})
	if got := w.exceptions("n"); got != nil {
		t.Errorf("without links: %v", got)
	}
	e.testRun(t, spec{name: "web", mode: "n", host: linkTo("db:store"), ports: map[string]string{"8080/tcp": "8080"}})
	want := []string{
		"10.50.0.4>10.50.0.2 tcp 5432-5432", "10.50.0.4>10.50.0.2 tcp 80-81", "10.50.0.4>10.50.0.2 udp 53-53",
		"fd50::4>fd50::2 tcp 5432-5432", "fd50::4>fd50::2 tcp 80-81", "fd50::4>fd50::2 udp 53-53",
	}
	if got := w.exceptions("n"); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	// They go with the one who is linked to, before anybody has its address, and come
	// back with it, wherever it is then.
	e.testStop(t, "db")
	if got := w.exceptions("n"); got != nil {
		t.Errorf("after the end of db: %v", got)
	}
	e.testRun(t, spec{name: "squatter", mode: "n", cfg: exposing("80/tcp")})
	if got := w.exceptions("n"); got != nil {
		t.Errorf("for who has the address of db: %v", got)
	}
	if err := e.ContainerStart(context.Background(), "db"); err != nil {
		t.Fatal(err)
	}
	got := w.exceptions("n")
	if len(got) != len(want) || !strings.HasPrefix(got[0], "10.50.0.4>10.50.0.5 ") {
		t.Errorf("db again: %v", got)
	}
	e.testStop(t, "web")
	if got := w.exceptions("n"); got != nil {
		t.Errorf("after the end of web: %v", got)
	}
}

// A link is to a name, not to whose id begins like it.
func TestALinkIsNotToADigitOfAnID(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, apart("n", false))
	id := e.testRun(t, spec{name: "other", mode: "n", cfg: exposing("80/tcp")})
	for _, name := range []string{id[:1], id[:2], id[:11]} {
		if _, err := e.testCreate(spec{name: "web-" + name, mode: "n", host: linkTo(name + ":other")}); err != nil {
			t.Fatal(err)
		}
		if err := e.ContainerStart(context.Background(), "web-"+name); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.exceptions("n"); got != nil {
		t.Errorf("%v", got)
	}
	e.testRun(t, spec{name: "web", mode: "n", host: linkTo(id[:12] + ":other")})
	if got := w.exceptions("n"); len(got) != 2 {
		t.Errorf("by the short id: %v", got)
	}
}

func TestPublishingOpensAPortToLinks(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, apart("n", false))
	e.testRun(t, spec{name: "db", mode: "n", ports: map[string]string{"80/tcp": "8000"}})
	e.testRun(t, spec{name: "web", mode: "n", host: linkTo("db")})
	if got := w.exceptions("n"); len(got) != 2 || got[0] != "10.50.0.3>10.50.0.2 tcp 80-80" {
		t.Errorf("%v", got)
	}
}

func TestLinksOpenNothingWithICC(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, apart("n", true))
	e.testRun(t, spec{name: "db", mode: "n", cfg: exposing("80/tcp")})
	e.testRun(t, spec{name: "web", mode: "n", host: linkTo("db")})
	if got := w.exceptions("n"); got != nil {
		t.Errorf("%v", got)
	}
}

func TestALinkThatCannotBeOpenedIsNoStart(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, apart("n", false))
	e.testRun(t, spec{name: "db", mode: "n", cfg: exposing("80/tcp")})
	w.failAt("exceptions", errInjected)
	id, err := e.testCreate(spec{name: "web", mode: "n", host: linkTo("db")})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.ContainerStart(context.Background(), id); err == nil || !strings.Contains(err.Error(), "open the ports of links") {
		t.Errorf("%v", err)
	}
	w.failAt("exceptions", nil)
	if err := e.ContainerStart(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	if got := w.exceptions("n"); len(got) != 2 {
		t.Errorf("%v", got)
	}
}

// After a restart of the daemon what links have opened is open again.
// What many single ports would open is bounded; it is refused to whoever asks for it, and
// never stands in the way of others.
func TestLinksOpenNoMoreThanTheWorkerIsTold(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, apart("n", false))
	single := func(n int) (ports []string) {
		for i := range n {
			ports = append(ports, fmt.Sprintf("%d/tcp", 1000+2*i))
		}
		return ports
	}
	e.testRun(t, spec{name: "wide", mode: "n", cfg: exposing(single(maxExceptions/2 + 1)...)})
	id, err := e.testCreate(spec{name: "a", mode: "n", host: linkTo("wide")})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.ContainerStart(t.Context(), id); err == nil || !strings.Contains(err.Error(), "would open 514 ranges of ports") {
		t.Errorf("too many ports: %v", err)
	}
	if got := w.exceptions("n"); len(got) != 0 {
		t.Errorf("%d exceptions are left", len(got))
	}
	e.testRun(t, spec{name: "b", mode: "n", host: linkTo("later")})
	e.testRun(t, spec{name: "later", mode: "n", cfg: exposing(single(maxExceptions/2 + 1)...)})
	e.testRun(t, spec{name: "other", mode: "n"})
	if got := w.exceptions("n"); len(got) != maxExceptions {
		t.Errorf("%d exceptions, want %d", len(got), maxExceptions)
	}
}

func TestLinksSurviveTheDaemon(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, apart("n", false))
	e.testRun(t, spec{name: "db", mode: "n", cfg: exposing("80/tcp")})
	e.testRun(t, spec{name: "web", mode: "n", host: linkTo("db")})
	before := w.exceptions("n")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	w.engine()
	if got := w.exceptions("n"); len(got) != 2 || !slices.Equal(got, before) {
		t.Errorf("%v, was %v", got, before)
	}
}

func TestNamesAreAskedWhereTheyAreAnswered(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	req := apart("n", true)
	req.Internal = true
	req.Options = map[string]string{optGatewayMode4: "isolated"}
	e.testNetwork(t, req)
	n := e.networkByName("n").def
	if got := n.resolver(true); got != plane.Resolver4 {
		t.Errorf("IPv4: %v", got)
	}
	if got := n.resolver(false); got != netip.MustParseAddr("fd50::1") {
		t.Errorf("IPv6: %v", got)
	}
	e.testRun(t, spec{name: "c", mode: "n"})
	p := w.plane("n")
	if p.spec.Gateway4.IsValid() || p.spec.Subnet4 != netip.MustParsePrefix("10.50.0.0/24") || p.spec.Rules.Mode4 != plane.ModeIsolated {
		t.Errorf("%+v", p.spec)
	}
	n.Options = map[string]string{optGatewayMode4: "isolated", optDNS: "false"}
	if got := n.resolver(true); got.IsValid() {
		t.Errorf("without names: %v", got)
	}
}
