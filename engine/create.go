package engine

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/sys/signal"

	"github.com/footbridge-net/footbridge/engine/publish"
	"github.com/footbridge-net/footbridge/engine/store"
	"github.com/footbridge-net/footbridge/internal/absent"
)

// ContainerCreate implements api.ContainerBackend.
func (e *Engine) ContainerCreate(_ context.Context, name string, req container.CreateRequest) (container.CreateResponse, error) {
	none := container.CreateResponse{Warnings: []string{}}
	leave, err := e.enter()
	if err != nil {
		return none, err
	}
	defer leave()
	if req.Config == nil {
		return none, invalid("config cannot be empty in order to create a container")
	}
	def := &ContainerDef{
		ID: newID(), Name: strings.TrimPrefix(name, "/"), Created: e.now(), Config: *req.Config,
		State: StateDef{Status: container.StateCreated},
	}
	if req.HostConfig != nil {
		def.HostConfig = *req.HostConfig
	}
	if err := checkContainer(def); err != nil {
		return none, err
	}
	if err := checkRestrictions(def); err != nil {
		return none, err
	}
	mode, err := parseMode(def.HostConfig.NetworkMode)
	if err != nil {
		return none, err
	}
	warnings, err := checkMode(def, mode)
	if err != nil {
		return none, err
	}
	warnings = append(warnings, ineffective(def)...)
	var endpoints map[string]*network.EndpointSettings
	if req.NetworkingConfig != nil {
		endpoints = req.NetworkingConfig.EndpointsConfig
	}

	e.mu.Lock()
	c, err := e.registerContainer(def, mode, endpoints)
	if err == nil && e.publishesInVain(def) {
		warnings = append(warnings, noWayIn(def.Name))
	}
	e.mu.Unlock()
	if errdefs.IsNotFound(err) {
		// "Not found" as the answer to a creation is about the image: docker's
		// command line would try to pull it.
		err = invalid("%v", err)
	}
	if err != nil {
		return none, err
	}
	defer c.op.Unlock()
	if err := e.store.Save(store.Put(store.Containers, def.ID, def)); err != nil {
		e.mu.Lock()
		e.strike(c)
		c.gone = true
		e.mu.Unlock()
		return none, err
	}
	e.containerEvent(events.ActionCreate, def)
	return container.CreateResponse{ID: def.ID, Warnings: warnings}, nil
}

// registerContainer settles the name and the networks and makes the container
// known; e.mu is held. Its op lock is held when it returns: whoever starts or
// removes it waits until it is on disk, where it would come back otherwise.
func (e *Engine) registerContainer(def *ContainerDef, mode netMode, endpoints map[string]*network.EndpointSettings) (*ctr, error) {
	if def.Name == "" {
		def.Name = generateName(func(n string) bool { return e.named(n) != nil })
	} else {
		def.Named = true
		if !validName(def.Name) {
			return nil, invalid("Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", shown(def.Name))
		}
		if other := e.named(def.Name); other != nil {
			return nil, conflict("Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.",
				"/"+def.Name, other.def.ID)
		}
	}
	switch mode.kind {
	case modeContainer:
		other, err := e.findContainer(mode.arg)
		if err != nil {
			return nil, fmt.Errorf("joining network namespace of container: %w", err)
		}
		// The id, since the name may be another container's one day.
		def.HostConfig.NetworkMode = container.NetworkMode("container:" + other.def.ID)
	case modeHost, modeNone:
		for name, s := range endpoints {
			if s != nil && s.IPAMConfig != nil && (s.IPAMConfig.IPv4Address.IsValid() || s.IPAMConfig.IPv6Address.IsValid()) {
				return nil, invalid("invalid config for network %s: invalid endpoint settings: user-specified IP address is supported on user-defined networks only", name)
			}
		}
	case modeNetwork:
		var err error
		if def.Attachments, err = e.attachments(def, mode.arg, endpoints); err != nil {
			return nil, err
		}
		if err := checkInterfaces(def.Attachments); err != nil {
			return nil, err
		}
		if err := e.settleLinks(def); err != nil {
			return nil, err
		}
	}
	c := &ctr{def: def}
	c.op.Lock() // nobody else knows it yet, so this does not wait
	e.enroll(c)
	return c, nil
}

