package plane

import (
	"maps"
	"strings"

	"github.com/footbridge-net/footbridge/forwarder"
)

// Stats are counters by name in snake_case.
type Stats struct {
	Network map[string]uint64
	Ports   map[string]map[string]uint64 // by the container's name
}

// Stats reads the counters, each by itself.
func (p *Plane) Stats() Stats {
	s := Stats{Network: map[string]uint64{}, Ports: map[string]map[string]uint64{}}
	for _, port := range p.net.Stats().Ports {
		c := map[string]uint64{
			"rx_frames": port.RxFrames, "rx_bytes": port.RxBytes,
			"tx_frames": port.TxFrames, "tx_bytes": port.TxBytes,
			"fragment_datagrams": uint64(port.FragmentDatagrams), "fragment_bytes": uint64(port.FragmentBytes),
		}
		for name, n := range map[string]int{"cross_tcp_flows": port.CrossTCP, "cross_udp_flows": port.CrossUDP, "cross_echo_flows": port.CrossEcho} {
			if n > 0 {
				c[name] = uint64(n)
			}
		}
		if port.Stations > 0 {
			c["stations"] = uint64(port.Stations)
		}
		for reason, n := range port.Drops {
			c["drop_"+reason] = n
		}
		for name, n := range c {
			s.Network[name] += n
		}
		if s.Ports[port.Name] == nil {
			s.Ports[port.Name] = map[string]uint64{}
		}
		maps.Copy(s.Ports[port.Name], c)
	}
	p.countFlows(s.Ports)
	d := p.dns.Stats()
	maps.Copy(s.Network, map[string]uint64{
		"dns_queries": d.Queries, "dns_names": d.Names, "dns_forwarded": d.Forwarded,
		"dns_failed": d.Failed, "dns_refused": d.Refused, "dns_malformed": d.Malformed,
	})
	if p.out != nil {
		addFlows(s.Network, p.out.Stats())
	}
	if p.in != nil {
		stock := p.in.StockStats()
		s.Network["published_sockets_idle"] = uint64(stock.Idle)
		s.Network["published_sockets_used"] = uint64(stock.Used)
		for _, l := range p.in.Listeners() {
			st := l.Stats()
			s.Network["published_ports"]++
			s.Network["published_tcp_flows"] += uint64(st.Active)
			s.Network["published_tcp_connections"] += st.Connections
			s.Network["published_tcp_spliced"] += st.Spliced
			s.Network["published_udp_flows"] += uint64(st.Flows)
			s.Network["published_udp_datagrams"] += st.DatagramsIn + st.DatagramsOut
		}
	}
	return s
}

// countFlows adds each container's flows to the outside, and those that were not let
// out or, at published ports, in, to its counters.
func (p *Plane) countFlows(ports map[string]map[string]uint64) {
	p.mu.Lock()
	owners := maps.Clone(p.owners)
	p.mu.Unlock()
	for a, name := range owners {
		c := ports[name]
		if c == nil {
			continue
		}
		asked := p.dns.StatsOf(a)
		c["dns_under_way"] = uint64(asked.Forwards)
		c["refused_dns"] = asked.Refused
		if p.out != nil {
			addFlows(c, p.out.StatsOf(a))
		}
		if p.in != nil {
			for reason, n := range p.in.Refused(a) {
				c["refused_published_"+reason] = n
			}
		}
	}
}

func addFlows(counters map[string]uint64, f forwarder.Stats) {
	maps.Copy(counters, map[string]uint64{
		"tcp_flows": uint64(f.TCP), "tcp_half_open": uint64(f.HalfOpen), "udp_flows": uint64(f.UDP), "echo_flows": uint64(f.Echo),
	})
	for reason, n := range f.Refused {
		counters["refused_"+strings.ReplaceAll(reason, "-", "_")] = n
	}
}
