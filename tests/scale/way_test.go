package main

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// tcpPacket is an IPv4 TCP packet with nothing in it but ports and flags.
func tcpPacket(from, to uint16, flags byte) []byte {
	p := make([]byte, 40)
	p[0], p[9], p[32] = 0x45, 6, 5<<4
	binary.BigEndian.PutUint16(p[20:], from)
	binary.BigEndian.PutUint16(p[22:], to)
	p[33] = flags
	return p
}

func newWay(args WayArgs) *way {
	return &way{args: args, dice: map[uint64]*rand.Rand{}, next: map[uint64]uint64{}}
}

func TestConnectionsToTwoServersLoseTheSamePackets(t *testing.T) {
	const ack = 16
	w := newWay(WayArgs{Loss: 0.01, Seed: 7})
	fate := func(client, server uint16) (lost []int) {
		for i := range 5000 {
			if w.tossed(0, tcpPacket(client, server, ack)) {
				lost = append(lost, i)
			}
		}
		return lost
	}
	first, second := fate(40000, 7100), fate(50000, 7100)
	if n := len(first); n < 25 || n > 90 {
		t.Errorf("%d of 5000 packets lost, where one in a hundred should be", n)
	}
	if slices.Equal(first, second) {
		t.Error("two connections to one server lose the same packets")
	}
	if other := fate(41000, 7300); !slices.Equal(first, other) {
		t.Error("the first connection to another server loses other packets")
	}
	w.change(WayArgs{Loss: 0.01, Seed: 8})
	if again := fate(40000, 7100); slices.Equal(first, again) {
		t.Error("another seed loses the same packets")
	}
	w.change(WayArgs{})
	if lost := fate(40000, 7100); len(lost) > 0 {
		t.Errorf("%d packets lost where none should be", len(lost))
	}
}

func TestTheWaySparesWhatIsNoData(t *testing.T) {
	w := newWay(WayArgs{Loss: 1})
	const syn, ack = 2, 16
	for what, c := range map[string]struct {
		packet []byte
		lost   bool
	}{
		"data":        {tcpPacket(40000, 7100, ack), true},
		"a beginning": {tcpPacket(40000, 7100, syn), false},
		"its answer":  {tcpPacket(7100, 40000, syn|ack), false},
		"a stub":      {tcpPacket(40000, 7100, ack)[:39], false},
		"nothing":     {nil, false},
	} {
		if got := w.tossed(0, c.packet); got != c.lost {
			t.Errorf("%s: lost %v, want %v", what, got, c.lost)
		}
	}
	if server, client, ok := ports(tcpPacket(40000, 7100, ack)); !ok || server != 7100 || client != 40000 {
		t.Errorf("ports %d and %d (%v)", server, client, ok)
	}
}
