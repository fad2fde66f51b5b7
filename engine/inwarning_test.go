package engine

import (
	"context"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// Whoever publishes what nobody reaches is told so.
func TestPublishingInVainIsToldOf(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "inside", Internal: true})
	e.testNetwork(t, network.CreateRequest{Name: "outside"})
	create := func(name, mode string, ports map[string]string, nets ...string) []string {
		t.Helper()
		req := container.CreateRequest{
			Config:           &container.Config{Cmd: []string{"true"}},
			HostConfig:       &container.HostConfig{NetworkMode: container.NetworkMode(mode), PortBindings: network.PortMap{}},
			NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{}},
		}
		for p, h := range ports {
			req.HostConfig.PortBindings[network.MustParsePort(p)] = []network.PortBinding{{HostPort: h}}
		}
		for _, n := range nets {
			req.NetworkingConfig.EndpointsConfig[n] = &network.EndpointSettings{}
		}
		r, err := e.ContainerCreate(context.Background(), name, req)
		if err != nil {
			t.Fatal(err)
		}
		return r.Warnings
	}
	web := map[string]string{"80/tcp": "8000"}
	if ws := create("in", "inside", web); len(ws) != 1 || !strings.Contains(ws[0], "container in is on no network that leads outside") {
		t.Errorf("on an internal network: %q", ws)
	}
	for what, ws := range map[string][]string{
		"nothing published":   create("a", "inside", nil),
		"a network leads out": create("b", "inside", web, "inside", "outside"),
		"the default network": create("c", "", web),
	} {
		if len(ws) > 0 {
			t.Errorf("%s: %q", what, ws)
		}
	}
	// Of one that does not run, nothing is published now.
	r, err := e.testPublish("a", map[string]string{"81/tcp": "8001"})
	if err != nil || len(r.Ports) > 0 || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "published from its next start on") {
		t.Errorf("publish: %+v, %v", r, err)
	}
	if _, err := e.testPublish("a", map[string]string{"82/tcp": "8002", "83/tcp": "8002"}); err == nil || strings.Contains(err.Error(), "container \"a\"") || !strings.Contains(err.Error(), "asked for twice") {
		t.Errorf("a conflict of its own: %v", err)
	}
}
