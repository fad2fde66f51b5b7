package portfwd

import (
	"fmt"
	"net/netip"
)

// Mapping is one published port. It can be written as JSON.
type Mapping struct {
	// Proto is "tcp" or "udp".
	Proto string
	// Host is the address to listen at, exactly. Port 0 lets the kernel
	// choose. An IPv4-mapped IPv6 address means the IPv4 address.
	Host netip.AddrPort
	// Container is where it leads, preferably in Host's family.
	Container netip.AddrPort
	// Other, if it is valid, is the container's address of the other family.
	// TCP connections go there when Container refuses them: a client that was
	// accepted on [::] does not try 0.0.0.0 any more, though many services
	// listen on IPv4 only.
	Other netip.AddrPort
	// Owner is the container's name, for the errors of others and for what its
	// clients may use up.
	Owner string
}

// plain is m without IPv4-mapped addresses.
func (m Mapping) plain() Mapping {
	m.Host, m.Container, m.Other = unmap(m.Host), unmap(m.Container), unmap(m.Other)
	return m
}

func (m Mapping) bad(format string, args ...any) error {
	return fmt.Errorf("%w: %v to %v/%s: %s", ErrMapping, m.Host, m.Container, m.Proto, fmt.Sprintf(format, args...))
}

// check says what is wrong with m on any network.
func (m Mapping) check() error {
	host := m.Host.Addr()
	switch {
	case m.Proto != "tcp" && m.Proto != "udp":
		return m.bad("protocol %q cannot be published without privileges; use tcp or udp", m.Proto)
	case !host.IsValid():
		return m.bad("no address to listen at; use 0.0.0.0 or [::] for all")
	case host.IsMulticast() || host == broadcast4:
		return m.bad("the address to listen at must be unicast")
	}
	for _, target := range m.targets() {
		to := target.Addr()
		switch {
		case !to.IsValid() || to.IsUnspecified() || to.IsMulticast() || to.IsLoopback() || to.IsLinkLocalUnicast():
			// Never the container's loopback: what listens there is private to it.
			return m.bad("the container's address on its network is needed")
		case target.Port() == 0:
			return m.bad("the container's port must be from 1 to 65535")
		}
	}
	return nil
}

func (m Mapping) targets() []netip.AddrPort {
	if m.Other.IsValid() {
		return []netip.AddrPort{m.Other, m.Container}
	}
	return []netip.AddrPort{m.Container}
}

// checkNetwork says what is wrong with m on the Forwarder's network.
func (f *Forwarder) checkNetwork(m Mapping) error {
	for _, target := range m.targets() {
		to, gateway := target.Addr(), f.gateway4
		if to.Is6() {
			gateway = f.gateway6
		}
		switch {
		case len(f.subnets) > 0 && !f.inSubnet(to):
			return m.bad("the container's address is outside of the network's subnets %v", f.subnets)
		case !gateway.IsValid():
			return m.bad("the network has no %s gateway", family(to))
		}
	}
	return nil
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
