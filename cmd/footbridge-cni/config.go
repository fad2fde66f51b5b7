package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
)

// config is a network's configuration, with what the runtime has put into it.
type config struct {
	version string // of the specification
	name    string // of the network

	network  networkConfig
	priority int       // of its default route, among those of a container's networks
	dns      types.DNS // of the containers: nameservers are whom the gateway asks
	caps     capabilities
	prev     *types100.Result // of the plugins before this one; nil: none

	attachments []types.GCAttachment // GC: those that stay; that none are given means none
}

// networkConfig is what the configuration says of the network itself.
type networkConfig struct {
	Subnets  []subnetConfig    `json:"subnets,omitempty"`
	IPv6     *bool             `json:"ipv6,omitempty"`
	Internal bool              `json:"internal,omitempty"`
	MTU      int               `json:"mtu,omitempty"`
	Options  map[string]string `json:"options,omitempty"`
}

// subnetConfig is one subnet. What is left out the daemon chooses.
type subnetConfig struct {
	Subnet  netip.Prefix `json:"subnet"`
	Gateway netip.Addr   `json:"gateway,omitzero"`
	Range   netip.Prefix `json:"range,omitzero"` // which addresses are given, a part of the subnet
}

// fields are the keys of a configuration.
var fields = map[string]func(c *config, value json.RawMessage) error{
	"cniVersion": func(c *config, v json.RawMessage) error { return decode(v, &c.version) },
	"name":       func(c *config, v json.RawMessage) error { return decode(v, &c.name) },
	"type":       func(_ *config, v json.RawMessage) error { return decode(v, new(string)) },
	"subnets":    func(c *config, v json.RawMessage) error { return decode(v, &c.network.Subnets) },
	"ipv6":       func(c *config, v json.RawMessage) error { return decode(v, &c.network.IPv6) },
	"internal":   func(c *config, v json.RawMessage) error { return decode(v, &c.network.Internal) },
	"mtu":        func(c *config, v json.RawMessage) error { return decode(v, &c.network.MTU) },
	"options":    func(c *config, v json.RawMessage) error { return decode(v, &c.network.Options) },
	"dns":        func(c *config, v json.RawMessage) error { return decode(v, &c.dns) },

	"gatewayPriority": func(c *config, v json.RawMessage) error { return decode(v, &c.priority) },
	"capabilities":    readCapabilityNames,
	"runtimeConfig":   func(c *config, v json.RawMessage) error { return c.caps.read(v) },
	"args":            func(c *config, v json.RawMessage) error { return c.caps.readArgs(v) },
	"prevResult":      nil, // after all others: its meaning is the version's
	"ipMasq":          onlyTrue,
	"ipam":            noIPAM,

	"cni.dev/valid-attachments": func(c *config, v json.RawMessage) error {
		return json.Unmarshal(v, &c.attachments) // which may have more fields one day
	},
	"cni.dev/attachments": func(*config, json.RawMessage) error { return nil }, // the former by its first name
}

// decode reads a value; what it does not know is an error.
func decode(value json.RawMessage, out any) error {
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return badConfig("there is more than one value")
	}
	return nil
}

// onlyTrue reads ipMasq. Containers without root reach the outside by addresses of the host
// only.
func onlyTrue(_ *config, v json.RawMessage) error {
	on := true
	if err := decode(v, &on); err != nil {
		return err
	}
	if !on {
		return badConfig("ipMasq can be true only: containers without root reach the outside by addresses of the host; for none of it give internal")
	}
	return nil
}

// noIPAM refuses to have addresses given by another plugin.
func noIPAM(_ *config, v json.RawMessage) error {
	var ipam map[string]json.RawMessage
	if err := decode(v, &ipam); err != nil {
		return err
	}
	if len(ipam) > 0 {
		return unsupported("ipam", v, "footbridge gives the addresses: leave ipam out, and say which by subnets, [{\"subnet\": \"10.1.0.0/24\", \"gateway\": \"10.1.0.1\", \"range\": \"10.1.0.128/25\"}]")
	}
	return nil
}

// readConfig reads a configuration. What it does not know is refused: a setting that is
// silently without effect looks like one that works.
func readConfig(stdin []byte) (*config, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(stdin, &all); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "the network configuration is not a JSON object: "+err.Error(), "")
	}
	c := &config{}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		read, known := fields[key]
		if !known {
			return nil, unsupported(key, all[key], "known are "+knownFields())
		}
		if read == nil || string(all[key]) == "null" {
			continue
		}
		if err := read(c, all[key]); err != nil {
			if e := (*types.Error)(nil); errors.As(err, &e) {
				return nil, e
			}
			return nil, badConfig("%s of the network configuration: %v", key, err)
		}
	}
	if err := c.checkName(); err != nil {
		return nil, err
	}
	return c, c.readPrevious(all["prevResult"])
}

// checkName refuses names that no network of footbridge's can have.
func (c *config) checkName() error {
	switch c.name {
	case "":
		return badConfig("missing network name")
	case "host", "none", "default", "container":
		return badConfig("the network cannot be called %q, which has a meaning of its own: choose another name", c.name)
	}
	if c.name == "bridge" && !c.network.empty() {
		return badConfig("the network bridge is there already: leave subnets, ipv6, internal, mtu and options out, or choose another name")
	}
	return nil
}

func (n networkConfig) empty() bool {
	return len(n.Subnets) == 0 && n.IPv6 == nil && !n.Internal && n.MTU == 0 && len(n.Options) == 0
}

// readPrevious reads the result of the plugins before.
func (c *config) readPrevious(value json.RawMessage) error {
	if len(value) == 0 || string(value) == "null" {
		return nil
	}
	conf := types.PluginConf{CNIVersion: c.version}
	if err := json.Unmarshal(value, &conf.RawPrevResult); err != nil {
		return badConfig("prevResult: %v", err)
	}
	if err := version.ParsePrevResult(&conf); err != nil {
		return badConfig("prevResult: %v", err)
	}
	if conf.PrevResult == nil {
		return nil
	}
	prev, err := types100.GetResult(conf.PrevResult)
	if err != nil {
		return badConfig("prevResult: %v", err)
	}
	c.prev = prev
	return nil
}

// networkName is all that DEL needs of a configuration, so that one that has become
// invalid does not keep what was made by it.
func networkName(stdin []byte) (string, error) {
	var c struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(stdin, &c); err != nil {
		return "", types.NewError(types.ErrDecodingFailure, "the network configuration is not a JSON object: "+err.Error(), "")
	}
	return c.Name, nil
}

func knownFields() string {
	out := ""
	for i, key := range slices.Sorted(maps.Keys(fields)) {
		if i > 0 {
			out += ", "
		}
		out += key
	}
	return out
}
