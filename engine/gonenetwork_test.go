package engine

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/engine/ipam"
)

// onGone makes a stopped container on network s, which is asked for as term says, and removes s.
func onGone(t *testing.T, e *Engine, term func(id string) string) (id string) {
	t.Helper()
	id = e.testNetwork(t, network.CreateRequest{Name: "s"})
	if _, err := e.testCreate(spec{name: "c", mode: term(id)}); err != nil {
		t.Fatal(err)
	}
	if err := e.NetworkRemove(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	return id
}

func byName(string) string { return "s" }

func byID(id string) string { return id }

func TestANetworkThatIsGoneCanBeLeft(t *testing.T) {
	for what, term := range map[string]func(id string) string{
		"by name": byName, "by id": byID, "by a short id": func(id string) string { return short(id) },
	} {
		e := newWorld(t).engine()
		id := onGone(t, e, byName)
		if e.testInspect(t, "c").NetworkSettings.Networks["s"] == nil {
			t.Errorf("%s: it has lost its name", what)
		}
		err := e.ContainerStart(t.Context(), "c")
		for _, text := range []string{"network s not found", "`footbridge network disconnect s c`", "`footbridge network connect NETWORK c`"} {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: start says %v, not %q", what, err, text)
			}
		}
		if err := e.NetworkDisconnect(t.Context(), term(id), network.DisconnectRequest{Container: "c"}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := e.NetworkDisconnect(t.Context(), term(id), network.DisconnectRequest{Container: "c"}); !errdefs.IsNotFound(err) {
			t.Errorf("%s: twice: %v", what, err)
		}
		if err := connectTo(e, "bridge", "c", nil); err != nil {
			t.Fatal(err)
		}
		if err := e.ContainerStart(t.Context(), "c"); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestANewNetworkOfTheNameServes(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	onGone(t, e, byName)
	id := e.testNetwork(t, network.CreateRequest{Name: "s"})
	if err := connectTo(e, "s", "c", nil); !errdefs.IsPermissionDenied(err) {
		t.Errorf("connected to what it is on: %v", err)
	}
	if err := e.ContainerStart(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	if s := e.testInspect(t, "c").NetworkSettings.Networks["s"]; s == nil || s.NetworkID != id || !s.IPAddress.IsValid() {
		t.Errorf("on s: %+v", s)
	}
	e.testStop(t, "c")
	w.checkClean(e)
}

// Whoever asks for an id means that network and no other.
func TestANewNetworkOfTheNameDoesNotStandForAnID(t *testing.T) {
	e := newWorld(t).engine()
	id := onGone(t, e, byID)
	e.testNetwork(t, network.CreateRequest{Name: "s"})
	if err := connectTo(e, "s", "c", nil); err != nil {
		t.Fatal(err)
	}
	if all := e.testInspect(t, "c").NetworkSettings.Networks; len(all) != 2 || all[short(id)] == nil {
		t.Errorf("networks %v", all)
	}
	if err := e.ContainerStart(t.Context(), "c"); err == nil || !strings.Contains(err.Error(), "disconnect "+short(id)+" c") {
		t.Errorf("start: %v", err)
	}
}

// Neither of two networks of one name hides the other.
func TestTwoGoneNetworksOfOneNameAreBothTold(t *testing.T) {
	e := newWorld(t).engine()
	first := onGone(t, e, byID)
	second := e.testNetwork(t, network.CreateRequest{Name: "s"})
	if err := connectTo(e, "s", "c", nil); err != nil {
		t.Fatal(err)
	}
	if err := e.NetworkRemove(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{first, second} {
		name := short(id)
		if n := e.testInspect(t, "c").NetworkSettings.Networks[name]; n == nil || n.NetworkID != id {
			t.Errorf("on %s: %+v", name, n)
		}
	}
	if err := e.NetworkDisconnect(t.Context(), short(first), network.DisconnectRequest{Container: "c"}); err != nil {
		t.Fatal(err)
	}
	if all := e.testInspect(t, "c").NetworkSettings.Networks; len(all) != 1 || all["s"] == nil || all["s"].NetworkID != second {
		t.Errorf("alone it has its name again: %v", all)
	}
}

// The name of a network that is gone means another one now, on which the container is not.
func TestAGoneNetworkIsNotTakenForAnotherOfItsName(t *testing.T) {
	e := newWorld(t).engine()
	id := onGone(t, e, byID)
	e.testNetwork(t, network.CreateRequest{Name: "s"})
	if all := e.testInspect(t, "c").NetworkSettings.Networks; len(all) != 1 || all[short(id)] == nil {
		t.Errorf("networks %v", all)
	}
	if err := e.NetworkDisconnect(t.Context(), "s", network.DisconnectRequest{Container: "c"}); err != nil {
		t.Error(err)
	}
	if all := e.testInspect(t, "c").NetworkSettings.Networks; len(all) != 0 {
		t.Errorf("left with %v", all)
	}
}

// A version that did not keep the names of networks has made the container.
func TestPlacesLearnTheNamesOfTheirNetworks(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "s"})
	if _, err := e.testCreate(spec{name: "c", mode: "s"}); err != nil {
		t.Fatal(err)
	}
	c, err := e.container("c")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.decide(c, func(d *ContainerDef) { d.Attachments[0].Network = "" }); err != nil {
		t.Fatal(err)
	}
	e = w.restart(e)
	if err := e.NetworkRemove(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	e = w.restart(e) // after which only the disk can have it
	if e.testInspect(t, "c").NetworkSettings.Networks["s"] == nil {
		t.Error("it has no name")
	}
	id := e.testNetwork(t, network.CreateRequest{Name: "s"})
	if err := e.ContainerStart(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	if s := e.testInspect(t, "c").NetworkSettings.Networks["s"]; s == nil || s.NetworkID != id {
		t.Errorf("on s: %+v", s)
	}
	e.testStop(t, "c")
}

// An address that a container may not ask for on the new network is not taken over onto it.
func TestANewNetworkOfTheNameServesWithTheAddressOrNot(t *testing.T) {
	const want = "10.44.0.9"
	for what, test := range map[string]struct {
		now    network.CreateRequest
		refuse error
		says   string
	}{
		"the same subnet": {now: network.CreateRequest{Name: "s", IPAM: subnet("10.44.0.0/24")}},
		"another subnet":  {now: network.CreateRequest{Name: "s", IPAM: subnet("10.45.0.0/24")}, says: "no configured subnet contains IP address " + want},
		"any subnet":      {now: network.CreateRequest{Name: "s"}, refuse: errStaticAuto, says: "make network s with --subnet"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.config.Pools = []ipam.Base{{Prefix: pfx("10.43.0.0/16"), Bits: 16}, {Prefix: pfx("10.44.0.0/16"), Bits: 16}}
			e := w.engine()
			old := e.testNetwork(t, network.CreateRequest{Name: "s", IPAM: subnet("10.44.0.0/24")})
			address := &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr(want)}}
			if _, err := e.testCreate(spec{name: "c", mode: "s", nets: map[string]*network.EndpointSettings{"s": address}}); err != nil {
				t.Fatal(err)
			}
			if err := e.NetworkRemove(t.Context(), "s"); err != nil {
				t.Fatal(err)
			}
			e.testNetwork(t, test.now)
			err := e.ContainerStart(t.Context(), "c")
			if test.says == "" {
				if s := e.testInspect(t, "c").NetworkSettings.Networks["s"]; err != nil || s == nil || s.IPAddress.String() != want {
					t.Fatalf("start: %v; on s: %+v", err, s)
				}
				e.testStop(t, "c")
				return
			}
			if !errdefs.IsNotFound(err) || test.refuse != nil && !errors.Is(err, test.refuse) {
				t.Fatalf("start: %v", err)
			}
			for _, text := range []string{test.says, "the one that is called s now does not serve it", "`footbridge network disconnect " + short(old) + " c`"} {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("start says %v, not %q", err, text)
				}
			}
			// It is still there to be left, and the new one to be connected to.
			if err := connectTo(e, "s", "c", nil); err != nil {
				t.Fatal(err)
			}
			if err := e.NetworkDisconnect(t.Context(), short(old), network.DisconnectRequest{Container: "c"}); err != nil {
				t.Fatal(err)
			}
			if err := e.ContainerStart(t.Context(), "c"); err != nil {
				t.Fatal(err)
			}
			e.testStop(t, "c")
		})
	}
}

// A name may look like the beginning of another network's id.
func TestTheNameOfAGoneNetworkIsNoBeginningOfAnID(t *testing.T) {
	e := newWorld(t).engine()
	other := e.testNetwork(t, network.CreateRequest{Name: "other"})
	name := other[:8]
	e.testNetwork(t, network.CreateRequest{Name: name})
	if _, err := e.testCreate(spec{name: "c", mode: name, nets: map[string]*network.EndpointSettings{"other": nil}}); err != nil {
		t.Fatal(err)
	}
	if err := e.NetworkRemove(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	leave := func() error {
		return e.NetworkDisconnect(t.Context(), name, network.DisconnectRequest{Container: "c"})
	}
	if err := leave(); err != nil {
		t.Fatal(err)
	}
	if all := e.testInspect(t, "c").NetworkSettings.Networks; len(all) != 1 || all["other"] == nil {
		t.Errorf("left with %v", all)
	}
	// With none of the name it is an id's beginning.
	if err := leave(); err != nil {
		t.Error(err)
	}
	if all := e.testInspect(t, "c").NetworkSettings.Networks; len(all) != 0 {
		t.Errorf("left with %v", all)
	}
}
