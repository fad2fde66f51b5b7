package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/footbridge-net/footbridge/engine/ipam"
)

// Drivers as Docker names them.
const (
	driverBridge = "bridge"
	driverHost   = "host"
	driverNull   = "null"
)

// Keys of network options.
const (
	optMTU      = "com.docker.network.driver.mtu"
	optMTUShort = "mtu" // podman's and nerdctl's spelling
	optHostIP   = "com.docker.network.bridge.host_binding_ipv4"

	optBridgeName    = "com.docker.network.bridge.name"
	optDefaultBridge = "com.docker.network.bridge.default_bridge"
	optICC           = "com.docker.network.bridge.enable_icc"
	optMasquerade    = "com.docker.network.bridge.enable_ip_masquerade"
	optGatewayMode4  = "com.docker.network.bridge.gateway_mode_ipv4"
	optGatewayMode6  = "com.docker.network.bridge.gateway_mode_ipv6"
)

// Bounds of a network's MTU in bytes.
const (
	// defaultMTU is Ethernet's.
	defaultMTU = 1500
	// minMTU4 is what every IPv4 link must carry (RFC 791, section 3.2).
	minMTU4 = 68
	// minMTU6 is what every IPv6 link must carry (RFC 8200, section 5).
	minMTU6 = 1280
	// maxMTU leaves room for the Ethernet header in a frame of 65535 bytes,
	// the most that the kernel's TAP takes.
	maxMTU = 65521
)

// checkOptions refuses what footbridge does not know or does not do: an option
// that is silently without effect looks like one that works.
func checkOptions(options map[string]string) error {
	// Options that have one value that is how footbridge works anyway.
	only := map[string][]string{
		optICC:           {"true", "1"},
		optMasquerade:    {"true", "1"},
		optGatewayMode4:  {"nat", ""},
		optGatewayMode6:  {"nat", ""},
		optDefaultBridge: {"false", "0"},
	}
	var fixed []string
	for _, k := range slices.Sorted(maps.Keys(only)) {
		fixed = append(fixed, k+"="+only[k][0])
	}
	keys := make([]string, 0, len(options))
	for k := range options {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		switch values, ok := only[k]; {
		case ok && !slices.Contains(values, strings.ToLower(options[k])):
			return invalid("invalid network option %s=%s: footbridge has only %s=%s", k, shown(options[k]), k, values[0])
		case ok, k == optMTU, k == optMTUShort, k == optHostIP, k == optBridgeName:
			// optBridgeName names a kernel bridge, of which there is none: the
			// answer to the creation warns of it.
		case strings.HasPrefix(k, limitPrefix): // below
		default:
			return invalid("unknown network option %q: known are %s (or %s), %s and limits (%s*), and those of Docker whose one value is how footbridge works: %s",
				k, optMTU, optMTUShort, optHostIP, limitPrefix, strings.Join(fixed, ", "))
		}
	}
	if _, err := parseLimits(options); err != nil {
		return invalid("invalid network option: %w", err)
	}
	if name, ok := options[optBridgeName]; ok && !validIfname(name) {
		return invalid("invalid network option %s=%q: it is the name of an interface, 1 to 15 letters, digits, '-', '_' and '.'", optBridgeName, name)
	}
	if v, ok := options[optHostIP]; ok {
		if a, err := netip.ParseAddr(v); err != nil || !a.Is4() {
			return invalid("invalid network option %s=%q: it is an IPv4 address of this host", optHostIP, v)
		}
	}
	return nil
}

// mtuOption returns the MTU that options ask for, checked against the families
// that the network has.
func mtuOption(options map[string]string, v6 bool) (int, error) {
	text, ok := options[optMTU]
	if !ok {
		text, ok = options[optMTUShort]
	}
	if !ok || text == "" {
		return defaultMTU, nil
	}
	mtu, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return 0, invalid("invalid MTU %q: it is a number of bytes, %d to %d", text, minMTU4, maxMTU)
	case mtu == 0:
		return defaultMTU, nil
	case mtu < minMTU4:
		return 0, invalid("invalid MTU %d: an IPv4 link carries at least %d bytes (RFC 791)", mtu, minMTU4)
	case mtu > maxMTU:
		return 0, invalid("invalid MTU %d: a frame holds at most %d bytes (65535 less the Ethernet header)", mtu, maxMTU)
	case v6 && mtu < minMTU6:
		return 0, invalid("invalid MTU %d: an IPv6 link carries at least %d bytes (RFC 8200); choose more, or a network without IPv6", mtu, minMTU6)
	}
	return mtu, nil
}

// pools makes the address pools of a network, by family.
func pools(n *NetworkDef) (v4, v6 *ipam.Pool, err error) {
	for i := range n.Subnets {
		s := &n.Subnets[i]
		p, err := ipam.NewPool(ipam.Config{Subnet: s.Prefix, Range: s.Range, Gateway: s.Gateway, Aux: s.Aux})
		if err != nil {
			return nil, nil, fmt.Errorf("network %s: %w", n.Name, err)
		}
		s.Gateway = p.Gateway()
		if s.Prefix.Addr().Is4() {
			v4 = p
		} else {
			v6 = p
		}
	}
	return v4, v6, nil
}
