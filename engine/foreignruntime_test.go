package engine

import (
	"context"
	"os"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/foreign"
	"github.com/footbridge-net/footbridge/tap"
)

// A user namespace is a container's if one lives in it or has been attached out of it; not if
// its own runtime has passed what is attached.
func TestWhoseAUserNamespaceIs(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net"})
	w.places.add(77, tap.View{})
	w.places.add(78, tap.View{})
	w.mustAttach(e, "box", 77, "net")

	runtime := api.NamespaceID{Dev: 4, Ino: 79} // that owns the namespace of process 78
	req := api.NamespaceRequest{Name: "passed", PID: 78, From: runtime}
	req.HostConfig = &container.HostConfig{NetworkMode: "net"}
	var err error
	if req.Passed, err = os.Open(os.DevNull); err != nil {
		t.Fatal(err)
	}
	if _, err := e.NamespaceAttach(ctx, req); err != nil {
		t.Fatal(err)
	}
	if err := req.Passed.Close(); err == nil {
		t.Error("the descriptor is still open")
	}
	of := func(id api.NamespaceID) string {
		t.Helper()
		name, err := e.ContainerOfUserNS(ctx, id)
		if err != nil {
			t.Error(err)
		}
		return name
	}
	if name := of(api.NamespaceID{Dev: 4, Ino: 78}); name != "box" {
		t.Errorf("the owner of an attached namespace is %q's, want box's", name)
	}
	for what, id := range map[string]api.NamespaceID{"its runtime": runtime, "nobody": {Dev: 4, Ino: 5}} {
		if name := of(id); name != "" {
			t.Errorf("%s is taken for container %s", what, name)
		}
	}

	// A container of footbridge's own lives in the user namespace of its first process.
	id := e.testRun(t, spec{name: "web"})
	e.mu.Lock()
	c := e.containers[id]
	def := *c.def
	def.State.Pid = os.Getpid()
	c.def = &def
	e.mu.Unlock()
	dev, ino, err := foreign.Inode("/proc/self/ns/user")
	if err != nil {
		t.Fatal(err)
	}
	if name := of(api.NamespaceID{Dev: dev, Ino: ino}); name != "web" {
		t.Errorf("a container's user namespace is %q's, want web's", name)
	}

	for name, want := range map[string]api.NamespaceID{"passed": runtime, "box": {}, "web": {}} {
		got, id, err := e.NamespacePassedFrom(ctx, name)
		if err != nil || got != want || id != e.testInspect(t, name).ID {
			t.Errorf("%s, %s, was passed from %v (%v), want %v", name, id, got, err, want)
		}
	}
	if _, _, err := e.NamespacePassedFrom(ctx, "nobody"); !errdefs.IsNotFound(err) {
		t.Errorf("a container that is not there: %v", err)
	}
}
