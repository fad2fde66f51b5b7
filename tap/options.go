package tap

import (
	"fmt"
	"net/netip"
	"strings"
)

// Limits of the kernel and of the helper's message.
const (
	// MaxFrame is the length in bytes of the longest frame that ReadFrame gives: an
	// IP packet of 65,535 bytes, the Ethernet header, and a VLAN tag.
	MaxFrame = 65535 + 14 + 4
	// HeaderSize is the length of the virtio header before every frame, in bytes.
	HeaderSize = 10

	minMTU4   = 68         // RFC 791
	minMTU6   = 1280       // RFC 8200, section 5
	maxMTU    = 65535 - 14 // drivers/net/tun.c: MAX_MTU less the Ethernet header
	maxName   = 15         // IFNAMSIZ less the terminating zero
	maxQueues = 64         // the kernel takes 256; one message carries 253 descriptors
	maxList   = 256        // addresses, sysctls, neighbours: each
	maxOnLink = 8          // routes to single addresses
)

// LinkOptions say what the interface in the container is to be.
type LinkOptions struct {
	Name      string         // at most 15 bytes
	MAC       [6]byte        // zero: the kernel's choice
	MTU       int            // bytes; 0: 1500
	Addresses []netip.Prefix // the container's addresses, with their subnets' lengths

	// Default routes. Zero: none over this interface.
	Gateway4, Gateway6 netip.Addr

	// OnLink are addresses outside of the subnets that are reached over this interface
	// without a gateway. Other interfaces may have routes to them too.
	OnLink []netip.Addr

	DisableIPv6 bool // no IPv6 on this interface, not even link-local addresses
	Queues      int  // 0: 1
	TxQueueLen  int  // frames per queue that wait for the reader; 0: the kernel's 1000

	// Sysctls below net, in dots or slashes: net.ipv4.conf.eth0.forwarding. The
	// element IFNAME stands for Name. They are set before the interface is up.
	Sysctls map[string]string

	// Neighbors that never need to be asked for.
	Neighbors []Neighbor

	// Guest says that the namespace is somebody else's: only settings of the interface
	// itself are changed.
	Guest bool

	// Bare says that others set the interface up, bring it up and move it elsewhere: it gets its
	// MAC and MTU alone. Unless Existing is Refuse one that is there is taken, by its MAC under
	// any name, and none is made.
	Bare bool

	// Existing says what becomes of an interface that is there already.
	Existing Existing
}

// Existing is what Attach changes of an interface that it finds.
type Existing string

const (
	// Configure makes it all that the options say.
	Configure Existing = ""
	// Keep changes nothing: its container has it as it was made, and may have given
	// it further addresses, another MTU, or a bridge above it.
	Keep Existing = "keep"
	// Reroute changes the default routes, and nothing else; but IPv6 addresses that the kernel
	// removed when the interface was taken down are given back where a route needs them.
	Reroute Existing = "reroute"
	// Refuse makes it an error, ErrExists: in a namespace that others made it is theirs.
	Refuse Existing = "refuse"
)

// A Neighbor is an address on the link whose MAC is known.
type Neighbor struct {
	Addr netip.Addr
	MAC  [6]byte
}

