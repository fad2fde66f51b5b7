package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/tests/world"
)

// markLen is the length of a mark in bytes: eight of the run, two of the shot.
const markLen = 10

// shot is one hostile act: frames, each with the shot's mark.
type shot struct {
	name   string
	reason string // the counter of the port that must go up for each frame; "" for one that need not
	make   func(mark []byte) [][]byte
}

// lane is an interface on which somebody looks.
type lane struct {
	actor   *actor
	iface   string
	name    string
	witness bool // only for the good frames: what else arrives is right
}

func (m *machine) lane(name string) lane { return lane{actor: m.actor, iface: m.iface, name: name} }

// lanes are all places where nothing of an attack may arrive: a neighbour, a container of another network, the host, the
// outside.
func (s *stage) lanes(neighbour string) []lane {
	root := s.actors[onRoot]
	return []lane{
		s.machines[neighbour].lane(neighbour),
		s.machines["carol"].lane("carol"),
		{actor: root, iface: "lo", name: "the host's loopback"},
		{actor: root, iface: "uplink", name: "the host's uplink"},
		{actor: root, iface: "lan", name: "the host's LAN"},
		{actor: s.actors[onInternet], iface: "uplink0", name: "the internet"},
	}
}

// watch is a lane that is being looked at.
type watch struct {
	lane
	id int
}

// look begins to watch lanes for frames with a mark of this run.
func (s *stage) lookAt(lanes []lane) ([]watch, error) {
	var watches []watch
	for _, l := range lanes {
		w := watch{lane: l}
		args := WatchArgs{Interface: l.iface, Patterns: [][]byte{s.mark[:], s.control()}, Port: portSecret}
		if err := l.actor.call("Watch", args, &w.id); err != nil {
			return nil, err
		}
		watches = append(watches, w)
	}
	return watches, nil
}

// control is what the good frames carry: the mark's complement.
func (s *stage) control() []byte {
	b := bytes.Clone(s.mark[:])
	for i := range b {
		b[i] ^= 0xff
	}
	return b
}

// nextMark numbers a shot.
func (s *stage) nextMark() []byte {
	s.shots++
	return binary.BigEndian.AppendUint16(bytes.Clone(s.mark[:]), s.shots)
}

// goodFrames are what the attacker may send: to a neighbour, and to the outside.
func (s *stage) goodFrames(from, neighbour *machine) [][]byte {
	const discard = 9
	return [][]byte{
		inEthernet(neighbour.mac, from.mac, udpPacket(netip.AddrPortFrom(from.ip4, 4242), netip.AddrPortFrom(neighbour.ip4, discard), s.control())),
		inEthernet(from.gateway, from.mac, udpPacket(netip.AddrPortFrom(from.ip4, 4242), netip.AddrPortFrom(world.Addr("WEB4"), discard), s.control())),
	}
}

// fire sends shots from a container and looks where they arrive; lanes[0] must be a neighbour's, the last one the
// internet's: there a good frame arrives at the end.
func (s *stage) fire(r *result, from, neighbour *machine, lanes []lane, shots []shot) error {
	before, err := s.portCounters(from)
	if err != nil {
		return err
	}
	tidy, err := s.state(neighbour)
	if err != nil {
		return err
	}
	watches, err := s.lookAt(lanes)
	if err != nil {
		return err
	}
	names := make(map[uint16]string)
	wanted := make(map[string]uint64)
	for _, t := range shots {
		mark := s.nextMark()
		names[s.shots] = t.name
		frames := t.make(mark)
		var sent SendReply
		if err := from.actor.call("Send", SendArgs{Interface: from.iface, Frames: frames}, &sent); err != nil {
			return err
		}
		if sent.Refused > 0 {
			return fmt.Errorf("%s: the attacker's own kernel did not send %d of %d frames", t.name, sent.Refused, len(frames))
		}
		r.tried += sent.Sent
		if t.reason != "" {
			wanted[t.reason] += uint64(sent.Sent)
		}
	}
	if err := s.prove(from, neighbour, watches); err != nil {
		return err
	}
	for _, w := range watches {
		var frames [][]byte
		if err := w.actor.call("Watched", w.id, &frames); err != nil {
			return err
		}
		for _, f := range frames {
			if w.witness || bytes.Contains(f, s.control()) {
				continue
			}
			var name string
			if at := bytes.Index(f, s.mark[:]); at >= 0 {
				if rest := f[at+len(s.mark):]; len(rest) >= 2 {
					name = names[binary.BigEndian.Uint16(rest)]
				}
			}
			r.in("%s: %s saw %x", cmp.Or(name, "a shot"), w.name, f[:min(len(f), 90)])
		}
	}
	if err := s.compareCounters(r, from, before, wanted); err != nil {
		return err
	}
	return s.compareState(r, from, neighbour, tidy)
}

