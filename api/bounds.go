package api

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/containerd/errdefs"
)

// What clients can make the daemon hold. All of them are the user's own processes,
// or are refused as soon as they connect; so the bounds are for programs that run
// wild, and for containers that have got hold of the socket's path.

const (
	// maxConns bounds connections, streams among them. An interactive client has
	// three, a library's pool some more.
	maxConns = 1024
	// maxRefused bounds connections that are kept for one request, so that the
	// client learns why it is refused. What comes beyond is closed at once.
	maxRefused = 32
	// answerTimeout ends a connection whose client does not read its answer.
	answerTimeout = 30 * time.Second
)

// bounds are these, but for tests.
type bounds struct {
	conns, refused int
	answer         time.Duration
}

var usualBounds = bounds{conns: maxConns, refused: maxRefused, answer: answerTimeout}

// admit counts a connection and returns why it is refused, or nil: refusal is what
// is known already. A connection of which not even that can be said is closed.
func (s *Server) admit(c net.Conn, refusal error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if refusal == nil && len(s.conns)-s.refused >= s.bounds.conns {
		refusal = Errorf(errdefs.ErrUnavailable, "the footbridge daemon serves %d connections already: close some", s.bounds.conns)
	}
	if refusal != nil && s.refused >= s.bounds.refused {
		_ = c.Close() // the server reads that it is, and forgets it
		return refusal
	}
	s.conns[c] = refusal != nil
	if refusal != nil {
		s.refused++
	}
	return refusal
}

// leave forgets a connection that is closed.
func (s *Server) leave(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaveLocked(c)
}

func (s *Server) leaveLocked(c net.Conn) {
	if s.conns[c] {
		s.refused--
	}
	delete(s.conns, c)
}

// boundedWriter gives the client a time to read an answer, from its beginning on;
// to that of a stream no bound.
type boundedWriter struct {
	http.ResponseWriter
	timeout time.Duration
	begun   bool
}

type boundedKey struct{}

// boundAnswer returns the writer for a request, and the request by which
// unboundAnswer finds it.
func (s *Server) boundAnswer(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
	b := &boundedWriter{ResponseWriter: w, timeout: s.bounds.answer}
	b.bound(0) // the request before has left its own
	return b, r.WithContext(context.WithValue(r.Context(), boundedKey{}, b))
}

// unboundAnswer says that the answer to a request is a stream.
func unboundAnswer(r *http.Request) {
	if b, ok := r.Context().Value(boundedKey{}).(*boundedWriter); ok {
		b.timeout = 0
	}
}

func (w *boundedWriter) WriteHeader(status int) {
	w.begun = true
	w.bound(w.timeout)
	w.ResponseWriter.WriteHeader(status)
}

func (w *boundedWriter) Write(b []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

func (w *boundedWriter) bound(timeout time.Duration) {
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	// A test's recorder has none, and that is no error.
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(deadline)
}

// Unwrap lets http.ResponseController find the writer's other abilities.
func (w *boundedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
