package stack

import (
	"net/netip"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// told gives the MACs that m is told of addresses, by address, from n frames.
func told(m *memory, n int, addrs ...netip.Addr) map[netip.Addr][]packet.MAC {
	m.t.Helper()
	out := map[netip.Addr][]packet.MAC{}
	for range n {
		frame := m.receive().frame
		a := addrs[0]
		for _, other := range addrs {
			if packet.EtherType(frame) == packet.TypeIPv6 == other.Is6() {
				a = other
			}
		}
		out[a] = append(out[a], saysMAC(m.t, frame, a))
	}
	return out
}

// An address that is given out again, to another MAC: those who remember the old one are told, as often as the network
// says, in both families.
func TestAnEndpointIsAnnouncedToTheOthers(t *testing.T) {
	for _, test := range []struct {
		announce Announce
		known    bool
		times    int
	}{
		{Announce{}, true, 1},
		{Announce{Interval: time.Millisecond}, false, 3},
		{Announce{Messages: 2, Interval: time.Millisecond}, false, 2},
		{Announce{Messages: 1}, false, 1},
		{Announce{Off: true}, false, 0},
	} {
		n, err := New(Options{Name: "test", Gateway4: gw4, Gateway6: gw6, Announce: test.announce})
		if err != nil {
			t.Fatal(err)
		}
		a, b := newMemory(t), newMemory(t)
		add := func(name string, m *memory, mac packet.MAC, known bool, addrs ...netip.Addr) *Port {
			p, err := n.AddPort(PortOptions{Name: name, MAC: mac, Addresses: addrs, Device: m, Known: known})
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		add("a", a, aMAC, true, a4, a6)
		pb := add("b", b, bMAC, test.known, b4, b6)
		got := told(a, 2*test.times, b4, b6)
		for _, addr := range []netip.Addr{b4, b6} {
			if len(got[addr]) != test.times {
				t.Errorf("%+v: told of %s %d times, want %d", test.announce, addr, len(got[addr]), test.times)
			}
			for _, mac := range got[addr] {
				if mac != bMAC {
					t.Errorf("%+v: told that %s is at %s", test.announce, addr, mac)
				}
			}
		}
		pb.Close()
		if test.times > 0 {
			p := add("c", newMemory(t), cMAC, true, b4)
			if got := told(a, 1, b4); len(got[b4]) != 1 || got[b4][0] != cMAC {
				t.Errorf("%+v: the address's next owner: %v", test.announce, got)
			}
			p.Close()
		}
		n.Close()
		a.silent()
	}
}

// Who leaves is announced no more, and Close does not wait for the next message.
func TestAnEndpointThatLeavesIsAnnouncedNoMore(t *testing.T) {
	n, err := New(Options{Name: "test", Gateway4: gw4, Announce: Announce{Interval: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := n.AddPort(PortOptions{Name: "a", MAC: aMAC, Addresses: []netip.Addr{a4}, Device: newMemory(t)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		p.Close()
		n.Close()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("Close waits for a message")
	}
}