// checkContainer refuses what makes no sense or what footbridge does not do.
func checkContainer(def *ContainerDef) error {
	cfg, host := &def.Config, &def.HostConfig
	if cmd := def.command(); len(cmd) == 0 || cmd[0] == "" {
		return invalid("no command specified")
	}
	if err := checkTexts(def); err != nil { // before others quote them
		return err
	}
	if cfg.WorkingDir != "" && !filepath.IsAbs(cfg.WorkingDir) {
		return invalid("the working directory '%s' is invalid, it needs to be an absolute path", cfg.WorkingDir)
	}
	if cfg.StopSignal != "" {
		if _, err := signal.ParseSignal(cfg.StopSignal); err != nil {
			return invalid("invalid stop signal %q: it is a name (SIGTERM) or a number", cfg.StopSignal)
		}
	}
	if len(host.Binds) > 0 || len(host.Mounts) > 0 || len(host.VolumesFrom) > 0 || len(host.Tmpfs) > 0 {
		return invalid("%s", absent.Mounts)
	}
	for _, why := range []string{
		absent.RestartPolicy(string(host.RestartPolicy.Name)), absent.PIDMode(string(host.PidMode)),
		absent.IPCMode(string(host.IpcMode)), absent.UTSMode(string(host.UTSMode)),
	} {
		if why != "" {
			return invalid("%s", why)
		}
	}
	switch host.UsernsMode {
	case "", "auto":
	default:
		return invalid("user namespace mode %q is not available: it is \"auto\" or empty", host.UsernsMode)
	}
	// Whatever the network, a port that cannot be published is a mistake.
	_, err := publish.Requests(publish.Options{Bindings: host.PortBindings, Exposed: cfg.ExposedPorts, All: host.PublishAllPorts})
	if err != nil {
		return invalid("%w", err)
	}
	if err := checkResolver(host.DNSSearch, host.DNSOptions); err != nil {
		return err
	}
	return checkHosts(host.ExtraHosts)
}

// modeKind is what a network mode asks for.
type modeKind int

const (
	modeNetwork   modeKind = iota // a bridge network, arg is its name or id
	modeHost                      // the host's own network
	modeNone                      // loopback only
	modeContainer                 // another container's, arg is its name or id
	modePath                      // a namespace given by path
)

type netMode struct {
	kind modeKind
	arg  string
}

func parseMode(m container.NetworkMode) (netMode, error) {
	kind, arg, colon := strings.Cut(string(m), ":")
	switch {
	case m == "" || m.IsDefault():
		return netMode{modeNetwork, network.NetworkBridge}, nil
	case m.IsHost():
		return netMode{modeHost, ""}, nil
	case m.IsNone():
		return netMode{modeNone, ""}, nil
	case colon && kind == "container":
		if arg == "" {
			return netMode{}, invalid("invalid network mode: invalid container format container:<name|id>")
		}
		return netMode{modeContainer, arg}, nil
	case colon && kind == "ns":
		if !filepath.IsAbs(arg) {
			return netMode{}, invalid("invalid network mode: ns:%s: it is the absolute path of a network namespace", arg)
		}
		return netMode{modePath, arg}, nil
	}
	return netMode{modeNetwork, string(m)}, nil
}

// checkMode refuses options that contradict the network mode, in Docker's
// words, and returns warnings about those that have no effect.
func checkMode(def *ContainerDef, m netMode) ([]string, error) {
	warnings := []string{}
	cfg, host := &def.Config, &def.HostConfig
	if err := checkLinks(m, host.Links); err != nil {
		return nil, err
	}
	ports := len(host.PortBindings) > 0 || host.PublishAllPorts
	switch m.kind {
	case modeContainer, modePath:
		shared := m.kind == modeContainer // names and files are the other's too
		for _, o := range []struct {
			what  string
			given bool
		}{
			{"hostname", shared && cfg.Hostname != ""},
			{"dns", shared && len(host.DNS) > 0},
			{"custom host-to-IP mapping", shared && len(host.ExtraHosts) > 0},
			{"port publishing", ports},
			{"port exposing", len(cfg.ExposedPorts) > 0},
		} {
			if o.given {
				if shared && strings.HasPrefix(o.what, "port ") {
					return nil, invalid("conflicting options: %s and the container type network mode: the ports are those of %s, publish them there", o.what, m.arg)
				}
				return nil, invalid("conflicting options: %s and the network mode %s", o.what, host.NetworkMode)
			}
		}
	case modeHost:
		if ports {
			warnings = append(warnings, "Published ports are discarded when using host network mode")
		}
	case modeNone:
		if ports {
			warnings = append(warnings, "Published ports are discarded when using no network (none)")
		}
	}
	return warnings, nil
}

