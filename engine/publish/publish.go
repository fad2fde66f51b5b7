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
	Port  network.Port // the container's
	Hosts []netip.Addr // at least one
	// First and Last bound the host's port; the first free one is taken. Both
	// zero: any free one.
	First, Last uint16
}

// Options of Requests.
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
// port never takes one that was asked for. Errors wrap ErrSpec.
func Requests(o Options) ([]Request, error) {
	var out []Request
	add := func(port network.Port, b network.PortBinding) error {
		r := Request{Port: port}
		if err := check(port); err != nil {
			return err
		}
		var err error
		if r.First, r.Last, err = HostPorts(b.HostPort); err != nil {
			return fmt.Errorf("container port %v: %w", port, err)
		}
		switch ip := b.HostIP.Unmap(); {
		case !b.HostIP.IsValid():
			r.Hosts = slices.Clone(o.Default)
		case ip.IsMulticast():
			return fmt.Errorf("%w: container port %v: host address %v is a multicast group; give an address of this host", ErrSpec, port, ip)
		default:
			r.Hosts = []netip.Addr{ip}
		}
		out = append(out, r)
		if len(out) > maxRequests {
			return fmt.Errorf("%w: more than %d published ports; publish fewer", ErrSpec, maxRequests)
		}
		return nil
	}
	for _, port := range sortedPorts(o.Bindings) {
		bindings := o.Bindings[port]
		if len(bindings) == 0 { // Docker's shape of "-p 80"
			bindings = []network.PortBinding{{}}
		}
		for _, b := range bindings {
			if err := add(port, b); err != nil {
				return nil, err
			}
		}
	}
	if o.All {
		for _, port := range sortedPorts(o.Exposed) {
			if _, ok := o.Bindings[port]; ok {
				continue
			}
			if err := add(port, network.PortBinding{}); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Request) int { return cmp.Compare(a.freedom(), b.freedom()) })
	return out, nil
}

// freedom says how many host ports would do.
func (r Request) freedom() int {
	if r.First == 0 {
		return 1 << 16
	}
	return int(r.Last) - int(r.First)
}

func check(port network.Port) error {
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
