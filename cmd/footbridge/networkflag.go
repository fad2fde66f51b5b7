package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// attachment is one --network of run: a network and what is asked of it.
type attachment struct {
	name         string // network, "host", "none", "container:NAME" or "ns:PATH"
	aliases      []string
	ip, ip6      netip.Addr
	mac          network.HardwareAddr
	linkLocalIPs []netip.Addr
	links        []string
	driverOpts   map[string]string
	gwPriority   int
}

// asks reports whether the attachment asks for more than the network.
func (a attachment) asks() bool {
	return len(a.aliases) > 0 || a.ip.IsValid() || a.ip6.IsValid() || len(a.mac) > 0 ||
		len(a.linkLocalIPs) > 0 || len(a.links) > 0 || len(a.driverOpts) > 0 || a.gwPriority != 0
}

func (a attachment) settings() *network.EndpointSettings {
	settings := &network.EndpointSettings{
		Aliases:    a.aliases,
		Links:      a.links,
		DriverOpts: a.driverOpts,
		GwPriority: a.gwPriority,
		MacAddress: a.mac,
	}
	if a.ip.IsValid() || a.ip6.IsValid() || len(a.linkLocalIPs) > 0 {
		settings.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: a.ip, IPv6Address: a.ip6, LinkLocalIPs: a.linkLocalIPs}
	}
	return settings
}

// networkFlag collects the --network flags of run: NET, NET,key=value...,
// name=NET,key=value... and podman's NET:key=value,... .
type networkFlag struct {
	list []attachment
}

func (*networkFlag) Type() string     { return "network" }
func (f *networkFlag) String() string { return "" }

func (f *networkFlag) Set(value string) error {
	a, err := parseAttachment(value)
	if err != nil {
		return err
	}
	f.list = append(f.list, a)
	return nil
}

// parseAttachment parses one --network. The name may stand first without
// "name=", and only there.
func parseAttachment(value string) (attachment, error) {
	var a attachment
	if strings.HasPrefix(value, "ns:") { // a path may hold anything
		a.name = value
		return a, nil
	}
	// Podman's spelling: no network has a colon in its name.
	name, settings, podman := strings.Cut(value, ":")
	if podman = podman && isNetwork(value) && !strings.ContainsAny(name, "=,"); podman {
		value = name + "," + settings
		if settings == "" {
			return attachment{}, fmt.Errorf("invalid network %s:: settings after the network's name are key=value", name)
		}
	}
	fields, err := csv.NewReader(strings.NewReader(value)).Read()
	if err != nil {
		if value == "" {
			return attachment{name: network.NetworkDefault}, nil
		}
		return attachment{}, fmt.Errorf("invalid network %q: %w", value, err)
	}
	for i, field := range fields {
		key, val, ok := strings.Cut(field, "=")
		if !ok {
			if i > 0 {
				return attachment{}, fmt.Errorf("invalid field %s: settings after the network's name are key=value", field)
			}
			a.name = field
			continue
		}
		key, val = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(val)
		if podman && key == "ip" && strings.Contains(val, ":") {
			key = "ip6" // podman has one key for both
		}
		if err := a.set(key, val); err != nil {
			return attachment{}, err
		}
	}
	if a.name == "" {
		return attachment{}, errors.New("no name set for network")
	}
	return a, nil
}

func (a *attachment) set(key, value string) (err error) {
	switch key {
	case "name":
		a.name = value
	case "alias":
		a.aliases = append(a.aliases, value)
	case "ip":
		a.ip, err = parseIP4(value)
	case "ip6":
		a.ip6, err = parseIP6(value)
	case "mac-address", "mac":
		a.mac, err = parseMAC(value)
	case "link-local-ip":
		var addr netip.Addr
		addr, err = parseIP(value)
		a.linkLocalIPs = append(a.linkLocalIPs, addr)
	case "driver-opt":
		k, v, ok := strings.Cut(value, "=")
		if !ok || k == "" {
			return fmt.Errorf("invalid key/value pair format in driver options: %s", value)
		}
		if a.driverOpts == nil {
			a.driverOpts = map[string]string{}
		}
		a.driverOpts[k] = v
	case "interface_name":
		return a.set("driver-opt", optIfname+"="+value)
	case "gw-priority":
		if a.gwPriority, err = strconv.Atoi(value); err != nil {
			return fmt.Errorf("invalid gw-priority (%s): not a number", value)
		}
	default:
		return fmt.Errorf("invalid field %s: known are name, alias, ip, ip6, mac-address, link-local-ip, driver-opt, gw-priority and interface_name", key)
	}
	return err
}

