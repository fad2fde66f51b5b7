package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/engine/plane"
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

	optBridgeName    = "com.docker.network.bridge.name"
	optDefaultBridge = "com.docker.network.bridge.default_bridge"
	optICC           = "com.docker.network.bridge.enable_icc"
	optMasquerade    = "com.docker.network.bridge.enable_ip_masquerade"
	optGatewayMode4  = "com.docker.network.bridge.gateway_mode_ipv4"
	optGatewayMode6  = "com.docker.network.bridge.gateway_mode_ipv6"
	optHostBinding4  = "com.docker.network.bridge.host_binding_ipv4"
	optHostBinding6  = "com.docker.network.bridge.host_binding_ipv6"
	optIfacePrefix   = "com.docker.network.container_iface_prefix"
	optOutbound4     = "com.docker.network.host_ipv4"
	optOutbound6     = "com.docker.network.host_ipv6"
	optAnnounceCount = "com.docker.network.advertise_addr_nmsgs"
	optAnnounceEvery = "com.docker.network.advertise_addr_ms"
	optEnable4       = "com.docker.network.enable_ipv4"
	optEnable6       = "com.docker.network.enable_ipv6"

	// What Docker has no word for.
	optOutboundDevice = "com.footbridge.outbound.interface"
	optHostPorts      = "com.footbridge.host.ports"
	optDNS            = "com.footbridge.dns"         // true or false
	optDNSServers     = "com.footbridge.dns.servers" // addresses, with ';' between them
	optDNSAddresses   = "com.footbridge.dns.addresses"
	optDHCP           = "com.footbridge.dhcp"
	optDHCPRange      = "com.footbridge.dhcp.range" // prefixes, with ';' between them
	optRA             = "com.footbridge.ra"
	optSplice         = "com.footbridge.publish.splice"
	optIPRange        = "com.footbridge.ip-range" // FIRST-LAST, with ';' between those of two families
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

// netOptions are a network's options as what they mean.
type netOptions struct {
	mtu          int // bytes; 0 = not given
	rules        plane.Rules
	ifacePrefix  string // "" = eth
	host4, host6 netip.Addr
	noDNS        bool
	servers      []netip.AddrPort // asked instead of the host's resolvers
	// enable4 and enable6 say whether the network has the family, where neither the
	// request nor its subnets do.
	enable4, enable6 *bool
	ranges           []addrRange // at most one a family
}

// addrRange is addresses from first to last.
type addrRange struct{ first, last netip.Addr }

func (r addrRange) String() string { return r.first.String() + "-" + r.last.String() }

// isolated reports whether the gateway has no address of a family.
func (o *netOptions) isolated(is4 bool) bool {
	if is4 {
		return o.rules.Mode4 == plane.ModeIsolated
	}
	return o.rules.Mode6 == plane.ModeIsolated
}

// kept is the prefix of a family that the address management leaves to DHCP; zero =
// none.
func (o *netOptions) kept(is4 bool) netip.Prefix {
	if is4 {
		return o.rules.DHCP.Range4
	}
	return o.rules.DHCP.Range6
}

// netOption reads one option into o.
type netOption func(o *netOptions, value string) error

