package main

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// publisher is a daemon's engine that notes what is to be published.
type publisher struct {
	api.Backend
	asked []api.PublishRequest
}

func (p *publisher) Ping(context.Context) error { return nil }

func (p *publisher) ContainerPublish(_ context.Context, name string, req api.PublishRequest) (api.PublishResponse, error) {
	if name != "web" {
		return api.PublishResponse{}, api.Errorf(errdefs.ErrNotFound, "No such container: %s", name)
	}
	p.asked = append(p.asked, req)
	return api.PublishResponse{Ports: network.PortMap{
		network.MustParsePort("80/tcp"): {{HostIP: netip.MustParseAddr("::1"), HostPort: "8000"}},
	}, Warnings: []string{"it rains"}}, nil
}

func (p *publisher) ContainerUnpublish(_ context.Context, _ string, req api.PublishRequest) error {
	p.asked = append(p.asked, req)
	return nil
}

func TestPublishAndUnpublish(t *testing.T) {
	w := newWorld(t)
	p := &publisher{}
	w.serveBackend(t, p)
	w.expect(t, 0, "publish", "web", "127.0.0.1:8000:80", "53/udp")
	if out, said := w.out.String(), w.err.String(); out != "80/tcp -> [::1]:8000\n" || said != "WARNING: it rains\n" {
		t.Errorf("printed %q, said %q", out, said)
	}
	w.expect(t, 0, "container", "unpublish", "web", "80")
	if out := w.out.String(); out != "" {
		t.Errorf("printed %q", out)
	}
	tcp, udp := network.MustParsePort("80/tcp"), network.MustParsePort("53/udp")
	if len(p.asked) != 2 || len(p.asked[0].PortBindings) != 2 || p.asked[0].PortBindings[udp][0] != (network.PortBinding{}) ||
		p.asked[0].PortBindings[tcp][0] != (network.PortBinding{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: "8000"}) ||
		p.asked[1].PortBindings[tcp][0] != (network.PortBinding{}) {
		t.Errorf("asked for %+v", p.asked)
	}
	for _, bad := range []struct{ args, said string }{
		{"publish web", "requires at least 2 arguments"},
		{"unpublish web", "requires at least 2 arguments"},
		{"publish web 8000:80 x", "invalid containerPort: x"},
		{"unpublish web 8000:80 x", "invalid containerPort: x"},
		{"publish nobody 80", "No such container: nobody"},
	} {
		w.expect(t, 1, strings.Fields(bad.args)...)
		if said := w.err.String(); !strings.Contains(said, bad.said) {
			t.Errorf("%s: %q, want %q", bad.args, said, bad.said)
		}
	}
	if len(p.asked) != 2 {
		t.Errorf("a refused command asked for %+v", p.asked[2:])
	}
}

// ContainerInspect is of a container with one port for each protocol, both at 8000.
func (p *publisher) ContainerInspect(context.Context, string) (container.InspectResponse, error) {
	at := func(hosts ...string) (out []network.PortBinding) {
		for _, h := range hosts {
			out = append(out, network.PortBinding{HostIP: netip.MustParseAddr(h), HostPort: "8000"})
		}
		return out
	}
	return container.InspectResponse{NetworkSettings: &container.NetworkSettings{Ports: network.PortMap{
		network.MustParsePort("80/tcp"): at("0.0.0.0", "::"), network.MustParsePort("53/udp"): at("0.0.0.0"), network.MustParsePort("81/tcp"): nil,
	}}}, nil
}

func (*publisher) ContainerDetail(context.Context, string) (api.ContainerDetail, error) {
	return api.ContainerDetail{}, nil
}

func TestUnpublishWhatPortShows(t *testing.T) {
	w := newWorld(t)
	p := &publisher{}
	w.serveBackend(t, p)
	for _, tt := range []struct {
		words []string
		asked string
	}{
		{[]string{"80/tcp -> 0.0.0.0:8000"}, "80/tcp=0.0.0.0:8000"},
		{[]string{"80/tcp -> 0.0.0.0:8000", "80/tcp->[::]:8000"}, "80/tcp=0.0.0.0:8000 80/tcp=[::]:8000"},
		{[]string{"[::]:8000"}, "80/tcp=[::]:8000"},
		{[]string{"0.0.0.0:8000"}, "53/udp=0.0.0.0:8000 80/tcp=0.0.0.0:8000"}, // both are shown there
		{[]string{"[::]:8000", "25"}, "25/tcp=: 80/tcp=[::]:8000"},
		{[]string{"0.0.0.0:8000:80"}, "80/tcp=0.0.0.0:8000"},
	} {
		p.asked = nil
		w.expect(t, 0, append([]string{"unpublish", "web"}, tt.words...)...)
		var got []string
		for port, bindings := range p.asked[0].PortBindings {
			for _, b := range bindings {
				host := ""
				if b.HostIP.IsValid() {
					host = hostAddress(b)
				}
				got = append(got, port.String()+"="+cmp.Or(host, ":"))
			}
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); s != tt.asked {
			t.Errorf("%q: asked for %s, want %s", tt.words, s, tt.asked)
		}
	}
	p.asked = nil
	for word, said := range map[string]string{
		"0.0.0.0:8001":           "no public port at 0.0.0.0:8001 published for web",
		"81/tcp -> 0.0.0.0:8000": "no public port at 0.0.0.0:8000 published for web",
		"53/udp -> [::]:8000":    "no public port at [::]:8000 published for web",
		"80/tcp -> nowhere":      "is no line of `footbridge port`",
		"-> 0.0.0.0:8000":        "unknown",
		"80/tcp -> ":             "is no line of `footbridge port`",
		"0.0.0.0:8000->80/tcp":   "is no line of `footbridge port`",
	} {
		if w.run(t, "unpublish", "web", word) == 0 || said != "unknown" && !strings.Contains(w.err.String(), said) {
			t.Errorf("%q: %q, want %q", word, w.err.String(), said)
		}
	}
	if len(p.asked) != 0 {
		t.Errorf("a refused command asked for %+v", p.asked)
	}
}

func TestPublishAtALinkLocalAddress(t *testing.T) {
	for spec, want := range map[string]string{
		"[fe80::1%eth0]:8000:80":                            "fe80::1%eth0",
		"fe80::1%eth0:8000:80":                              "fe80::1%eth0",
		"target=80,published=8000,host_ip=fe80::1%enp1s0.7": "fe80::1%enp1s0.7",
	} {
		_, bindings, err := parsePublish([]string{spec}, nil)
		if err != nil || bindings[network.MustParsePort("80/tcp")][0] != (network.PortBinding{HostIP: netip.MustParseAddr(want), HostPort: "8000"}) {
			t.Errorf("%s: %v, %v", spec, bindings, err)
		}
	}
	for _, spec := range []string{"[fe80::1%]:8000:80", "[fe80::1%eth0", "0.0.0.0%eth0:8000:80", "%eth0:8000:80", "8000%eth0:80", "8000:80%eth0"} {
		if _, bindings, err := parsePublish([]string{spec}, nil); err == nil {
			t.Errorf("%s is no error: %v", spec, bindings)
		}
	}
}
