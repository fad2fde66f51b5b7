package stack

import (
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// asked is a's datagram from its port n to b.
func asked(n int) flowKey {
	return flowKey{from: ap(a4, uint16(n)), to: ap(b4, 80), proto: packet.ProtoUDP}
}

func TestDatagramsAreForgottenWhenNothingComesBack(t *testing.T) {
	var s spoken
	now := time.Now()
	s.remember(asked(1), now)
	for _, c := range []struct {
		after time.Duration
		known bool
	}{{0, true}, {flowUDPStream, true}, {2 * flowUDPStream, true}, {3 * flowUDPStream, true}, {6 * flowUDPStream, false}, {6 * flowUDPStream, false}} {
		if got := s.knows(asked(1), now.Add(c.after)); got != c.known {
			t.Errorf("after %v: %v", c.after, got)
		}
	}
	if s.knows(asked(2), now) {
		t.Error("what was never sent is known")
	}
}

func TestOnlySoManyDatagramsAreRemembered(t *testing.T) {
	var s spoken
	now := time.Now()
	for n := range 5 * maxSpoken {
		s.remember(asked(n), now)
		if !s.knows(asked(n), now) || n > 0 && !s.knows(asked(n-1), now) {
			t.Fatalf("number %d or the one before is not known", n)
		}
	}
	if n := len(s.young) + len(s.old); n > 2*maxSpoken {
		t.Errorf("%d are remembered", n)
	}
}
