package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// portMap makes a map of "80/tcp" -> "8000".
func portMap(ports map[string]string) network.PortMap {
	out := network.PortMap{}
	for p, host := range ports {
		out[network.MustParsePort(p)] = []network.PortBinding{{HostPort: host}}
	}
	return out
}

func (e *Engine) testPublish(name string, ports map[string]string) (api.PublishResponse, error) {
	return e.ContainerPublish(context.Background(), name, api.PublishRequest{PortBindings: portMap(ports)})
}

func (e *Engine) testUnpublish(name string, ports map[string]string) error {
	return e.ContainerUnpublish(context.Background(), name, api.PublishRequest{PortBindings: portMap(ports)})
}

// published is what inspect shows as bound, without the addresses.
func (e *Engine) published(t *testing.T, name string) string {
	t.Helper()
	var out []string
	for p, bs := range e.testInspect(t, name).NetworkSettings.Ports {
		for _, b := range bs {
			out = append(out, fmt.Sprintf("%v:%s", b.HostPort, p))
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

// boundPorts are all of the host's.
func (w *world) boundPorts() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.bound))
}

func TestPublishWhileItRuns(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testRun(t, spec{name: "c", ports: map[string]string{"80/tcp": "8000"}})
	earlier := e.snapshot(e.allContainers()[0])
	res, err := e.testPublish("c", map[string]string{"81/tcp": "8001-8005", "53/udp": ""})
	if err != nil {
		t.Fatal(err)
	}
	udp := res.Ports[network.MustParsePort("53/udp")]
	if len(res.Ports) != 2 || len(udp) == 0 || udp[0].HostPort != "32768" || len(res.Warnings) > 0 {
		t.Errorf("answer %+v", res)
	}
	const all = "32768:53/udp 8000:80/tcp 8001:81/tcp"
	if got := e.published(t, "c"); got != all {
		t.Errorf("published %s", got)
	}
	if n := len(earlier.HostConfig.PortBindings); n != 1 {
		t.Errorf("a snapshot of before has %d ports now", n)
	}
	// The same again is the same, and is told again.
	again, err := e.testPublish("c", map[string]string{"53/udp": "0"})
	if err != nil || len(again.Ports) != 1 || again.Ports[network.MustParsePort("53/udp")][0] != udp[0] {
		t.Errorf("again: %+v, %v", again, err)
	}
	if got := e.published(t, "c"); got != all {
		t.Errorf("published %s after the same again", got)
	}
	// It is kept by the next daemon, random ports and all.
	before := w.boundPorts()
	e = w.restart(e)
	if got := e.published(t, "c"); got != all || !slices.Equal(w.boundPorts(), before) {
		t.Errorf("published %s after a restart: %v, were %v", got, w.boundPorts(), before)
	}
	if err := e.testUnpublish("c", map[string]string{"81/tcp": "8001", "53/udp": ""}); err != nil {
		t.Fatal(err)
	}
	if got := e.published(t, "c"); got != "8000:80/tcp" || slices.ContainsFunc(w.boundPorts(), func(p string) bool { return !strings.HasSuffix(p, ":8000") }) {
		t.Errorf("left is %s: %v", got, w.boundPorts())
	}
	if b := e.testInspect(t, "c").HostConfig.PortBindings; len(b) != 1 {
		t.Errorf("asked for is %v", b)
	}
	e = w.restart(e)
	if got := e.published(t, "c"); got != "8000:80/tcp" {
		t.Errorf("left is %s after a restart", got)
	}
	if err := e.testUnpublish("c", map[string]string{"80/tcp": ""}); err != nil || len(w.boundPorts()) > 0 {
		t.Errorf("left are %v, %v", w.boundPorts(), err)
	}
}

func TestPublishIsAllOrNothing(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testRun(t, spec{name: "c", ports: map[string]string{"80/tcp": "8000"}})
	e.testRun(t, spec{name: "other", ports: map[string]string{"80/tcp": "9000"}})
	asked, bound := asJSON(t, e.testInspect(t, "c").HostConfig), w.boundPorts()
	for _, tt := range []struct {
		ports map[string]string
		class func(error) bool
		text  string
	}{
		{map[string]string{"81/tcp": "8001", "82/tcp": "9000"}, errdefs.IsPermissionDenied, "port is already allocated"},
		{map[string]string{"81/tcp": "8001", "82/tcp": "8000"}, errdefs.IsPermissionDenied, "port is already allocated"},
		{map[string]string{"81/tcp": "8001", "82/sctp": "8002"}, errdefs.IsInvalidArgument, "SCTP"},
		{map[string]string{"81/tcp": "8001", "82/tcp": "x"}, errdefs.IsInvalidArgument, `host port "x"`},
	} {
		if _, err := e.testPublish("c", tt.ports); !tt.class(err) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("publish %v: %v", tt.ports, err)
		}
	}
	for _, tt := range []struct {
		ports map[string]string
		class func(error) bool
		text  string
	}{
		{map[string]string{"80/tcp": "8000", "81/tcp": ""}, errdefs.IsNotFound, "no public port '81/tcp' published: container c"},
		{map[string]string{"80/tcp": "8001"}, errdefs.IsNotFound, "at host port 8001"},
		{map[string]string{"80/tcp": "x"}, errdefs.IsInvalidArgument, `host port "x"`},
	} {
		if err := e.testUnpublish("c", tt.ports); !tt.class(err) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("unpublish %v: %v", tt.ports, err)
		}
	}
	if now := asJSON(t, e.testInspect(t, "c").HostConfig); now != asked || !slices.Equal(w.boundPorts(), bound) {
		t.Errorf("after refusals: %v and %s, were %v and %s", w.boundPorts(), now, bound, asked)
	}
	for mode, text := range map[string]string{"host": "its ports are the host's", "none": "the network mode none", "container:c": "the network mode container:"} {
		e.testRun(t, spec{name: "modes", mode: mode})
		if _, err := e.testPublish("modes", map[string]string{"80/tcp": ""}); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), text) {
			t.Errorf("publish in mode %s: %v", mode, err)
		}
		if err := e.ContainerRemove(context.Background(), "modes", api.RemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.testPublish("nobody", map[string]string{"80/tcp": ""}); !errdefs.IsNotFound(err) {
		t.Errorf("publish of nobody: %v", err)
	}
}

