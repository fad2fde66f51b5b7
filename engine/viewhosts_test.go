package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// The name server knows what the container's hosts file says, so that nobody else is
// asked for the family that the file does not have.
func TestTheViewHasTheHostsFilesNames(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net", IPAM: subnet("10.5.0.0/24")})
	var many []string
	for i := range 5000 {
		many = append(many, fmt.Sprintf("host%d:192.0.2.1", i))
	}
	for what, tt := range map[string]struct {
		extra []string
		want  []string // the first ones
	}{
		"none":                      {nil, []string{"box [10.5.0.2]"}},
		"several":                   {[]string{"DB.:192.0.2.7", "db:2001:db8::7", "db:192.0.2.7", "gw:host-gateway"}, []string{"db [192.0.2.7 2001:db8::7]", "gw [10.5.0.1]", "box [10.5.0.2]"}},
		"words that are no names":   {[]string{"<<&>>:192.0.2.1", "é:192.0.2.1"}, []string{"box [10.5.0.2]"}},
		"more than a message holds": {many, []string{"host0 [192.0.2.1]"}},
	} {
		t.Run(what, func(t *testing.T) {
			e.testRun(t, spec{name: "c", mode: "net", cfg: func(c *container.Config) { c.Hostname = "box" }, host: func(h *container.HostConfig) { h.ExtraHosts = tt.extra }})
			defer func() {
				if err := e.ContainerRemove(t.Context(), "c", api.RemoveOptions{Force: true}); err != nil {
					t.Error(err)
				}
			}()
			v := w.plane("net").views[netip.MustParseAddr("10.5.0.2")]
			var got []string
			for _, h := range v.Hosts {
				got = append(got, fmt.Sprint(h.Name, " ", h.Addresses))
			}
			if len(got) < len(tt.want) || !slices.Equal(got[:len(tt.want)], tt.want) || len(got) > 400 {
				t.Errorf("%d names: %q, want %q", len(got), got[:min(len(got), 5)], tt.want)
			}
		})
	}
}