// prove sends good frames until they arrive at the neighbour and on the internet. One reader carries a container's frames
// in their order, so that by then the hostile ones have met their end.
func (s *stage) prove(from, neighbour *machine, watches []watch) error {
	good := s.goodFrames(from, neighbour)
	for i, w := range []watch{watches[0], watches[len(watches)-1]} {
		var err error
		arrived := func() bool {
			var frames [][]byte
			err = w.actor.call("Seen", w.id, &frames)
			return err != nil || slices.ContainsFunc(frames, func(f []byte) bool { return bytes.Contains(f, s.control()) })
		}
		begin := time.Now()
		for !arrived() {
			if time.Since(begin) > 10*time.Second {
				return fmt.Errorf("a good frame of %s does not arrive at %s: nothing is shown", from.actor.Name, w.name)
			}
			if err := from.actor.call("Send", SendArgs{Interface: from.iface, Frames: good[i : i+1]}, new(SendReply)); err != nil {
				return err
			}
			world.Poll(200*time.Millisecond, arrived)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// network of a machine, by its gateway.
func (m *machine) network() string {
	for _, n := range networks {
		if netip.MustParsePrefix(n.subnets[0]).Contains(m.gw4) {
			return n.name
		}
	}
	return ""
}

func (s *stage) portCounters(m *machine) (map[string]uint64, error) {
	status, err := s.status()
	if err != nil {
		return nil, err
	}
	c := counters(status, m.network(), m.actor.Name)
	if c == nil {
		return nil, fmt.Errorf("daemon status does not know %s on %s", m.actor.Name, m.network())
	}
	return c, nil
}

// dropPrefix begins the names of counters of what was dropped.
const dropPrefix = "drop_"

// compareCounters takes the drops since before into the result, and demands those that are wanted.
func (s *stage) compareCounters(r *result, m *machine, before map[string]uint64, wanted map[string]uint64) error {
	after, err := s.portCounters(m)
	if err != nil {
		return err
	}
	drops := make(map[string]uint64)
	for name, n := range after {
		if reason, ok := strings.CutPrefix(name, dropPrefix); ok && n > before[name] {
			drops[reason] = n - before[name]
		}
	}
	r.count(drops)
	for reason, n := range wanted {
		if drops[reason] < n {
			r.bad("counted %d drops as %q, of %d sent (counted: %v)", drops[reason], reason, n, drops)
		}
	}
	return nil
}

// state is what others could have told a container's kernel.
func (s *stage) state(m *machine) (string, error) {
	return m.actor.run("ip -br addr; ip route; ip -6 route; cat /etc/resolv.conf")
}

// compareState looks whether a container's kernel has believed anything.
func (s *stage) compareState(r *result, from, m *machine, before string) error {
	after, err := s.state(m)
	if err != nil {
		return err
	}
	if after != before {
		r.in("%s has other addresses or routes now:\n%s\nbefore:\n%s", m.actor.Name, after, before)
	}
	neighbours, err := m.actor.run("ip neigh")
	if err != nil {
		return err
	}
	for line := range strings.Lines(neighbours) {
		fields := strings.Fields(line)
		at := slices.Index(fields, "lladdr")
		if at < 0 || at+1 >= len(fields) {
			continue
		}
		mac := fields[at+1]
		own := fields[0] == from.ip4.String() || fields[0] == from.ip6.String() || fields[0] == from.local.String()
		if mac == evilMAC.String() || mac == from.mac.String() && !own {
			r.in("%s believes: %s", m.actor.Name, strings.TrimSpace(line))
		}
	}
	return nil
}

// evilMAC is nobody's.
var evilMAC = packet.MAC{0x02, 0x66, 0x66, 0x66, 0x66, 0x66}
