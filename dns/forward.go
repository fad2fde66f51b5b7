package dns

import (
	"bytes"
	"net/netip"

	miekg "github.com/miekg/dns"

	"github.com/footbridge-net/footbridge/internal/turn"
)

// forward starts asking up the question in sc. The answer goes to reply from
// another goroutine; over a limit it is in sc.out at once. over, if not nil, is
// called when there is nothing left to do, unless forward returns false: then
// nothing was started.
func (s *Server) forward(sc *scratch, up *Upstream, src netip.Addr, tcp bool, reply func([]byte), over func()) (started bool) {
	c := s.clients.takeForward(src, up.inFlight)
	if c == nil {
		s.stats.refused.Add(1)
		s.refuse(sc, miekg.RcodeRefused)
		return false
	}
	if !s.enter(nil) {
		s.clients.giveForward(c, up.inFlight)
		return false // closed: silence
	}
	msg := bytes.Clone(sc.q.msg)
	go func() {
		defer s.leave(nil)
		if over != nil {
			defer over()
		}
		out := s.exchange(up, msg, tcp, c.Turn)
		// Before the answer: whoever has it may ask the next question at once.
		s.clients.giveForward(c, up.inFlight)
		if s.ctx.Err() != nil {
			return
		}
		if tcp { // it may wait for its client
			reply(out)
			return
		}
		start := c.Turn.Begin()
		defer c.Turn.End(start)
		reply(out)
	}()
	return true
}

// exchange asks the upstream and always has an answer. It works when it is the
// container's turn.
func (s *Server) exchange(up *Upstream, msg []byte, tcp bool, t *turn.Turn) []byte {
	sc := getScratch()
	defer putScratch(sc)
	sc.q.read(msg)
	fail := func(rcode int) []byte {
		s.refuse(sc, rcode)
		return bytes.Clone(sc.out)
	}
	// The question was read, the rest only measured. Nothing that isn't a
	// message from end to end leaves through us.
	start := t.Begin()
	err := new(miekg.Msg).Unpack(msg)
	t.End(start)
	if err != nil {
		s.stats.malformed.Add(1)
		return fail(miekg.RcodeFormatError)
	}
	s.stats.forwarded.Add(1)
	out, err := up.exchange(s.ctx, msg, tcp, t)
	switch {
	case err != nil:
		s.stats.failed.Add(1)
		s.log.Debug("question not answered", "name", sc.q.name(), "type", miekg.Type(sc.q.qtype), "error", err)
		return fail(miekg.RcodeServerFailure)
	case !tcp && len(out) > int(sc.q.size):
		return truncate(out, &sc.q, int(sc.q.size))
	}
	return out
}
