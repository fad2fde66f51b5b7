package engine

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/engine/publish"
)

// NetworkDef is what is on disk of a network: everything that was asked for, and
// what was chosen where nothing was.
type NetworkDef struct {
	ID         string
	Name       string
	Driver     string // "bridge", "host" or "null"
	Created    time.Time
	EnableIPv4 bool
	EnableIPv6 bool
	Internal   bool
	Attachable bool
	MTU        int         // bytes
	Subnets    []SubnetDef // at most one a family
	Options    map[string]string
	Labels     map[string]string
	Predefined bool
}

// SubnetDef is one subnet of a network.
type SubnetDef struct {
	Prefix  netip.Prefix
	Range   netip.Prefix          `json:",omitzero"`
	First   netip.Addr            `json:",omitzero"` // with Last, instead of Range
	Last    netip.Addr            `json:",omitzero"`
	Gateway netip.Addr            // reserved; see NetworkDef.gateway
	Aux     map[string]netip.Addr `json:",omitempty"`
	Auto    bool                  // chosen by the engine: static addresses are refused
}

// subnet returns the network's subnet of a family.
func (n *NetworkDef) subnet(is4 bool) (SubnetDef, bool) {
	for _, s := range n.Subnets {
		if s.Prefix.Addr().Is4() == is4 {
			return s, true
		}
	}
	return SubnetDef{}, false
}

// gateway returns the gateway's address of a family with its subnet's length; zero
// when the network does not have the family, or no gateway in it.
func (n *NetworkDef) gateway(is4 bool) netip.Prefix {
	o := n.options()
	if s, ok := n.subnet(is4); ok && s.Gateway.IsValid() && !o.isolated(is4) {
		return netip.PrefixFrom(s.Gateway, s.Prefix.Bits())
	}
	return netip.Prefix{}
}

// prefix returns the subnet of a family; zero when the network does not have it.
func (n *NetworkDef) prefix(is4 bool) netip.Prefix {
	s, _ := n.subnet(is4)
	return s.Prefix
}

// isBridge: the network has a switch, addresses and endpoints.
func (n *NetworkDef) isBridge() bool { return n.Driver == driverBridge }

// resolves: containers of the network are known by name. Docker's default
// bridge has no names unless the configuration says so.
func (n *NetworkDef) resolves() bool {
	if n.Predefined {
		on, _ := strconv.ParseBool(n.Options[optDNS])
		return n.isBridge() && on
	}
	o := n.options()
	return n.isBridge() && !o.noDNS
}

// ContainerDef is what is on disk of a container: what was asked for, and the
// last known state.
type ContainerDef struct {
	ID         string
	Name       string
	Named      bool // by the user; others get no name on a network
	Created    time.Time
	Config     container.Config
	HostConfig container.HostConfig
	// Foreign are the namespaces, if others made them.
	Foreign *ForeignDef `json:",omitempty"`
	// Attachments, in the order in which their interfaces were made; empty for
	// the modes host, container: and ns:, and while it is on the network none.
	Attachments []Attachment
	// None: it is on the network none; nil = as its mode says. A container of the
	// mode none can be taken from it and connected to others, and the other way round.
	None *bool `json:",omitempty"`
	// Links are those on the default network; others are their attachment's.
	Links []Link `json:",omitempty"`
	State StateDef
	// Bindings are the host's ports that are really bound while it runs.
	Bindings []Binding `json:",omitempty"`
	// Rebind are those that a restart of the daemon could not make again, and
	// that are tried again.
	Rebind []Binding `json:",omitempty"`
}

// StateDef is a container's state.
type StateDef struct {
	Status   container.ContainerState // created, running or exited
	ExitCode int
	Error    string `json:",omitempty"`
	Pid      int    `json:",omitempty"`
	Started  time.Time
	Finished time.Time
}

