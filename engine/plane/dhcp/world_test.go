package dhcp

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// A network with two containers: a, which has nothing behind it, and b, behind which there
// are machines.
var (
	gw4, gw6 = netip.MustParsePrefix("172.18.0.1/24"), netip.MustParsePrefix("fd00:1::1/64")
	gwMAC    = packet.MACFromIPv4(gw4.Addr())

	aMAC, bMAC   = packet.MAC{0x02, 0x42, 172, 18, 0, 2}, packet.MAC{0x02, 0x42, 172, 18, 0, 3}
	a4, b4       = netip.MustParseAddr("172.18.0.2"), netip.MustParseAddr("172.18.0.3")
	a6, b6       = netip.MustParseAddr("fd00:1::42:acff:fe12:2"), netip.MustParseAddr("fd00:1::3")
	pool4, pool6 = netip.MustParsePrefix("172.18.0.64/28"), netip.MustParsePrefix("fd00:1::1:0/112")
	local        = netip.MustParseAddr("fe80::1234")
)

func options() Options {
	return Options{
		Gateway4: gw4, Gateway6: gw6, GatewayMAC: gwMAC, LinkLocal: gwMAC.LinkLocal(), MTU: 1400, DHCP: true,
		Pool4: pool4, Pool6: pool6,
	}
}

// world is a server with the two containers, and what its switch remembers.
type world struct {
	t testing.TB
	*Server
	lent  map[netip.Addr]packet.MAC
	taken map[netip.Addr]bool // by stations that nobody knows of
}

func newWorld(t testing.TB, o Options) *world {
	w := &world{t: t, Server: New(o), lent: map[netip.Addr]packet.MAC{}, taken: map[netip.Addr]bool{}}
	w.Add(Endpoint{MAC: aMAC, Addr4: a4, Addr6: a6, Hostname: "alice", Search: []string{"example.test", "not..a.domain"}})
	w.Add(Endpoint{MAC: bMAC, Addr4: b4, Addr6: b6, Hostname: "bob", Nested: true})
	return w
}

func (w *world) Free(m packet.MAC, a netip.Addr) bool {
	owner, ok := w.lent[a]
	return !w.taken[a] && (!ok || owner == m) && a != pool4.Addr() // as if it were the subnet's own
}

func (w *world) Lend(m packet.MAC, a netip.Addr, until time.Time) {
	if until.Before(time.Now()) {
		w.t.Errorf("%s lent to %s until %s", a, m, until)
	}
	w.lent[a] = m
}

func (w *world) TakeBack(m packet.MAC, a netip.Addr) {
	if w.lent[a] == m {
		delete(w.lent, a)
	}
}

// machine is the n-th behind b.
func machine(n int) packet.MAC { return packet.MAC{0x52, 0x54, 0, 0, byte(n >> 8), byte(n)} }

// ask4 asks as the station behind the endpoint does; nil = no answer.
func (w *world) ask4(endpoint, station packet.MAC, src netip.Addr, change ...dhcpv4.Modifier) (*dhcpv4.DHCPv4, Answer) {
	w.t.Helper()
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(net.HardwareAddr(station[:]))}, change...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	a, ok := w.DHCPv4(Question{Endpoint: endpoint, Station: station, Src: src, Message: m.ToBytes(), Stations: w})
	if !ok {
		return nil, a
	}
	if a.Src != netip.AddrPortFrom(gw4.Addr(), 67) || a.Dst.Port() != 68 {
		w.t.Errorf("the answer is from %s to %s", a.Src, a.Dst)
	}
	r, err := dhcpv4.FromBytes(a.Message)
	if err != nil {
		w.t.Fatalf("%x: %v", a.Message, err)
	}
	if r.TransactionID != m.TransactionID || packet.MAC(r.ClientHWAddr) != station || len(a.Message) < 300 || len(a.Message) > 548 {
		w.t.Errorf("the answer is %s, %d bytes", r.Summary(), len(a.Message))
	}
	return r, a
}

func discover(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeDiscover)) }
func request(m *dhcpv4.DHCPv4)  { m.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeRequest)) }

// wanting asks for an address, has says that the client has one.
func wanting(a netip.Addr) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(a.AsSlice()))
}
func has(a netip.Addr) dhcpv4.Modifier { return dhcpv4.WithClientIP(a.AsSlice()) }

func of(server netip.Addr) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(server.AsSlice()))
}

func yours(m *dhcpv4.DHCPv4) netip.Addr {
	if m == nil {
		return netip.Addr{}
	}
	return addr4(m.YourIPAddr.To4())
}

func kind(m *dhcpv4.DHCPv4) dhcpv4.MessageType {
	if m == nil {
		return dhcpv4.MessageTypeNone
	}
	return m.MessageType()
}

// ask6 asks as the station behind the endpoint does; nil = no answer.
func (w *world) ask6(endpoint, station packet.MAC, t dhcpv6.MessageType, options ...dhcpv6.Option) *dhcpv6.Message {
	w.t.Helper()
	m := &dhcpv6.Message{MessageType: t, TransactionID: dhcpv6.TransactionID{1, 2, 3}}
	for _, o := range options {
		m.AddOption(o)
	}
	a, ok := w.DHCPv6(Question{Endpoint: endpoint, Station: station, Src: local, Message: m.ToBytes(), Stations: w})
	if !ok {
		return nil
	}
	if a.Src != netip.AddrPortFrom(gwMAC.LinkLocal(), 547) || a.Dst != netip.AddrPortFrom(local, 546) || a.MAC != station {
		w.t.Errorf("the answer is from %s to %s at %s", a.Src, a.Dst, a.MAC)
	}
	r, err := dhcpv6.MessageFromBytes(a.Message)
	if err != nil {
		w.t.Fatalf("%x: %v", a.Message, err)
	}
	if r.TransactionID != m.TransactionID || r.Options.ServerID() == nil {
		w.t.Errorf("the answer is %s", r.Summary())
	}
	return r
}

func me(m packet.MAC) dhcpv6.Option {
	return dhcpv6.OptClientID(&dhcpv6.DUIDLL{HWType: 1, LinkLayerAddr: m[:]})
}

func you() dhcpv6.Option {
	return dhcpv6.OptServerID(&dhcpv6.DUIDLL{HWType: 1, LinkLayerAddr: gwMAC[:]})
}

func identity(id byte, addrs ...netip.Addr) dhcpv6.Option {
	ia := &dhcpv6.OptIANA{IaId: [4]byte{id}}
	for _, a := range addrs {
		ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: a.AsSlice()})
	}
	return ia
}

func rapid() dhcpv6.Option { return &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit} }

// given is the address with a lifetime in an answer's n-th identity.
func given(m *dhcpv6.Message, n int) netip.Addr {
	if m == nil || len(m.Options.IANA()) <= n {
		return netip.Addr{}
	}
	for _, a := range m.Options.IANA()[n].Options.Addresses() {
		if a.ValidLifetime > 0 {
			return addr6(a.IPv6Addr)
		}
	}
	return netip.Addr{}
}
