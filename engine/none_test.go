package engine

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
)

func disconnectFrom(e *Engine, nw, name string) error {
	return e.NetworkDisconnect(context.Background(), nw, network.DisconnectRequest{Container: name})
}

// A container of --network none and one of another network change places, and what was
// decided is there after a restart of the daemon and of the containers.
func TestTheNetworkNoneIsLeftAndJoined(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net", IPAM: subnet("10.5.0.0/24")})
	e.testRun(t, spec{name: "alone", mode: "none"})
	e.testRun(t, spec{name: "other", mode: "net"})
	on := func(name string, want ...string) {
		t.Helper()
		got := slices.Sorted(maps.Keys(e.testInspect(t, name).NetworkSettings.Networks))
		if !slices.Equal(got, want) {
			t.Errorf("%s is on %q, should be on %q", name, got, want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func(err error, text string) {
		t.Helper()
		if !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q", err, text)
		}
	}
	refused(disconnectFrom(e, "none", "other"), "container other is not connected to network none")
	refused(connectTo(e, "none", "alone", nil), "endpoint with name alone already exists in network none")
	on("alone", "none")
	must(disconnectFrom(e, "none", "alone"))
	refused(disconnectFrom(e, "none", "alone"), "container alone is not connected to network none")
	on("alone")
	e = w.restart(e)
	on("alone")
	must(connectTo(e, "net", "alone", nil))
	refused(connectTo(e, "none", "alone", nil), "multiple networks with one of the networks in private (none) mode")
	must(disconnectFrom(e, "net", "other"))
	must(connectTo(e, "none", "other", nil))
	refused(connectTo(e, "net", "other", nil), "multiple networks with one of the networks in private (none) mode")
	if text := w.file(e, "alone", fileHosts); !strings.Contains(text, "10.5.0.3\t") {
		t.Errorf("its hosts file does not follow: %s", text)
	}
	e = w.restart(e)
	on("alone", "net")
	on("other", "none")
	if links := w.links(); len(links) != 1 || !links["net: alone eth0"].Default4 {
		t.Errorf("links %v", links)
	}
	for _, name := range []string{"alone", "other"} {
		e.testStop(t, name)
	}
	refused(connectTo(e, "none", "other", nil), "endpoint with name other already exists in network none")
	for _, name := range []string{"alone", "other"} {
		must(e.ContainerStart(context.Background(), name))
	}
	on("alone", "net")
	on("other", "none")
	w.checkConsistent(e, "at the end")
}