// optIfname is the driver option that names an endpoint's interface.
const optIfname = "com.docker.network.endpoint.ifname"

// checkLink checks one --link as Docker does; what the names may be is the daemon's to
// say.
func checkLink(value string) (string, error) {
	if value == "" {
		return "", errors.New("empty string specified for links")
	}
	if strings.Count(value, ":") > 1 {
		return "", fmt.Errorf("bad format for links: %s", value)
	}
	return value, nil
}

func parseIP(value string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(value)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("IP address is not correctly formatted: %s", value)
	}
	return addr, nil
}

func parseIP4(value string) (netip.Addr, error) {
	addr, err := parseIP(value)
	if err == nil && !addr.Is4() {
		return netip.Addr{}, fmt.Errorf("invalid IPv4 address: %s", value)
	}
	return addr, err
}

func parseIP6(value string) (netip.Addr, error) {
	addr, err := parseIP(value)
	if err == nil && !addr.Is6() {
		return netip.Addr{}, fmt.Errorf("invalid IPv6 address: %s", value)
	}
	return addr, err
}

func parseMAC(value string) (network.HardwareAddr, error) {
	var mac network.HardwareAddr
	if err := mac.UnmarshalText([]byte(value)); err != nil || len(mac) != 6 {
		return nil, fmt.Errorf("%s is not a valid mac address", value)
	}
	return mac, nil
}

// simpleAttachment holds the flags that speak of the first network:
// --network-alias, --ip, --ip6, --link-local-ip, --mac-address.
type simpleAttachment struct {
	aliases   []string
	ip, ip6   string
	linkLocal []string
	mac       string
}

// networking turns the flags into what the API wants: a network mode, and
// settings for each network.
func networking(list []attachment, simple simpleAttachment) (container.NetworkMode, *network.NetworkingConfig, error) {
	if len(list) == 0 {
		list = []attachment{{name: network.NetworkDefault}}
	}
	first := list[0]
	if err := first.merge(simple); err != nil {
		return "", nil, err
	}
	list = append([]attachment{first}, list[1:]...)

	endpoints := map[string]*network.EndpointSettings{}
	for _, a := range list {
		if _, ok := endpoints[a.name]; ok {
			return "", nil, fmt.Errorf("network %q is specified multiple times", a.name)
		}
		if !isNetwork(a.name) {
			if len(list) > 1 {
				return "", nil, errors.New("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
			}
			if a.asks() {
				return "", nil, fmt.Errorf("conflicting options: addresses, aliases and MAC addresses cannot be given with --network %s, which has no endpoint of its own", a.name)
			}
			return container.NetworkMode(a.name), nil, nil
		}
		endpoints[a.name] = a.settings()
	}
	return container.NetworkMode(first.name), &network.NetworkingConfig{EndpointsConfig: endpoints}, nil
}

// merge takes over the flags that speak of the first network. Saying a thing
// twice is an error, as with Docker.
func (a *attachment) merge(simple simpleAttachment) (err error) {
	conflict := func(flag, key string) error {
		return fmt.Errorf("conflicting options: cannot specify both --%s and per-network %s", flag, key)
	}
	if len(simple.aliases) > 0 {
		if len(a.aliases) > 0 {
			return conflict("network-alias", "alias")
		}
		a.aliases = simple.aliases
	}
	if simple.ip != "" {
		if a.ip.IsValid() {
			return conflict("ip", "IPv4 address")
		}
		if a.ip, err = parseIP4(simple.ip); err != nil {
			return err
		}
	}
	if simple.ip6 != "" {
		if a.ip6.IsValid() {
			return conflict("ip6", "IPv6 address")
		}
		if a.ip6, err = parseIP6(simple.ip6); err != nil {
			return err
		}
	}
	if len(simple.linkLocal) > 0 && len(a.linkLocalIPs) > 0 {
		return conflict("link-local-ip", "link-local IP addresses")
	}
	for _, text := range simple.linkLocal {
		if err := a.set("link-local-ip", text); err != nil {
			return err
		}
	}
	if simple.mac != "" {
		if len(a.mac) > 0 {
			return conflict("mac-address", "MAC address")
		}
		a.mac, err = parseMAC(simple.mac)
	}
	return err
}

// isNetwork reports whether name is a network that endpoints can be attached
// to, and not a mode that shares or omits a network stack.
func isNetwork(name string) bool {
	switch {
	case name == network.NetworkHost, name == network.NetworkNone:
		return false
	case strings.HasPrefix(name, "container:"), strings.HasPrefix(name, "ns:"):
		return false
	}
	return true
}

func isPredefined(name string) bool {
	return name == network.NetworkDefault || name == network.NetworkBridge || !isNetwork(name)
}
