package engine

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
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
