package worker

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// Join leads the host's stream socket h, which it takes over, to a container's port;
// see [github.com/footbridge-net/footbridge/portfwd.Forwarder.Join]. The connection
// is no fact: it ends with the worker.
func (p *Plane) Join(h *fdpass.Handle, owner string, to []netip.AddrPort) error {
	defer h.Close()
	b, err := json.Marshal(joinBody{p.spec.ID, owner, to})
	if err != nil {
		return err
	}
	return p.s.hand(request{Op: opJoin, Body: b}, h)
}

// hand gives the worker a descriptor that is not kept for the next one.
func (s *Supervisor) hand(r request, h *fdpass.Handle) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.held || s.live == nil:
		return fmt.Errorf("%w: %s; try again", ErrDown, cmp.Or(s.lastExit, "it is not started yet"))
	}
	err := s.live.request(r, []*fdpass.Handle{h}, nil)
	if s.live.broken() {
		_ = s.restart() // logged
	}
	return err
}
