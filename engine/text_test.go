package engine

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// What would be a command of a terminal, a line, or no text at all.
var hostileTexts = map[string]string{
	"a line":                 "a\nb",
	"a return":               "a\rb",
	"an escape":              "a\x1b[2Jb",
	"a one-byte escape":      "a\u009b2Jb",
	"a bell":                 "a\ab",
	"a delete":               "a\x7fb",
	"a zero":                 "a\x00b",
	"text that runs left":    "a\u202eb",
	"bytes that are no text": "a\xffb",
}

// Hostile texts are refused wherever they enter, and no refusal repeats them.
func TestHostileTextsAreRefused(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	e.testNetwork(t, network.CreateRequest{Name: "net", IPAM: subnet("10.7.0.0/24")})
	if _, err := e.testCreate(spec{name: "named", mode: "net"}); err != nil {
		t.Fatal(err)
	}
	make := func(s spec) error {
		s.mode = "net"
		_, err := e.testCreate(s)
		return err
	}
	cfg := func(f func(*container.Config)) error { return make(spec{cfg: f}) }
	host := func(f func(*container.HostConfig)) error { return make(spec{host: f}) }
	endpoint := func(s *network.EndpointSettings) error {
		return make(spec{nets: map[string]*network.EndpointSettings{"net": s}})
	}
	netw := func(req network.CreateRequest) error {
		if req.Name == "" {
			req.Name = "other"
		}
		_, err := e.NetworkCreate(ctx, req)
		return err
	}
	for place, enter := range map[string]func(string) error{
		"name":        func(x string) error { return make(spec{name: x}) },
		"rename":      func(x string) error { return e.ContainerRename(ctx, "named", x) },
		"image":       func(x string) error { return cfg(func(c *container.Config) { c.Image = x }) },
		"hostname":    func(x string) error { return cfg(func(c *container.Config) { c.Hostname = x }) },
		"domain name": func(x string) error { return cfg(func(c *container.Config) { c.Domainname = x }) },
		"user":        func(x string) error { return cfg(func(c *container.Config) { c.User = x }) },
		"folder":      func(x string) error { return cfg(func(c *container.Config) { c.WorkingDir = "/" + x }) },
		"no folder":   func(x string) error { return cfg(func(c *container.Config) { c.WorkingDir = x }) },
		"label":       func(x string) error { return cfg(func(c *container.Config) { c.Labels = map[string]string{x: "v"} }) },
		"stop signal": func(x string) error { return cfg(func(c *container.Config) { c.StopSignal = x }) },
		"annotation": func(x string) error {
			return host(func(h *container.HostConfig) { h.Annotations = map[string]string{x: "v"} })
		},
		"mode": func(x string) error {
			return host(func(h *container.HostConfig) { h.NetworkMode = container.NetworkMode(x) })
		},
		"path": func(x string) error {
			return host(func(h *container.HostConfig) { h.NetworkMode = container.NetworkMode("ns:/" + x) })
		},
		"other": func(x string) error {
			return host(func(h *container.HostConfig) { h.NetworkMode = container.NetworkMode("container:" + x) })
		},
		"search":     func(x string) error { return host(func(h *container.HostConfig) { h.DNSSearch = []string{x} }) },
		"DNS option": func(x string) error { return host(func(h *container.HostConfig) { h.DNSOptions = []string{x} }) },
		"host": func(x string) error {
			return host(func(h *container.HostConfig) { h.ExtraHosts = []string{x + ":1.2.3.4"} })
		},
		"host address": func(x string) error { return host(func(h *container.HostConfig) { h.ExtraHosts = []string{"x:" + x} }) },
		"sysctl": func(x string) error {
			return host(func(h *container.HostConfig) { h.Sysctls = map[string]string{"net." + x: "1"} })
		},
		"user mode": func(x string) error {
			return host(func(h *container.HostConfig) { h.UsernsMode = container.UsernsMode(x) })
		},
		"security": func(x string) error { return host(func(h *container.HostConfig) { h.SecurityOpt = []string{x} }) },
		"restart": func(x string) error {
			return host(func(h *container.HostConfig) { h.RestartPolicy.Name = container.RestartPolicyMode(x) })
		},
		"port": func(x string) error {
			return host(func(h *container.HostConfig) {
				h.PortBindings[network.MustParsePort("80/tcp")] = []network.PortBinding{{HostPort: x}}
			})
		},
		"alias": func(x string) error { return endpoint(&network.EndpointSettings{Aliases: []string{x}}) },
		"interface": func(x string) error {
			return endpoint(&network.EndpointSettings{DriverOpts: map[string]string{optIfname: x}})
		},
		"driver option": func(x string) error {
			return endpoint(&network.EndpointSettings{DriverOpts: map[string]string{x: "v"}})
		},
		"more addresses": func(x string) error {
			return endpoint(&network.EndpointSettings{DriverOpts: map[string]string{optAddresses: x}})
		},
		"limit": func(x string) error {
			return endpoint(&network.EndpointSettings{DriverOpts: map[string]string{limitPrefix + "tcp": x}})
		},
		"other network":  func(x string) error { return make(spec{nets: map[string]*network.EndpointSettings{x: nil}}) },
		"network":        func(x string) error { return netw(network.CreateRequest{Name: x}) },
		"network label":  func(x string) error { return netw(network.CreateRequest{Labels: map[string]string{x: "v"}}) },
		"network driver": func(x string) error { return netw(network.CreateRequest{Driver: x}) },
		"network scope":  func(x string) error { return netw(network.CreateRequest{Scope: x}) },
		"option":         func(x string) error { return netw(network.CreateRequest{Options: map[string]string{x: "v"}}) },
		"option's value": func(x string) error { return netw(network.CreateRequest{Options: map[string]string{optBridgeName: x}}) },
		"MTU":            func(x string) error { return netw(network.CreateRequest{Options: map[string]string{optMTU: x}}) },
		"host address of a network": func(x string) error {
			return netw(network.CreateRequest{Options: map[string]string{optHostBinding4: x}})
		},
		"network limit": func(x string) error {
			return netw(network.CreateRequest{Options: map[string]string{limitPrefix + x: "5"}})
		},
		"IPAM driver": func(x string) error { return netw(network.CreateRequest{IPAM: &network.IPAM{Driver: x}}) },
		"auxiliary name": func(x string) error {
			return netw(network.CreateRequest{IPAM: &network.IPAM{Config: []network.IPAMConfig{{
				Subnet: netip.MustParsePrefix("10.8.0.0/24"), AuxAddress: map[string]netip.Addr{x: netip.MustParseAddr("10.8.0.9")}}}}})
		},
	} {
		for what, text := range hostileTexts {
			err := enter(text)
			switch {
			case err == nil:
				t.Errorf("%s: %s is taken", place, what)
			case !errdefs.IsInvalidArgument(err) && !errdefs.IsNotFound(err) && !errdefs.IsPermissionDenied(err):
				t.Errorf("%s, %s: %v", place, what, err)
			case !printable(err.Error()):
				t.Errorf("%s, %s: the refusal repeats it: %q", place, what, err)
			}
		}
		if err := enter(strings.Repeat("x", 5000)); place != "annotation" && place != "label" && place != "network label" && place != "folder" && place != "path" && err == nil {
			t.Errorf("%s: 5000 bytes are taken", place)
		}
	}
	for what, text := range hostileTexts {
		if what == "a line" { // of prose
			continue
		}
		if err := cfg(func(c *container.Config) { c.Labels = map[string]string{"k": text} }); !errdefs.IsInvalidArgument(err) || !printable(err.Error()) {
			t.Errorf("label's value, %s: %v", what, err)
		}
	}
	if err := cfg(func(c *container.Config) { c.Labels = map[string]string{"k": "two\nlines\tand é"} }); err != nil {
		t.Errorf("prose as a label: %v", err)
	}
}

// A command may hold anything but zeros. Where it is told of, it is one line.
func TestCommandsAreShownAsOneLine(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	hostile := "echo\n\x1b[31m"
	id := e.testRun(t, spec{name: "c", cfg: func(c *container.Config) { c.Cmd = []string{"sh", "-c", hostile} }})
	if got := w.process(e, id).spec.Args[2]; got != hostile {
		t.Errorf("run %q", got)
	}
	list, err := e.ContainerList(ctx, api.ListOptions{})
	if err != nil || !printable(list[0].Command) || !strings.Contains(list[0].Command, `echo\n\x1b[31m`) {
		t.Errorf("listed as %q, %v", list[0].Command, err)
	}
	messages, err := e.Events(ctx, api.EventsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.ExecCreate(ctx, id, container.ExecCreateRequest{Cmd: []string{hostile}}); err != nil {
		t.Fatal(err)
	}
	if m := <-messages; m.Type != events.ContainerEventType || !printable(string(m.Action)) {
		t.Errorf("event %q", m.Action)
	}
	if _, err := e.testCreate(spec{cfg: func(c *container.Config) { c.Cmd = []string{"a\x00b"} }}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a zero byte: %v", err)
	}
	e.testStop(t, "c")
}