// knownOptions are a network's options by key. What is not there is refused: an
// option that is silently without effect looks like one that works.
var knownOptions = map[string]netOption{
	optMTU:      readMTU,
	optMTUShort: readMTU,
	// It names a kernel bridge, of which there is none: the answer to the creation
	// warns of it.
	optBridgeName: func(_ *netOptions, v string) error {
		if !validIfname(v) {
			return fmt.Errorf("it is the name of an interface, 1 to 15 letters, digits, '-', '_' and '.'")
		}
		return nil
	},
	optDefaultBridge: onlyBool(false, "the default network is there already"),
	optICC:           readBool(func(o *netOptions, on bool) { o.rules.NoICC = !on }),
	optMasquerade:    onlyBool(true, "containers without root reach the outside by addresses of the host only"),
	optGatewayMode4:  func(o *netOptions, v string) (err error) { o.rules.Mode4, err = readMode(v); return err },
	optGatewayMode6:  func(o *netOptions, v string) (err error) { o.rules.Mode6, err = readMode(v); return err },
	optHostBinding4:  readAddr(func(o *netOptions) *netip.Addr { return &o.host4 }, true),
	optHostBinding6:  readAddr(func(o *netOptions) *netip.Addr { return &o.host6 }, false),
	optOutbound4:     readAddr(func(o *netOptions) *netip.Addr { return &o.rules.Outbound.Addr4 }, true),
	optOutbound6:     readAddr(func(o *netOptions) *netip.Addr { return &o.rules.Outbound.Addr6 }, false),
	optIfacePrefix: func(o *netOptions, v string) error {
		// Room for a number of two digits.
		if v == "" || !validIfname(v+"99") || v == "lo" {
			return fmt.Errorf("it begins the names of interfaces: 1 to 13 letters, digits, '-', '_' and '.', and not lo")
		}
		o.ifacePrefix = v
		return nil
	},
	optOutboundDevice: func(o *netOptions, v string) error {
		if !validIfname(v) {
			return fmt.Errorf("it is the name of an interface of this host")
		}
		o.rules.Outbound.Device = v
		return nil
	},
	optAnnounceCount: func(o *netOptions, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || n > 3 {
			return fmt.Errorf("it is the number of messages, 0 to 3")
		}
		o.rules.Announce.Messages, o.rules.Announce.Off = n, n == 0
		return nil
	},
	optAnnounceEvery: func(o *netOptions, v string) error {
		ms, err := strconv.Atoi(v)
		if err != nil || ms < 100 || ms > 2000 {
			return fmt.Errorf("it is the time between two messages, 100 to 2000 milliseconds")
		}
		o.rules.Announce.Interval = time.Duration(ms) * time.Millisecond
		return nil
	},
	optHostPorts: func(o *netOptions, v string) (err error) { o.rules.HostPorts, err = readPorts(v); return err },
	optSplice:    readBool(func(o *netOptions, on bool) { o.rules.NoSplice = !on }),
	optDNS:       readBool(func(o *netOptions, on bool) { o.noDNS = !on }),
	optDNSServers: func(o *netOptions, v string) error {
		for word := range words(v) {
			a, err := netip.ParseAddr(word)
			if err != nil || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() {
				return fmt.Errorf("%q is not an address of a server", word)
			}
			o.servers = append(o.servers, netip.AddrPortFrom(a, 53))
		}
		if len(o.servers) == 0 || len(o.servers) > maxDNSServers {
			return fmt.Errorf("it is a list of 1 to %d addresses, with ';' between them", maxDNSServers)
		}
		return nil
	},
	optDNSAddresses: func(o *netOptions, v string) error {
		for word := range words(v) {
			a, err := netip.ParseAddr(word)
			if err != nil || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == broadcast {
				return fmt.Errorf("%q is not an address that a gateway can answer at", word)
			}
			if !slices.Contains(o.rules.DNS.More, a) {
				o.rules.DNS.More = append(o.rules.DNS.More, a)
			}
		}
		if len(o.rules.DNS.More) == 0 || len(o.rules.DNS.More) > maxDNSServers {
			return fmt.Errorf("it is a list of 1 to %d addresses, with ';' between them", maxDNSServers)
		}
		return nil
	},
	optEnable4: readBool(func(o *netOptions, on bool) { o.enable4 = &on }),
	optEnable6: readBool(func(o *netOptions, on bool) { o.enable6 = &on }),
	optIPRange: func(o *netOptions, v string) error {
		for word := range words(v) {
			r, err := parseAddrRange(word)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(o.ranges, func(other addrRange) bool { return other.first.Is4() == r.first.Is4() }) {
				return fmt.Errorf("it has at most one range a family")
			}
			o.ranges = append(o.ranges, r)
		}
		if len(o.ranges) == 0 {
			return fmt.Errorf("it is FIRST-LAST, two addresses")
		}
		return nil
	},
	optDHCP: readBool(func(o *netOptions, on bool) { o.rules.DHCP.On = on }),
	optRA:   readBool(func(o *netOptions, on bool) { o.rules.RA = on }),
	optDHCPRange: func(o *netOptions, v string) error {
		for word := range words(v) {
			p, err := netip.ParsePrefix(word)
			if err != nil || p != p.Masked() || p.Addr().Is4In6() {
				return fmt.Errorf("%q is not a prefix", word)
			}
			r := &o.rules.DHCP.Range6
			if p.Addr().Is4() {
				r = &o.rules.DHCP.Range4
			}
			if r.IsValid() {
				return fmt.Errorf("it has at most one prefix a family")
			}
			*r = p
		}
		if o.rules.DHCP.Range4 == o.rules.DHCP.Range6 { // both are none
			return fmt.Errorf("it is a part of the subnet, as in 10.0.0.128/25")
		}
		return nil
	},
}

// maxDNSServers is what resolv.conf holds (resolv.h, MAXNS).
const maxDNSServers = 3

// parseOptions reads a network's options. The error names the option, its value and
// what it may be.
func parseOptions(options map[string]string) (netOptions, error) {
	var o netOptions
	for _, k := range slices.Sorted(maps.Keys(options)) {
		if strings.HasPrefix(k, limitPrefix) { // below
			continue
		}
		read, ok := knownOptions[k]
		if !ok {
			return o, invalid("unknown network option %q: known are %s and limits (%s*)",
				k, strings.Join(slices.Sorted(maps.Keys(knownOptions)), ", "), limitPrefix)
		}
		if err := read(&o, options[k]); err != nil {
			return o, invalid("invalid network option %s=%s: %w", k, shown(options[k]), err)
		}
	}
	if long, short := options[optMTU], options[optMTUShort]; long != "" && short != "" && long != short {
		return o, invalid("conflicting options: %s=%s and %s=%s mean the same: give one of them", optMTU, shown(long), optMTUShort, shown(short))
	}
	if _, err := parseLimits(options); err != nil {
		return o, invalid("invalid network option: %w", err)
	}
	return o, nil
}

