package stack

import (
	"sync"
	"time"
)

// maxSpoken bounds what a port remembers of its datagrams to exposed ports, for each of two
// generations: some 400 KB at most. Who sends from more ports in a while forgets the
// oldest, whose late answers are then dropped.
const maxSpoken = 4096

// spoken are the datagrams of a port that an Exception has let through: what comes back is
// an answer if it belongs to one of the last minutes. Without that whoever is reached
// at one port could send, from that port, to all ports of who reaches it. It is the
// worker's memory: after its end answers pass again when the next datagram has
// gone. The zero value is ready.
type spoken struct {
	mu         sync.Mutex
	young, old map[flowKey]struct{}
	turned     time.Time // when the younger generation began
}

// remember notes a datagram.
func (s *spoken) remember(k flowKey, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.age(now)
	s.keep(k, now)
}

// knows reports whether the datagram k is one of the last minutes, which it then stays for
// as long again.
func (s *spoken) knows(k flowKey, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.age(now)
	if _, ok := s.young[k]; ok {
		return true
	}
	if _, ok := s.old[k]; !ok {
		return false
	}
	s.keep(k, now)
	return true
}

// age begins a new generation when it is time; s.mu is held.
func (s *spoken) age(now time.Time) {
	switch age := now.Sub(s.turned); {
	case age > 2*flowUDPStream:
		s.young, s.old, s.turned = nil, nil, now
	case age > flowUDPStream:
		s.turn(now)
	}
}

func (s *spoken) turn(now time.Time) { s.young, s.old, s.turned = nil, s.young, now }

// keep puts k into the younger generation; s.mu is held.
func (s *spoken) keep(k flowKey, now time.Time) {
	if _, ok := s.young[k]; ok {
		return
	}
	if len(s.young) >= maxSpoken {
		s.turn(now)
	}
	if s.young == nil {
		s.young = map[flowKey]struct{}{}
	}
	s.young[k] = struct{}{}
}
