package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/moby/moby/api/types/network"
)

// capabilities are what the runtime asks for one container: by runtimeConfig, and by args,
// which is what some have in its place.
type capabilities struct {
	ports      network.PortMap
	ip4, ip6   netip.Addr
	mac        network.HardwareAddr
	aliases    []string
	nameserver []netip.Addr // whom the gateway asks, in the place of the host's
	search     []string
	options    []string
}

// known are the capabilities, by the names that the conventions give them.
var known = map[string]func(c *capabilities, value json.RawMessage) error{
	"portMappings": (*capabilities).readPorts,
	"ips":          (*capabilities).readIPs,
	"mac":          (*capabilities).readMAC,
	"aliases":      (*capabilities).readAliases,
	"dns":          (*capabilities).readDNS,
}

// readCapabilityNames refuses to promise what is not there.
func readCapabilityNames(_ *config, value json.RawMessage) error {
	var names map[string]bool
	if err := decode(value, &names); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if _, ok := known[name]; !ok && names[name] {
			return unsupported("capabilities."+name, []byte("true"), "known are "+knownCapabilities())
		}
	}
	return nil
}

func knownCapabilities() string { return strings.Join(slices.Sorted(maps.Keys(known)), ", ") }

// read reads runtimeConfig.
func (c *capabilities) read(value json.RawMessage) error {
	var all map[string]json.RawMessage
	if err := decode(value, &all); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		read, ok := known[name]
		switch {
		case !ok:
			return unsupported("runtimeConfig."+name, all[name], "known are "+knownCapabilities())
		case string(all[name]) == "null":
			continue
		}
		if err := read(c, all[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// readArgs reads args.cni; the rest of args is for others. Its other keys are hints, says
// the convention, which a plugin may leave.
func (c *capabilities) readArgs(value json.RawMessage) error {
	var args struct {
		CNI struct {
			IPs json.RawMessage `json:"ips"`
			MAC json.RawMessage `json:"mac"`
		} `json:"cni"`
	}
	if err := json.Unmarshal(value, &args); err != nil {
		return err
	}
	if v := args.CNI.IPs; len(v) > 0 {
		if err := c.readIPs(v); err != nil {
			return fmt.Errorf("cni.ips: %w", err)
		}
	}
	if v := args.CNI.MAC; len(v) > 0 {
		if err := c.readMAC(v); err != nil {
			return fmt.Errorf("cni.mac: %w", err)
		}
	}
	return nil
}

// readPorts reads portMappings.
func (c *capabilities) readPorts(value json.RawMessage) error {
	var list []struct {
		HostPort      uint16 `json:"hostPort"`
		ContainerPort uint16 `json:"containerPort"`
		Protocol      string `json:"protocol"`
		HostIP        string `json:"hostIP"`
	}
	if err := decode(value, &list); err != nil {
		return err
	}
	for _, m := range list {
		proto := network.IPProtocol(strings.ToLower(m.Protocol))
		if proto == "" {
			proto = network.TCP
		}
		if proto != network.TCP && proto != network.UDP {
			return fmt.Errorf("protocol %q: ports of tcp and udp are published", m.Protocol)
		}
		port, ok := network.PortFrom(m.ContainerPort, proto)
		if m.HostPort == 0 || m.ContainerPort == 0 || !ok {
			return fmt.Errorf("hostPort %d to containerPort %d: they are 1 to 65535", m.HostPort, m.ContainerPort)
		}
		binding := network.PortBinding{HostPort: fmt.Sprint(m.HostPort)}
		if m.HostIP != "" {
			var err error
			if binding.HostIP, err = netip.ParseAddr(m.HostIP); err != nil {
				return fmt.Errorf("hostIP: %w", err)
			}
		}
		if c.ports == nil {
			c.ports = network.PortMap{}
		}
		c.ports[port] = append(c.ports[port], binding)
	}
	return nil
}

// readIPs reads ips: addresses, with or without a prefix's length, at most one a family.
func (c *capabilities) readIPs(value json.RawMessage) error {
	var list []string
	if err := decode(value, &list); err != nil {
		return err
	}
	for _, text := range list {
		addr, _, _ := strings.Cut(text, "/")
		if err := c.takeIP(addr); err != nil {
			return err
		}
	}
	return nil
}

func (c *capabilities) takeIP(text string) error {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return fmt.Errorf("%q is not an address", text)
	}
	field := &c.ip6
	if a = a.Unmap(); a.Is4() {
		field = &c.ip4
	}
	if field.IsValid() && *field != a {
		return fmt.Errorf("%v and %v: an interface has one address a family", *field, a)
	}
	*field = a
	return nil
}

// readMAC reads mac.
func (c *capabilities) readMAC(value json.RawMessage) error {
	var text string
	if err := decode(value, &text); err != nil || text == "" {
		return err
	}
	return c.takeMAC(text)
}

func (c *capabilities) takeMAC(text string) error {
	if err := c.mac.UnmarshalText([]byte(text)); err != nil || len(c.mac) != 6 {
		return fmt.Errorf("%q is not a MAC address of 6 bytes", text)
	}
	return nil
}

// readAliases reads aliases: a list, as the conventions have it, or lists by the
// networks' names, as podman gives them.
func (c *capabilities) readAliases(value json.RawMessage) error {
	if err := json.Unmarshal(value, &c.aliases); err == nil {
		return nil
	}
	c.aliases = nil
	var lists map[string][]string
	if err := json.Unmarshal(value, &lists); err != nil {
		return fmt.Errorf("they are a list of names, or an object of such lists by network: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		c.aliases = append(c.aliases, lists[name]...)
	}
	return nil
}

// readDNS reads dns: what a container's resolv.conf is to say.
func (c *capabilities) readDNS(value json.RawMessage) error {
	var d struct {
		Servers  []string `json:"servers"`
		Searches []string `json:"searches"`
		Options  []string `json:"options"`
	}
	if err := decode(value, &d); err != nil {
		return err
	}
	c.search, c.options = d.Searches, d.Options
	return c.takeServers(d.Servers)
}

func (c *capabilities) takeServers(list []string) error {
	for _, text := range list {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("name server %q is not an address", text)
		}
		c.nameserver = append(c.nameserver, a)
	}
	return nil
}

// overDNS is what containers are told, the capability's before the configuration's.
func (c *config) overDNS(gateways []string) types.DNS {
	out := types.DNS{Nameservers: gateways, Domain: c.dns.Domain, Search: c.dns.Search, Options: c.dns.Options}
	if len(c.caps.search) > 0 {
		out.Search = c.caps.search
	}
	if len(c.caps.options) > 0 {
		out.Options = c.caps.options
	}
	return out
}
