package publish

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/network"
)

// ErrSpec: what was asked for cannot be published.
var ErrSpec = errors.New("invalid port specification")

// Request is one published port: on every address of Hosts, with the same host
// port.
type Request struct {
	ID
	Hosts []netip.Addr // at least one
	// First and Last bound the host's port; the first free one is taken. Both
	// zero: any free one.
	First, Last uint16
}

// ID is what was asked for, which tells a container's requests apart.
type ID struct {
	Port  network.Port        // the container's
	Asked network.PortBinding // of the host, in the form of Plain
}

// Options of Requests: what a container publishes.
type Options struct {
	Bindings network.PortMap
	Exposed  network.PortSet
	All      bool // publish every exposed port that Bindings does not name
	// Default are the addresses for a binding that names none.
	Default []netip.Addr
}

// maxRequests bounds what one container may publish: every request is at least
// one open file of the daemon.
const maxRequests = 4096

// Requests lists what is to be published, in a fixed order: by container port,
// then as given, fixed host ports before ranges and random ones, so that a random
// port never takes one that was asked for. What was asked for twice is there once.
// Errors wrap ErrSpec.
func Requests(o Options) ([]Request, error) {
	var out []Request
	for _, port := range sortedPorts(o.published()) {
		first := len(out)
		for _, b := range o.bindings(port) {
			r, err := request(port, b, o.Default)
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(out[first:], func(other Request) bool { return other.ID == r.ID }) {
				continue
			}
			if out = append(out, r); len(out) > maxRequests {
				return nil, fmt.Errorf("%w: more than %d published ports; publish fewer", ErrSpec, maxRequests)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Request) int { return cmp.Compare(a.freedom(), b.freedom()) })
	return out, nil
}

// published are the container's ports that are published.
func (o Options) published() network.PortSet {
	out := network.PortSet{}
	for p := range o.Bindings {
		out[p] = struct{}{}
	}
	if o.All {
		for p := range o.Exposed {
			out[p] = struct{}{}
		}
	}
	return out
}

// publishes: the port is one of them.
func (o Options) publishes(p network.Port) bool {
	_, bound := o.Bindings[p]
	_, exposed := o.Exposed[p]
	return bound || o.All && exposed
}

// bindings are those of a port that is published.
func (o Options) bindings(p network.Port) []network.PortBinding {
	if bs := o.Bindings[p]; len(bs) > 0 {
		return bs
	}
	return []network.PortBinding{{}} // Docker's shape of "-p 80", and what -P does
}

func request(port network.Port, b network.PortBinding, byDefault []netip.Addr) (r Request, err error) {
	if err := checkPort(port); err != nil {
		return r, err
	}
	if b, err = Plain(b); err != nil {
		return r, fmt.Errorf("container port %v: %w", port, err)
	}
	r = Request{ID: ID{port, b}, Hosts: []netip.Addr{b.HostIP}}
	if !b.HostIP.IsValid() {
		r.Hosts = slices.Clone(byDefault)
	}
	r.First, r.Last, err = HostPorts(b.HostPort)
	return r, err
}

// Plain writes a binding in the one form that all with the same meaning have: no
// IPv4-mapped address, no "0" for any port, no range of one port.
func Plain(b network.PortBinding) (network.PortBinding, error) {
	first, last, err := HostPorts(b.HostPort)
	if err != nil {
		return b, err
	}
	if err := checkHost(b.HostIP); err != nil {
		return b, err
	}
	b.HostIP = b.HostIP.Unmap()
	switch {
	case first == 0:
		b.HostPort = ""
	case first == last:
		b.HostPort = strconv.Itoa(int(first))
	default:
		b.HostPort = fmt.Sprintf("%d-%d", first, last)
	}
	return b, nil
}

// freedom says how many host ports would do.
func (r Request) freedom() int {
	if r.First == 0 {
		return 1 << 16
	}
	return int(r.Last) - int(r.First)
}

func checkPort(port network.Port) error {
	switch {
	case !port.IsValid() || port.Num() == 0:
		return fmt.Errorf("%w: container port %v: ports are 1-65535", ErrSpec, port)
	case port.Proto() == network.SCTP:
		return fmt.Errorf("%w: container port %v: SCTP cannot be published: the gateway carries TCP and UDP only; publish tcp or udp", ErrSpec, port)
	case port.Proto() != network.TCP && port.Proto() != network.UDP:
		return fmt.Errorf("%w: container port %v: protocol %q is not known; publish tcp or udp", ErrSpec, port, port.Proto())
	}
	return nil
}

// checkHost refuses addresses that nothing can listen at. Which ones the host has
// is found out when it is tried.
func checkHost(a netip.Addr) error {
	local6 := a.Is6() && !a.Is4In6() && a.IsLinkLocalUnicast()
	switch {
	case !a.IsValid():
		return nil
	case a.IsMulticast():
		return fmt.Errorf("%w: host address %v is a multicast group; give an address of this host", ErrSpec, a)
	case local6 && a.Zone() == "":
		return fmt.Errorf("%w: host address %v is one on every link; name its interface: %v%%eth0", ErrSpec, a, a)
	case !local6 && a.Zone() != "":
		return fmt.Errorf("%w: host address %v: only link-local addresses have an interface; give an address of interface %s", ErrSpec, a.WithZone(""), a.Zone())
	}
	return nil
}

// HostPorts parses the host's side of a binding: "", "8000" or "8000-8010".
// Empty and "0" mean any free port: 0, 0.
func HostPorts(s string) (first, last uint16, err error) {
	if s == "" || s == "0" {
		return 0, 0, nil
	}
	low, high, isRange := strings.Cut(s, "-")
	if first, err = number(low); err == nil {
		last = first
		if isRange {
			last, err = number(high)
		}
	}
	switch {
	case err != nil:
		return 0, 0, fmt.Errorf("%w: host port %q: it is a port (8000), a range (8000-8010) or nothing", ErrSpec, s)
	case first > last:
		return 0, 0, fmt.Errorf("%w: host port %q: the range ends before it begins", ErrSpec, s)
	}
	return first, last, nil
}

func number(s string) (uint16, error) {
	if s == "" || strings.Trim(s, "0123456789") != "" { // no sign, no space, no underscore
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err == nil && n == 0 {
		err = strconv.ErrRange
	}
	return uint16(n), err
}

func sortedPorts[V any](m map[network.Port]V) []network.Port {
	ports := make([]network.Port, 0, len(m))
	for p := range m {
		ports = append(ports, p)
	}
	slices.SortFunc(ports, func(a, b network.Port) int {
		return cmp.Or(cmp.Compare(a.Num(), b.Num()), cmp.Compare(a.Proto(), b.Proto()))
	})
	return ports
}
