package dhcp

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// Times of router advertisements.
const (
	// Interval is how often hosts are told that did not ask. RFC 4861 6.2.1 has half an
	// hour at most; RFC 8319 has six hours, for hosts that are better left asleep, with
	// routerLifetime, the most that its field holds.
	Interval       = 6 * time.Hour
	routerLifetime = 65535 * time.Second
	// The lifetimes of a prefix are those of RFC 4861 6.2.1.
	validLifetime     = 30 * 24 * time.Hour
	preferredLifetime = 7 * 24 * time.Hour
)

// Options of router advertisements: RFC 4861 4.6, RFC 8106 5.
const (
	raOptSource = 1
	raOptPrefix = 3
	raOptMTU    = 5
	raOptRDNSS  = 25
	raOptDNSSL  = 31

	raManaged, raOther       = 0x80, 0x40 // flags of the message
	raOnLink, raAutonomously = 0x80, 0x40 // flags of a prefix

	hopLimit = 64 // for what the host sends
	// maxSearch bounds the domains in an advertisement, in bytes: all options fit the
	// smallest MTU.
	maxSearch = 512
)

// Advertisement gives the router advertisement for those behind an endpoint, from its
// ICMPv6 header on, without a checksum; ok is false where nobody is to get one.
func (s *Server) Advertisement(endpoint packet.MAC) (message []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.endpoints[endpoint]
	if !ok || !s.opts.Gateway6.IsValid() {
		return nil, false
	}
	autonomous, managed := s.stateless(e), false
	if !autonomous {
		managed = s.opts.DHCP && (e.Addr6.IsValid() || e.Nested)
	}
	b := []byte{packet.NDRouterAdvert, 0, 0, 0, hopLimit, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if managed {
		b[5] |= raManaged
	}
	if s.opts.DHCP {
		b[5] |= raOther
	}
	if !s.opts.Internal {
		binary.BigEndian.PutUint16(b[6:], seconds16(routerLifetime))
	}
	b = append(b, raOptSource, 1)
	b = append(b, s.opts.GatewayMAC[:]...)
	b = append(b, raOptMTU, 1, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(s.opts.MTU))
	b = appendPrefix(b, s.opts.Gateway6.Masked(), autonomous)
	if dns, ok := s.dns(s.opts.DNS6, s.opts.Gateway6); ok {
		b = append(b, raOptRDNSS, 3, 0, 0)
		b = binary.BigEndian.AppendUint32(b, seconds32(routerLifetime))
		b = append(b, dns.AsSlice()...)
	}
	return appendSearch(b, e.Search), true
}

// stateless reports whether the address that a kernel makes of the prefix is one that
// those behind the endpoint may have.
func (s *Server) stateless(e Endpoint) bool {
	a, ok := e.MAC.SLAAC(s.opts.Gateway6.Masked())
	if e.Nested {
		return ok && !s.opts.Pool6.IsValid()
	}
	return ok && a == e.Addr6
}

func appendPrefix(b []byte, p netip.Prefix, autonomous bool) []byte {
	flags := byte(raOnLink)
	if autonomous {
		flags |= raAutonomously
	}
	b = append(b, raOptPrefix, 4, byte(p.Bits()), flags)
	b = binary.BigEndian.AppendUint32(b, seconds32(validLifetime))
	b = binary.BigEndian.AppendUint32(b, seconds32(preferredLifetime))
	b = append(b, 0, 0, 0, 0)
	return append(b, p.Addr().AsSlice()...)
}

// appendSearch writes domains as names of DNS (RFC 1035 3.1), without compression.
func appendSearch(b []byte, search []string) []byte {
	var names []byte
	for _, domain := range search {
		if name, _ := dnsName(domain); len(names)+len(name) <= maxSearch {
			names = append(names, name...)
		}
	}
	if len(names) == 0 {
		return b
	}
	for len(names)%8 != 0 {
		names = append(names, 0)
	}
	b = append(b, raOptDNSSL, byte(1+len(names)/8), 0, 0)
	b = binary.BigEndian.AppendUint32(b, seconds32(routerLifetime))
	return append(b, names...)
}

// dnsName writes one domain; ok is false for what is none.
func dnsName(domain string) (b []byte, ok bool) {
	for label := range strings.SplitSeq(strings.TrimSuffix(domain, "."), ".") {
		if len(label) == 0 || len(label) > 63 {
			return nil, false
		}
		b = append(b, byte(len(label)))
		b = append(b, label...)
	}
	b = append(b, 0)
	return b, len(b) <= 255
}

func seconds32(d time.Duration) uint32 { return uint32(d / time.Second) }

func seconds16(d time.Duration) uint16 { return uint16(d / time.Second) }
