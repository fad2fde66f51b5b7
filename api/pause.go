package api

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/containerd/errdefs"
)

// A pause.
//
// Before the daemon becomes another program, what clients have asked for is finished.
// Who connects from then on waits in the socket's queue, which is the kernel's, and is
// served by whichever program accepts next. A request on a connection that was open
// already is refused, with a header that tells our own client to come again on a
// new one: nothing of it was done. Streams are not ended: if the other program cannot be
// executed, they go on.

// againHeader, with any value, says of an error that nothing of the request was done, and that
// a new connection leads to who will do it.
const againHeader = "Footbridge-Again"

// freshPatience bounds how long Pause waits for the first request on a connection
// that was accepted. Our clients send one at once.
const freshPatience = 100 * time.Millisecond

var errPaused = Errorf(errdefs.ErrUnavailable, "the footbridge daemon is being upgraded: try again")

// Pause stops accepting, which ends Serve and closes its listener, and returns when all
// requests but streams have been answered. When ctx ends first, the server goes on, and
// the caller calls Serve again; so it does after Resume.
func (s *Server) Pause(ctx context.Context) error {
	s.mu.Lock()
	s.paused = true
	l, ended := s.listener, s.ended
	s.listener, s.stopNext = nil, l == nil
	s.mu.Unlock()
	if l != nil {
		_ = l.Close()
		<-ended // what it accepted last is counted then
	}
	s.http.SetKeepAlivesEnabled(false) // closes the idle ones
	fresh := time.NewTimer(freshPatience)
	defer fresh.Stop()
	late := false
	for {
		s.mu.Lock()
		requests := s.inFlight - s.streams + len(s.leaving)
		quiet := requests == 0 && (late || len(s.fresh) == 0)
		changed := s.changed
		s.mu.Unlock()
		if quiet {
			return nil
		}
		select {
		case <-changed:
		case <-fresh.C:
			late = true
		case <-ctx.Done():
			s.Resume()
			return Errorf(errdefs.ErrUnavailable, "%d requests are still under way: try again when they are done (a stop with a long timeout, for instance)", requests)
		}
	}
}

// Resume takes a Pause back.
func (s *Server) Resume() {
	s.mu.Lock()
	s.paused, s.stopNext = false, false
	s.mu.Unlock()
	s.http.SetKeepAlivesEnabled(true)
}

// Serve serves connections of l until Shutdown or Pause; then it returns nil. L's
// connections must be those of a unix socket: every peer is asked for its
// credentials, and strangers get an answer that says so.
func (s *Server) Serve(l net.Listener) error {
	ended := make(chan struct{})
	defer close(ended)
	s.mu.Lock()
	if s.stopNext {
		s.stopNext = false
		s.mu.Unlock()
		_ = l.Close()
		return nil
	}
	s.listener, s.ended = l, ended
	s.mu.Unlock()
	err := s.http.Serve(l)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == http.ErrServerClosed || s.listener != l {
		return nil
	}
	return err
}

// begin counts a request; false: the server is paused.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight++
	return !s.paused
}

// end says that a request's answer is made. net/http sends the last of it afterwards,
// and tells of that by the connection's state.
func (s *Server) end(r *http.Request) {
	c, _ := r.Context().Value(connKey{}).(net.Conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	if _, ok := s.active[c]; ok { // else it was taken over
		s.leaving[c] = struct{}{}
	}
	s.lastEnd = time.Now()
	s.tell()
}

// stream says of a request under way that nobody waits for its end.
func (s *Server) stream() (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams++
	s.tell()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.streams--
		s.tell()
	}
}

// connState notes which connections have not had a request yet.
func (s *Server) connState(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateNew {
		s.fresh[c] = struct{}{}
	} else {
		delete(s.fresh, c)
	}
	if state == http.StateActive {
		s.active[c] = struct{}{}
	} else {
		delete(s.active, c)
		delete(s.leaving, c)
	}
	if state == http.StateClosed { // one that was taken over ends with its stream
		s.leaveLocked(c)
	}
	s.tell()
}

// tell wakes Pause; s.mu is held.
func (s *Server) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}