// complete checks o and fills in defaults. Errors wrap ErrOptions.
func (o LinkOptions) complete() (LinkOptions, error) {
	bad := func(format string, args ...any) (LinkOptions, error) {
		return o, fmt.Errorf("tap: interface %q: %w: %s", o.Name, ErrOptions, fmt.Sprintf(format, args...))
	}
	if err := checkName(o.Name); err != nil {
		return o, err
	}
	if o.MAC[0]&1 != 0 {
		return bad("MAC address %x is a group's", o.MAC)
	}
	if o.MTU == 0 {
		o.MTU = 1500
	}
	if o.MTU < minMTU4 || o.MTU > maxMTU {
		return bad("MTU %d is not in %d-%d", o.MTU, minMTU4, maxMTU)
	}
	if !o.DisableIPv6 && o.MTU < minMTU6 {
		return bad("IPv6 needs an MTU of %d, not %d; disable IPv6 or raise it", minMTU6, o.MTU)
	}
	if o.Queues == 0 {
		o.Queues = 1
	}
	if o.Queues < 1 || o.Queues > maxQueues {
		return bad("%d queues are not 1-%d", o.Queues, maxQueues)
	}
	if o.Existing != Configure && o.Existing != Keep && o.Existing != Reroute && o.Existing != Refuse {
		return bad("%q is nothing to do with one that is there", string(o.Existing))
	}
	if o.TxQueueLen < 0 {
		return bad("queue length %d is negative", o.TxQueueLen)
	}
	if o.Bare && (o.MAC == [6]byte{} || len(o.Addresses)+len(o.Sysctls)+len(o.Neighbors)+len(o.OnLink) > 0 || o.Gateway4.IsValid() || o.Gateway6.IsValid()) {
		return bad("a bare one has a MAC address, and nothing beside it")
	}
	if len(o.Addresses) > maxList || len(o.Sysctls) > maxList || len(o.Neighbors) > maxList {
		return bad("more than %d addresses, sysctls or neighbours", maxList)
	}
	for _, p := range o.Addresses {
		switch {
		case !p.IsValid() || !usable(p.Addr()):
			return bad("address %s cannot be an interface's", p)
		case p.Addr().Is6() && o.DisableIPv6:
			return bad("address %s, but IPv6 is disabled", p)
		}
	}
	if g := o.Gateway4; g.IsValid() && (!g.Is4() || !usable(g)) {
		return bad("IPv4 gateway %s", g)
	}
	if g := o.Gateway6; g.IsValid() && (!g.Is6() || !usable(g) || g.Zone() != "") {
		return bad("IPv6 gateway %s", g)
	}
	if o.Gateway6.IsValid() && o.DisableIPv6 {
		return bad("IPv6 gateway %s, but IPv6 is disabled", o.Gateway6)
	}
	if len(o.OnLink) > maxOnLink {
		return bad("more than %d routes", maxOnLink)
	}
	for _, a := range o.OnLink {
		if !usable(a) || a.Zone() != "" || a.Is6() && o.DisableIPv6 {
			return bad("route to %s", a)
		}
	}
	for _, n := range o.Neighbors {
		if !usable(n.Addr) || n.MAC == [6]byte{} || n.MAC[0]&1 != 0 {
			return bad("neighbour %s at %x", n.Addr, n.MAC)
		}
	}
	for key := range o.Sysctls {
		if _, err := sysctlPath(key, o.Name); err != nil {
			return bad("%v", err)
		}
	}
	return o, nil
}

// usable reports whether a may be one host's address.
func usable(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
}

// checkName is dev_valid_name of the kernel, and no patterns ("eth%d"), which
// TUNSETIFF would expand.
func checkName(name string) error {
	if name == "" || len(name) > maxName || name == "." || name == ".." || name == "lo" || name == "all" || name == "default" ||
		strings.ContainsAny(name, "/:%") || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return fmt.Errorf("tap: interface %q: %w: the name must be 1-%d visible ASCII characters without / : and %%, and not lo, all or default",
			name, ErrOptions, maxName)
	}
	return nil
}

// sysctlPath is the file of a sysctl below net. As with sysctl(8), the first
// separator decides: in net/ipv4/conf/eth0.5/forwarding dots belong to names, in
// the dotted form slashes do.
func sysctlPath(key, ifname string) (string, error) {
	path := key
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '.' {
		path = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, key)
	}
	parts := strings.Split(path, "/")
	if len(parts) < 3 || parts[0] != "net" {
		return "", fmt.Errorf("sysctl %q is not one of a network namespace (net.*)", key)
	}
	for i, part := range parts {
		if part == "" || part == "." || part == ".." || strings.ContainsRune(part, 0) {
			return "", fmt.Errorf("sysctl %q is not a name", key)
		}
		if part == "IFNAME" {
			parts[i] = ifname
		}
	}
	return strings.Join(parts, "/"), nil
}
