package netavark

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/network"
)

// Labels by which what was made for podman is found again.
const (
	LabelNetwork   = "com.footbridge.podman.network"   // id of podman's network
	LabelContainer = "com.footbridge.podman.container" // id of podman's container
)

// Options of footbridge's that podman has other words for.
const (
	optDNS        = "com.footbridge.dns"
	optDNSServers = "com.footbridge.dns.servers"
	optIfname     = "com.docker.network.endpoint.ifname"
)

// Request asks footbridge for the network.
func (n *Network) Request() (network.CreateRequest, error) {
	if err := n.checkWish(); err != nil {
		return network.CreateRequest{}, err
	}
	req := network.CreateRequest{
		Name: n.Name, Driver: "bridge", Internal: n.Internal,
		IPAM: &network.IPAM{}, Options: maps.Clone(n.Options), Labels: maps.Clone(n.Labels),
	}
	if req.Options == nil {
		req.Options = map[string]string{}
	}
	if req.Labels == nil {
		req.Labels = map[string]string{}
	}
	req.Labels[LabelNetwork] = n.ID
	delete(req.Options, optIsolate)
	delete(req.Options, optNoDefaultRoute)
	if !n.DNS {
		req.Options[optDNS] = "false"
	}
	if len(n.DNSServers) > 0 {
		servers := make([]string, len(n.DNSServers))
		for i, a := range n.DNSServers {
			servers[i] = a.String()
		}
		req.Options[optDNSServers] = strings.Join(servers, ";")
	}
	var enable4, enable6 bool
	for _, s := range n.Subnets {
		if !s.Subnet.IsValid() {
			return req, fmt.Errorf("%w: a subnet without an address", ErrInput)
		}
		req.IPAM.Config = append(req.IPAM.Config, network.IPAMConfig{Subnet: s.Subnet.Masked(), Gateway: s.Gateway})
		if s.Subnet.Addr().Is4() {
			enable4 = true
		} else {
			enable6 = true
		}
	}
	if !enable4 && !enable6 {
		return req, fmt.Errorf("network %s has no subnet: it was not made by `podman network create --driver footbridge`; remove it and make it so", n.Name)
	}
	req.EnableIPv4, req.EnableIPv6 = &enable4, &enable6
	return req, nil
}

// Endpoint is what the container is to be on the network.
func (e *Exec) Endpoint() (*network.EndpointSettings, error) {
	s := &network.EndpointSettings{
		Aliases: e.Options.Aliases, IPAMConfig: &network.EndpointIPAMConfig{},
		DriverOpts: map[string]string{},
	}
	for key, value := range e.Options.Options {
		s.DriverOpts[key] = value
	}
	s.DriverOpts[optIfname] = e.Options.Interface
	if !e.Network.DNS {
		s.Aliases = nil // podman gives each container one, and here nobody asks for names
	}
	for _, a := range e.Options.StaticIPs {
		a = a.Unmap()
		at := &s.IPAMConfig.IPv6Address
		if a.Is4() {
			at = &s.IPAMConfig.IPv4Address
		}
		if at.IsValid() {
			return nil, fmt.Errorf("addresses %v and %v: two of a family are %w: give one for IPv4 and one for IPv6", *at, a, ErrUnavailable)
		}
		*at = a
	}
	if e.Options.StaticMAC != "" {
		mac, err := net.ParseMAC(e.Options.StaticMAC)
		if err != nil {
			return nil, fmt.Errorf("%w: network_options.static_mac: %w", ErrInput, err)
		}
		s.MacAddress = network.HardwareAddr(mac)
	}
	return s, nil
}

// Status tells podman what the container got. dns are the addresses at which names are
// answered.
func (e *Exec) Status(got *network.EndpointSettings, dns []netip.Addr) StatusBlock {
	i := Interface{MAC: got.MacAddress.String(), Subnets: []Address{}}
	for _, a := range []struct {
		addr    netip.Addr
		bits    int
		gateway netip.Addr
	}{
		{got.IPAddress, got.IPPrefixLen, got.Gateway},
		{got.GlobalIPv6Address, got.GlobalIPv6PrefixLen, got.IPv6Gateway},
	} {
		if a.addr.IsValid() {
			i.Subnets = append(i.Subnets, Address{IPNet: netip.PrefixFrom(a.addr, a.bits), Gateway: a.gateway})
		}
	}
	if dns == nil {
		dns = []netip.Addr{}
	}
	return StatusBlock{
		Interfaces: map[string]Interface{e.Options.Interface: i},
		DNSServers: dns, DNSSearchDomains: []string{},
	}
}

// maxPorts is how many one host has at one address, TCP and UDP.
const maxPorts = 1 << 17

// PortMap is what is to be published, in the words of Docker's API.
//
// Errors: ErrInput.
func PortMap(mappings []PortMapping) (network.PortMap, error) {
	out := network.PortMap{}
	total := 0
	for _, m := range mappings {
		var host netip.Addr
		if m.HostIP != "" {
			var err error
			if host, err = netip.ParseAddr(m.HostIP); err != nil {
				return nil, fmt.Errorf("%w: host_ip: %w", ErrInput, err)
			}
		}
		n := max(int(m.Range), 1)
		if m.ContainerPort == 0 || m.HostPort == 0 || int(m.ContainerPort)+n > 1<<16 || int(m.HostPort)+n > 1<<16 {
			return nil, fmt.Errorf("%w: %d ports from %d on the host to %d in the container", ErrInput, n, m.HostPort, m.ContainerPort)
		}
		for proto := range strings.SplitSeq(m.Protocol, ",") {
			if total += n; total > maxPorts {
				return nil, fmt.Errorf("%w: more than %d ports", ErrInput, maxPorts)
			}
			switch proto {
			case "":
				proto = "tcp"
			case "tcp", "udp", "sctp": // the last is footbridge's to refuse
			default:
				return nil, fmt.Errorf("%w: protocol %q", ErrInput, proto)
			}
			for i := range n {
				port, ok := network.PortFrom(m.ContainerPort+uint16(i), network.IPProtocol(proto))
				if !ok {
					return nil, fmt.Errorf("%w: port %d/%s", ErrInput, int(m.ContainerPort)+i, proto)
				}
				out[port] = append(out[port], network.PortBinding{HostIP: host, HostPort: strconv.Itoa(int(m.HostPort) + i)})
			}
		}
	}
	return out, nil
}
