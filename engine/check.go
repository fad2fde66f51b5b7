package engine

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/moby/moby/api/types/network"
)

// optIfname names an endpoint's interface in the container.
const optIfname = "com.docker.network.endpoint.ifname"

// validName is Docker's rule for the names of containers and networks.
func validName(name string) bool {
	for i, c := range []byte(name) {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case i > 0 && (c == '_' || c == '.' || c == '-'):
		default:
			return false
		}
	}
	return name != "" && len(name) <= 255
}

// validAlias: a name that can be asked for and written to a file of names. An
// underscore may be in front, as in the names of services.
func validAlias(name string) bool {
	return validName(strings.TrimPrefix(name, "_"))
}

// validIfname is what the kernel takes (dev_valid_name), less what would mean
// something else in sysctl names.
func validIfname(name string) bool {
	return validName(name) && len(name) <= 15 && name != "lo" && name != "all" && name != "default"
}

// checkMAC accepts the address of one Ethernet station.
func checkMAC(mac network.HardwareAddr) error {
	switch {
	case len(mac) != 6:
		return fmt.Errorf("invalid MAC address %v: it has six bytes", mac)
	case mac[0]&1 != 0:
		return fmt.Errorf("invalid MAC address %v: it is a group's (the lowest bit of the first byte is set); use for example 02:%v", mac, net.HardwareAddr(mac[1:]))
	case [6]byte(mac) == [6]byte{}:
		return fmt.Errorf("invalid MAC address %v", mac)
	}
	return nil
}

// Errors about addresses that a user chose, in Docker's words.
var (
	errStaticPredefined = errors.New("user-specified IP address is supported on user-defined networks only")
	errStaticAuto       = errors.New("user-specified IP address is supported only when connecting to networks with user configured subnets")
)

// checkStatic checks the addresses asked for against the network's subnets.
func checkStatic(n *NetworkDef, a Attachment) error {
	for _, want := range []netip.Addr{a.IPv4, a.IPv6} {
		if !want.IsValid() {
			continue
		}
		if n.Predefined {
			return fmt.Errorf("%w; make one with `footbridge network create --subnet SUBNET NAME`", errStaticPredefined)
		}
		s, ok := n.subnet(want.Is4())
		switch {
		case ok && s.Auto:
			return fmt.Errorf("%w; make network %s with --subnet", errStaticAuto, n.Name)
		case !ok || !s.Prefix.Contains(want):
			return errOutside(n, want)
		}
	}
	return nil
}

// errOutside: the address is in no subnet of the network.
func errOutside(n *NetworkDef, want netip.Addr) error {
	subnets := make([]string, len(n.Subnets))
	for i, s := range n.Subnets {
		subnets[i] = s.Prefix.String()
	}
	return fmt.Errorf("no configured subnet contains IP address %v: network %s has %s", want, n.Name, strings.Join(subnets, " and "))
}

// hostGateway stands for the gateway's address in --add-host.
const hostGateway = "host-gateway"

// parseHost splits "name:address" or "name=address"; the address may be in
// brackets or hostGateway, which gives the zero Addr.
func parseHost(s string) (name string, addr netip.Addr, err error) {
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		name, value, ok = strings.Cut(s, ":")
	}
	if !ok || !oneWord(name) || strings.Contains(name, "#") {
		return "", netip.Addr{}, invalid("bad format for add-host: %q: it is NAME:ADDRESS or NAME:%s", s, hostGateway)
	}
	if value == hostGateway {
		return name, netip.Addr{}, nil
	}
	if len(value) > 2 && value[0] == '[' && value[len(value)-1] == ']' {
		value = value[1 : len(value)-1]
	}
	if addr, err = netip.ParseAddr(value); err != nil {
		return "", netip.Addr{}, invalid("invalid IP address in add-host: %q: it is NAME:ADDRESS or NAME:%s", s, hostGateway)
	}
	return name, addr, nil
}

func checkHosts(extra []string) error {
	for _, h := range extra {
		if _, _, err := parseHost(h); err != nil {
			return err
		}
	}
	return nil
}

// checkResolver refuses what would be more than one word of the container's
// resolv.conf, and could be a line of its own.
func checkResolver(search, options []string) error {
	for _, s := range search {
		if !oneWord(s) {
			return invalid("invalid DNS search domain %q: it is one domain, or . for none", s)
		}
	}
	for _, o := range options {
		if !oneWord(o) {
			return invalid("invalid DNS option %q: it is one option of resolv.conf, such as ndots:1", o)
		}
	}
	return nil
}

func oneWord(s string) bool {
	return s != "" && len(s) <= maxText && printable(s) && !strings.Contains(s, " ")
}