// Each family has its own way in, and comes back over another when that goes; what
// goes over the other stays open.
func TestPortsLeadOverTheNetworksOfTheirFamilies(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "four"})
	e.testNetwork(t, network.CreateRequest{Name: "six", EnableIPv4: ptr(false), EnableIPv6: ptr(true)})
	e.testNetwork(t, network.CreateRequest{Name: "inside", Internal: true})
	e.testRun(t, spec{name: "c", mode: "inside", ports: map[string]string{"80/tcp": ""}})
	c, err := e.container("c")
	if err != nil {
		t.Fatal(err)
	}
	ways := func() string {
		c.op.Lock()
		defer c.op.Unlock()
		var out []string
		for _, pub := range c.run.ports {
			for _, o := range pub.open {
				out = append(out, fmt.Sprintf("%v over %s is4=%v", o.Addr().Addr(), o.leads.over.n.def.Name, o.leads.target.Addr().Is4()))
			}
		}
		slices.Sort(out)
		return strings.Join(out, ", ")
	}
	ctx := context.Background()
	step := func(what string, err error, want string) {
		t.Helper()
		if got := ways(); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", what, got, err, want)
		}
	}
	step("inside", nil, "")
	res, err := e.testPublish("c", map[string]string{"81/udp": ""})
	if err != nil || len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "no network that leads outside") {
		t.Errorf("publish on an internal network: %+v, %v", res, err)
	}
	if err := e.testUnpublish("c", map[string]string{"81/udp": ""}); err != nil {
		t.Error(err)
	}
	step("four", connectTo(e, "four", "c", nil), "0.0.0.0 over four is4=true, :: over four is4=true")
	port := e.published(t, "c")
	step("six", connectTo(e, "six", "c", nil), "0.0.0.0 over four is4=true, :: over six is4=false")
	if got := e.published(t, "c"); got != port {
		t.Errorf("published %s, was %s", got, port)
	}
	leave := func(n string) error {
		return e.NetworkDisconnect(ctx, n, network.DisconnectRequest{Container: "c"})
	}
	step("without four", leave("four"), "0.0.0.0 over six is4=false, :: over six is4=false")
	if got := e.published(t, "c"); got != port {
		t.Errorf("published %s, was %s", got, port)
	}
	step("without six", leave("six"), "")
	if bound := w.boundPorts(); len(bound) > 0 {
		t.Errorf("bound is %v", bound)
	}
	step("four again", connectTo(e, "four", "c", nil), "0.0.0.0 over four is4=true, :: over four is4=true")
	w.checkConsistent(e, "at the end")
}

// One port that somebody has taken while the daemon was away does not keep the others
// from being opened again.
func TestPortsThatCanBeHadAreOpenedAgain(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testRun(t, spec{name: "c", ports: map[string]string{"80/tcp": "8000", "81/tcp": "8001", "82/tcp": ""}})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	clear(w.bound)
	clear(w.planes)
	w.bound["tcp 0.0.0.0:8000"] = "somebody"
	w.mu.Unlock()
	e = w.engine()
	if got := e.published(t, "c"); got != "32768:82/tcp 8001:81/tcp" {
		t.Errorf("published %s", got)
	}
	if text := e.testInspect(t, "c").State.Error; !strings.Contains(text, "port is already allocated") {
		t.Errorf("its flaw: %q", text)
	}
	if _, err := e.testPublish("c", map[string]string{"83/tcp": ""}); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "lacks something") {
		t.Errorf("publish meanwhile: %v", err)
	}
	// To give it up mends the container.
	if err := e.testUnpublish("c", map[string]string{"80/tcp": "8000"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a container without flaws", func() bool { return e.testInspect(t, "c").State.Error == "" })
	if _, err := e.testPublish("c", map[string]string{"83/tcp": ""}); err != nil {
		t.Error(err)
	}
	w.restart(e)
}