// options are n's, which were checked when it was made: what another version wrote
// and this one does not know has no effect.
func (n *NetworkDef) options() netOptions {
	known := maps.Clone(n.Options)
	maps.DeleteFunc(known, func(k, v string) bool {
		read, ok := knownOptions[k]
		return !ok || read(&netOptions{}, v) != nil
	})
	o, _ := parseOptions(known)
	return o
}

func words(list string) func(yield func(string) bool) {
	return strings.FieldsFuncSeq(list, func(r rune) bool { return r == ';' || r == ',' || r == ' ' })
}

func readBool(set func(*netOptions, bool)) netOption {
	return func(o *netOptions, v string) error {
		on, err := strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("it is true or false")
		}
		set(o, on)
		return nil
	}
}

// onlyBool is an option with one value that footbridge can keep.
func onlyBool(want bool, why string) netOption {
	return func(_ *netOptions, v string) error {
		on, err := strconv.ParseBool(v)
		switch {
		case err != nil:
			return fmt.Errorf("it is true or false")
		case on != want:
			return fmt.Errorf("it can be %v only: %s", want, why)
		}
		return nil
	}
}

// broadcast is nobody's address (RFC 919, section 7).
var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func readAddr(field func(*netOptions) *netip.Addr, is4 bool) netOption {
	return func(o *netOptions, v string) error {
		a, err := netip.ParseAddr(v)
		switch {
		case err != nil || a.Is4() != is4 || !mayBeHost(a):
			if is4 {
				return fmt.Errorf("it is an IPv4 address of this host")
			}
			return fmt.Errorf("it is an IPv6 address of this host")
		}
		*field(o) = a
		return nil
	}
}

func readMode(v string) (plane.Mode, error) {
	switch v {
	case "nat":
		return plane.ModeNAT, nil
	case "nat-unprotected":
		return plane.ModeNATUnprotected, nil
	case "isolated":
		return plane.ModeIsolated, nil
	case "routed":
		return "", fmt.Errorf("containers' addresses are routed by the host's kernel, which takes root: choose nat or nat-unprotected, or reach containers by `footbridge proxy`")
	}
	return "", fmt.Errorf("unknown gateway mode %s: it is nat, nat-unprotected or isolated", shown(v))
}

// parseAddrRange reads "10.0.0.10-10.0.0.20".
func parseAddrRange(word string) (r addrRange, err error) {
	first, last, ok := strings.Cut(word, "-")
	var ferr, lerr error
	r.first, ferr = netip.ParseAddr(first)
	r.last, lerr = netip.ParseAddr(last)
	switch {
	case !ok || ferr != nil || lerr != nil || r.first.Is4() != r.last.Is4() || r.first.Is4In6() || r.last.Is4In6() || r.first.Zone()+r.last.Zone() != "":
		return addrRange{}, fmt.Errorf("%q is not FIRST-LAST, two addresses of one family", word)
	case r.last.Less(r.first):
		return addrRange{}, fmt.Errorf("%v ends before it begins", r)
	}
	return r, nil
}

// readPorts reads "8080;9000-9010;514/udp".
func readPorts(v string) ([]plane.PortRange, error) {
	var out []plane.PortRange
	for word := range words(v) {
		ports, proto, ok := strings.Cut(word, "/")
		if !ok {
			proto = "tcp"
		}
		first, last, ok := strings.Cut(ports, "-")
		if !ok {
			last = first
		}
		a, aerr := strconv.ParseUint(first, 10, 16)
		b, berr := strconv.ParseUint(last, 10, 16)
		if aerr != nil || berr != nil || a == 0 || b < a || (proto != "tcp" && proto != "udp") {
			return nil, fmt.Errorf("%q is not PORT[-PORT][/tcp|udp]", word)
		}
		if a <= dnsPort && dnsPort <= b {
			return nil, fmt.Errorf("%q: port 53 of the gateway is the containers' name server; for another one give %s", word, optDNSServers)
		}
		out = append(out, plane.PortRange{Proto: proto, First: uint16(a), Last: uint16(b)})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("it is a list of ports, with ';' between them")
	}
	return out, nil
}

func readMTU(o *netOptions, text string) error {
	if text == "" {
		return nil
	}
	mtu, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return fmt.Errorf("invalid MTU %q: it is a number of bytes, %d to %d", text, minMTU4, maxMTU)
	case mtu == 0:
	case mtu < minMTU4:
		return fmt.Errorf("invalid MTU %d: an IPv4 link carries at least %d bytes (RFC 791)", mtu, minMTU4)
	case mtu > maxMTU:
		return fmt.Errorf("invalid MTU %d: a frame holds at most %d bytes (65535 less the Ethernet header)", mtu, maxMTU)
	}
	o.mtu = mtu
	return nil
}
