package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/network"
)

// A default route that cannot be set costs nobody a network: neither the one it was to
// go over, nor the one that is connected.
func TestARouteThatCannotBeSetCostsNoNetwork(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "alpha"})
	e.testNetwork(t, network.CreateRequest{Name: "zeta"})
	e.testRun(t, spec{name: "c", mode: "zeta", ports: map[string]string{"80/tcp": "8000"}})
	w.failAt("reroute eth0", errInjected)
	if err := connectTo(e, "alpha", "c", nil); err != nil {
		t.Fatal(err)
	}
	links := w.links()
	if len(links) != 2 || !links["alpha: c eth1"].Default4 {
		t.Errorf("links %v", links)
	}
	if ws := e.flawWarnings(); len(ws) != 1 || !strings.Contains(ws[0].Text, "default routes over network zeta could not be set") {
		t.Errorf("warnings %v", ws)
	}
	// What is missing is no reason to publish nothing.
	if _, err := e.testPublish("c", map[string]string{"81/tcp": "8001"}); err != nil {
		t.Error(err)
	}
	w.failAt("reroute eth0", nil)
	eventually(t, "the route is taken back", func() bool { return len(e.flawWarnings()) == 0 && !w.links()["zeta: c eth0"].Default4 })
	w.failAt("reroute eth0", errInjected)
	if err := e.NetworkDisconnect(t.Context(), "alpha", network.DisconnectRequest{Container: "c"}); err != nil {
		t.Fatal(err)
	}
	if got := e.published(t, "c"); got != "8000:80/tcp 8001:81/tcp" {
		t.Errorf("published %s", got)
	}
	if links := w.links(); len(links) != 1 || links["zeta: c eth0"].Container != "c" {
		t.Errorf("after disconnect: links %v", links)
	}
	w.failAt("reroute eth0", nil)
	eventually(t, "the route is set", func() bool { return len(e.flawWarnings()) == 0 && w.links()["zeta: c eth0"].Default4 })
	e.testStop(t, "c")
	w.checkClean(e)
}

// The route of the network that is connected is what the call is about: without it the
// container is as it was.
func TestConnectWithoutItsRouteIsRolledBack(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "alpha"})
	e.testRun(t, spec{name: "c", ports: map[string]string{"80/tcp": "8000"}})
	w.failAt("reroute eth1", errInjected)
	if err := connectTo(e, "alpha", "c", &network.EndpointSettings{GwPriority: 1}); err == nil {
		t.Error("no error")
	}
	if links := w.links(); len(links) != 1 || !links["bridge: c eth0"].Default4 {
		t.Errorf("links %v", links)
	}
	if !slices.Contains(w.planeUnplugged, "eth1") {
		t.Errorf("unplugged %v", w.planeUnplugged)
	}
	w.checkConsistent(e, "rolled back")
}

// A network that is just not connected, as after a restart, can be left, too: its
// interface goes.
func TestDisconnectRemovesTheInterfaceOfAFlaw(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "alpha"})
	e.testNetwork(t, network.CreateRequest{Name: "zeta"})
	e.testRun(t, spec{name: "c", mode: "zeta"})
	if err := connectTo(e, "alpha", "c", nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	w.failAt("attach eth1", errInjected)
	e = w.engine()
	eventually(t, "the flaw is known", func() bool { return len(e.flawWarnings()) > 0 })
	if err := e.NetworkDisconnect(t.Context(), "alpha", network.DisconnectRequest{Container: "c"}); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(w.planeUnplugged, "eth1") {
		t.Errorf("unplugged %v", w.planeUnplugged)
	}
	if links := w.links(); len(links) != 1 || !links["zeta: c eth0"].Default4 {
		t.Errorf("links %v", links)
	}
	eventually(t, "nothing lacks", func() bool { return len(e.flawWarnings()) == 0 })
	e.testStop(t, "c")
	w.checkClean(e)
}