// Attachment is a container's place on one network: the wish, and while it
// runs the endpoint.
type Attachment struct {
	NetworkID  string
	Network    string               `json:",omitempty"` // its name, also when it is gone
	ByID       bool                 `json:",omitempty"` // asked for by its id: no other of the name will do
	IPv4       netip.Addr           `json:",omitzero"`  // asked for
	IPv6       netip.Addr           `json:",omitzero"`
	MAC        network.HardwareAddr `json:",omitempty"`
	Aliases    []string             `json:",omitempty"`
	GwPriority int                  `json:",omitempty"`
	DriverOpts map[string]string    `json:",omitempty"`
	Links      []string             `json:",omitempty"` // as they were asked for
	Endpoint   *Endpoint            `json:",omitempty"` // nil when it does not run
}

// Endpoint is a running container's attachment to one network.
type Endpoint struct {
	ID        string
	Interface string // inside the container: eth0, eth1 ...
	MAC       network.HardwareAddr
	IPv4      netip.Addr `json:",omitzero"`
	IPv6      netip.Addr `json:",omitzero"`
	Names     []string   `json:",omitempty"` // that resolve to it
	More      More       `json:",omitzero"`
	Limits    Limits     `json:",omitzero"`
}

// addresses returns the endpoint's addresses, IPv4 first.
func (e *Endpoint) addresses() []netip.Addr {
	var out []netip.Addr
	for _, a := range []netip.Addr{e.IPv4, e.IPv6} {
		if a.IsValid() {
			out = append(out, a)
		}
	}
	return out
}

// Binding is one published port as it is: a host listener that leads to a
// container's port.
type Binding struct {
	Port network.Port   // the container's
	Host netip.AddrPort // bound
	// Asked is which of the container's wishes it fulfils.
	Asked network.PortBinding `json:",omitzero"`
}

// id is the wish that it fulfils.
func (b Binding) id() publish.ID { return publish.ID{Port: b.Port, Asked: b.Asked} }

// running: there is a process.
func (c *ContainerDef) running() bool { return c.State.Status == container.StateRunning }

// attachment returns the container's attachment to a network.
func (c *ContainerDef) attachment(networkID string) *Attachment {
	for i := range c.Attachments {
		if c.Attachments[i].NetworkID == networkID {
			return &c.Attachments[i]
		}
	}
	return nil
}

// dropAttachment forgets the container's attachment to a network.
func (c *ContainerDef) dropAttachment(networkID string) {
	c.Attachments = slices.DeleteFunc(c.Attachments, func(a Attachment) bool { return a.NetworkID == networkID })
}

// mode is the container's network mode as it is now: of one that was taken from
// the network none, that of a container without networks.
func (c *ContainerDef) mode() (netMode, error) {
	m, err := parseMode(c.HostConfig.NetworkMode)
	if m.kind == modeNone && c.None != nil && !*c.None {
		m = netMode{kind: modeNetwork}
	}
	return m, err
}

// onNone: it is on the network none, and so on no other.
func (c *ContainerDef) onNone() bool {
	if c.None != nil {
		return *c.None
	}
	return c.HostConfig.NetworkMode.IsNone()
}

// clone copies what the engine changes, so that a snapshot can be read and
// written to disk without the lock. Config and HostConfig are shared: of Config
// nothing is ever changed after the creation, and of HostConfig only what says
// which ports are published (see ContainerPublish), by another map in its place.
func (c *ContainerDef) clone() *ContainerDef {
	d := *c
	d.Attachments = slices.Clone(c.Attachments)
	for i := range d.Attachments {
		if e := d.Attachments[i].Endpoint; e != nil {
			ep := *e
			d.Attachments[i].Endpoint = &ep
		}
	}
	d.Bindings = slices.Clone(c.Bindings)
	return &d
}

// command returns the container's command line: entry point and arguments.
func (c *ContainerDef) command() []string {
	return slices.Concat(c.Config.Entrypoint, c.Config.Cmd)
}