// attachments resolves the networks of a container: first the network of its
// mode, then the others by name; e.mu is held.
func (e *Engine) attachments(def *ContainerDef, first string, endpoints map[string]*network.EndpointSettings) ([]Attachment, error) {
	var out []Attachment
	add := func(term string, s *network.EndpointSettings) error {
		if term == network.NetworkDefault {
			term = network.NetworkBridge
		}
		n, err := e.findNetwork(term)
		if err != nil {
			return err
		}
		if !n.def.isBridge() {
			return invalid("conflicting options: a container cannot be on network %s and on others", n.def.Name)
		}
		a, err := newAttachment(&n.def, term, s)
		if err != nil {
			return err
		}
		for i := range out {
			if out[i].NetworkID != a.NetworkID {
				continue
			}
			// The mode names it once more; its settings are here.
			a.ByID = a.ByID && out[i].ByID
			if s != nil {
				out[i] = a
			}
			return nil
		}
		out = append(out, a)
		return nil
	}
	if err := add(first, nil); err != nil {
		return nil, err
	}
	for _, term := range slices.Sorted(maps.Keys(endpoints)) {
		if err := add(term, endpoints[term]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// newAttachment checks the settings of one endpoint against its network, which was asked for by term.
func newAttachment(n *NetworkDef, term string, s *network.EndpointSettings) (Attachment, error) {
	a := Attachment{NetworkID: n.ID, Network: n.Name, ByID: term != n.Name}
	if s == nil {
		return a, nil
	}
	fail := func(format string, args ...any) (Attachment, error) {
		return Attachment{}, invalid("invalid config for network %s: invalid endpoint settings: %w", n.Name, fmt.Errorf(format, args...))
	}
	if len(s.Links) > maxLinks {
		return fail("an endpoint has at most %d links, not %d", maxLinks, len(s.Links))
	}
	for _, l := range s.Links {
		if _, _, err := parseLink(l); err != nil {
			return fail("%w", err)
		}
	}
	if len(s.Aliases) > 0 && !n.resolves() {
		return fail("network-scoped aliases are only supported for user-defined networks")
	}
	for _, alias := range s.Aliases {
		if !validAlias(alias) {
			return fail("invalid alias %q: it is a name of letters, digits, '-', '_' and '.'", alias)
		}
	}
	if c := s.IPAMConfig; c != nil {
		if len(c.LinkLocalIPs) > 0 {
			return fail("link-local addresses cannot be chosen: the one of IPv6 follows from the MAC address, and networks have no IPv4 ones; use addresses of the network's subnets")
		}
		a.IPv4, a.IPv6 = c.IPv4Address.Unmap(), c.IPv6Address
		if a.IPv4.IsValid() && !a.IPv4.Is4() {
			return fail("invalid IPv4 address: %v", a.IPv4)
		}
		if a.IPv6.IsValid() && !a.IPv6.Is6() {
			return fail("invalid IPv6 address: %v", a.IPv6)
		}
		if err := checkStatic(n, a); err != nil {
			return fail("%w", err)
		}
	}
	if len(s.MacAddress) > 0 {
		if err := checkMAC(s.MacAddress); err != nil {
			return fail("%w", err)
		}
		a.MAC = slices.Clone(s.MacAddress)
	}
	if err := checkDriverOpts(n, s.DriverOpts); err != nil {
		return fail("%w", err)
	}
	a.Links = slices.Clone(s.Links)
	a.Aliases, a.DriverOpts, a.GwPriority = slices.Clone(s.Aliases), maps.Clone(s.DriverOpts), s.GwPriority
	return a, nil
}
