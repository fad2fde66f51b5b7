package forwarder

import "net/netip"

// Stats are counters of a Forwarder or of one container.
type Stats struct {
	TCP, HalfOpen, UDP, Echo int               // flows now
	Refused                  map[string]uint64 // flows that were not let out, by reason
}

// refusal is why a flow was not let out.
type refusal int

const (
	refusedPolicy refusal = iota
	refusedHalfOpen
	refusedTCP
	refusedUDP
	refusedEcho
	refusedSocket
	refusedShare
	refusedPorts
	refusedOutbound
	numRefusals
)

var refusalNames = [numRefusals]string{
	"policy", "half_open_limit", "tcp_limit", "udp_limit", "echo_limit", "socket", "descriptor_share", "port_share",
	"outbound",
}

// refuse counts a flow that is not let out; c may be nil. The caller holds mu.
func (f *Forwarder) refuse(c *client, r refusal) {
	f.refused[r]++
	if c != nil {
		c.refused[r]++
	}
}

// Stats gives the counters of all containers, those that are gone too.
func (f *Forwarder) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Stats{UDP: len(f.mappings), Echo: len(f.pings), HalfOpen: len(f.pending), Refused: map[string]uint64{}}
	for c := range f.clients.All() {
		s.TCP += c.tcp
	}
	s.count(&f.refused)
	return s
}

// StatsOf gives the counters of the container known by address a: since
// SetLimits, or else since it last had no flow at all.
func (f *Forwarder) StatsOf(a netip.Addr) Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Stats{Refused: map[string]uint64{}}
	c := f.clients.Find(a)
	if c == nil {
		return s
	}
	s.TCP, s.HalfOpen, s.UDP, s.Echo = c.tcp, c.halfOpen, c.udp, c.echo
	s.count(&c.refused)
	return s
}

func (s *Stats) count(refused *[numRefusals]uint64) {
	for r, n := range refused {
		if n > 0 {
			s.Refused[refusalNames[r]] = n
		}
	}
}
