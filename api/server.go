package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types"

	"github.com/footbridge-net/footbridge/internal/buildinfo"
)

const (
	// headerTimeout bounds how long a client may take to send its headers, and
	// bodyTimeout its body. The client is on this machine.
	headerTimeout = 10 * time.Second
	bodyTimeout   = 30 * time.Second
	// idleTimeout ends connections that a client keeps and does not use.
	idleTimeout = 2 * time.Minute
	// maxHeader bounds a request's line and headers; filters are in the line.
	maxHeader = 64 << 10
	// maxBody bounds a request's body. The largest is a container's definition,
	// and the kernel itself gives a command's arguments and environment 2 MiB
	// by default (ARG_MAX).
	maxBody = 4 << 20
)

var (
	errPageNotFound = Errorf(errdefs.ErrNotFound, "page not found")
	errShuttingDown = Errorf(errdefs.ErrUnavailable, "the footbridge daemon is shutting down")
)

// ServerOptions configures a Server.
type ServerOptions struct {
	Backend  Backend      // required
	Upgrader Upgrader     // nil: the daemon cannot become another program
	Logger   *slog.Logger // nil: nothing is logged
}

// Server serves a Backend's API on unix sockets.
type Server struct {
	backend  Backend
	upgrader Upgrader
	log      *slog.Logger
	http     *http.Server
	mux      *http.ServeMux

	// closing ends streams when the server shuts down; other requests finish.
	closing context.Context
	close   context.CancelCauseFunc

	mu       sync.Mutex
	inFlight int
	streams  int // of those in flight
	lastEnd  time.Time
	paused   bool
	stopNext bool                  // Pause came before Serve: it ends at once
	listener net.Listener          // that is served; nil: none
	ended    chan struct{}         // closed when Serve returns
	fresh    map[net.Conn]struct{} // connections without a request yet
	active   map[net.Conn]struct{} // with a request, or an answer on its way
	leaving  map[net.Conn]struct{} // of these, whose answer is made and may not be sent yet
	changed  chan struct{}         // closed when one of these changes
	conns    map[net.Conn]bool     // open; true: refused
	refused  int                   // of these
	bounds   bounds                // never changed while it serves
	hijacked sync.WaitGroup
}

// NewServer returns a server; Serve starts it.
func NewServer(o ServerOptions) (*Server, error) {
	if o.Backend == nil {
		return nil, errors.New("api: NewServer: no backend")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		backend: o.Backend, upgrader: o.Upgrader, log: o.Logger, mux: http.NewServeMux(), lastEnd: time.Now(),
		fresh: map[net.Conn]struct{}{}, active: map[net.Conn]struct{}{}, leaving: map[net.Conn]struct{}{}, changed: make(chan struct{}), conns: map[net.Conn]bool{}, bounds: usualBounds,
	}
	s.closing, s.close = context.WithCancelCause(context.Background())
	s.routes()
	s.http = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
		ConnContext:       s.acceptConn,
		ConnState:         s.connState,
	}
	return s, nil
}

// Shutdown stops listening, ends streams (events, logs, waits, attachments) and
// waits for the other requests under way. When ctx ends first, it closes what is
// left and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.close(errShuttingDown)
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.http.Close()
		return err
	}
	done := make(chan struct{})
	go func() {
		s.hijacked.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Activity returns how many requests, streams among them, are being served, and
// when the last one ended; with none yet, when the server was made. A daemon
// that ends itself when idle asks for it.
func (s *Server) Activity() (inFlight int, lastEnd time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inFlight, s.lastEnd
}

// refusalKey is the context key under which a connection's refusal is kept, connKey
// that of the connection.
type (
	refusalKey struct{}
	connKey    struct{}
)

// acceptConn looks at a new connection's peer, before a byte is read from it. A
// stranger's connection is kept for one request, so that he learns why.
func (s *Server) acceptConn(ctx context.Context, c net.Conn) context.Context {
	ctx = context.WithValue(ctx, connKey{}, c)
	err := Errorf(errdefs.ErrPermissionDenied, "footbridge is served on unix sockets only")
	if u, ok := c.(*net.UnixConn); ok {
		if err = checkPeer(u, os.Geteuid()); errors.Is(err, errOtherUserNS) {
			runtime, why := s.admitRuntime(ctx, u)
			if why == nil {
				err, ctx = nil, context.WithValue(ctx, runtimeKey{}, runtime)
			} else {
				err = Errorf(err, "%w (it is no runtime's: %w)", err, why)
			}
		}
	}
	if err = s.admit(c, err); err == nil {
		return ctx
	}
	s.log.Warn("connection refused", "err", err)
	return context.WithValue(ctx, refusalKey{}, err)
}

// Handler returns the whole API: versions, routes, errors. Serve adds the check
// of the peer.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serving := s.begin()
		defer s.end(r)
		w, r = s.boundAnswer(w, r)
		defer s.recovered(w, r)
		h := w.Header()
		h.Set("Server", serverName+"/"+buildinfo.Get().Version)
		h.Set("Api-Version", MaxVersion)
		h.Set("Ostype", "linux")
		h.Set("Docker-Experimental", "false")
		if refusal, ok := r.Context().Value(refusalKey{}).(error); ok {
			h.Set("Connection", "close")
			s.fail(w, r, refusal)
			return
		}
		if !serving {
			h.Set("Connection", "close")
			h.Set(againHeader, "1")
			s.fail(w, r, errPaused)
			return
		}
		v, r2, err := negotiate(r)
		if errors.Is(err, errTooOld) {
			http.Error(w, sentence(err.Error()), StatusCode(err))
			return
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.dispatch(w, r2.WithContext(context.WithValue(r2.Context(), versionKey{}, v)))
	})
}

type versionKey struct{}

// requestVersion returns the API version that a request asked for.
func requestVersion(r *http.Request) apiVersion {
	if v, ok := r.Context().Value(versionKey{}).(apiVersion); ok {
		return v
	}
	return maxVersion
}

// dispatch finds the route. Docker knows no redirects and no 405: whatever is
// not exactly a route is a page not found.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	p := r.URL.EscapedPath()
	dirty := !strings.HasPrefix(p, "/") || strings.Contains(p, "//") ||
		strings.Contains(p+"/", "/./") || strings.Contains(p+"/", "/../")
	if dirty {
		s.fail(w, r, errPageNotFound)
		return
	}
	if _, pattern := s.mux.Handler(r); pattern == "" {
		s.fail(w, r, errPageNotFound)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// recovered answers 500 to a request whose handler panicked. It is deferred.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { // net/http's own way to drop a connection
		panic(p)
	}
	s.logPanic(r.Method+" "+printable(r.URL.Path), p)
	// Where an answer has begun already this one cannot be sent, and the abort
	// tells the client that what it has is not whole.
	if !writeError(w, Errorf(errdefs.ErrInternal, "footbridge has a bug: the request ended in a panic; the daemon's log has the details")) {
		panic(http.ErrAbortHandler)
	}
}

func (s *Server) logPanic(where string, p any) {
	s.log.Error("panic", "where", where, "panic", p, "stack", string(debug.Stack()))
}

// handlerFunc answers a request or returns the error to answer with.
type handlerFunc func(w http.ResponseWriter, r *http.Request) error

// handle registers a route. Patterns are http.ServeMux's.
func (s *Server) handle(pattern string, h handlerFunc) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		// A panic after the header has gone out must not be taken for the end.
		w = &startedWriter{ResponseWriter: w}
		defer s.recovered(w, r)
		err := s.checkRuntime(r, pattern)
		if err == nil {
			err = h(w, r)
		}
		if err != nil {
			s.fail(w, r, err)
		}
	})
}

// fail answers a request with an error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := StatusCode(err)
	level := slog.LevelDebug
	if status >= http.StatusInternalServerError && status != http.StatusNotImplemented {
		level = slog.LevelError
	}
	s.log.Log(r.Context(), level, "request failed", "method", r.Method, "path", printable(r.URL.Path), "status", status, "err", err)
	if !writeError(w, err) {
		panic(http.ErrAbortHandler)
	}
}

// writeError writes an error as Docker does; false when an answer has begun.
func writeError(w http.ResponseWriter, err error) bool {
	if sw, ok := w.(*startedWriter); ok && sw.started {
		return false
	}
	status := StatusCode(err)
	if status == http.StatusNotModified {
		w.WriteHeader(status)
		return true
	}
	w.Header().Set("Content-Type", types.MediaTypeJSON)
	w.WriteHeader(status)
	// An error here is the client's going away.
	_, _ = w.Write(encodeError(err))
	return true
}

// startedWriter remembers whether an answer has begun.
type startedWriter struct {
	http.ResponseWriter
	started bool
}

func (w *startedWriter) WriteHeader(status int) {
	w.started = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *startedWriter) Write(b []byte) (int, error) {
	w.started = true
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController find the writer's other abilities.
func (w *startedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// streamContext returns a context for a stream: it ends with the request and
// when the server shuts down. Its end is not waited for before a pause.
func (s *Server) streamContext(r *http.Request) (context.Context, context.CancelFunc) {
	unboundAnswer(r)
	ctx, cancel := context.WithCancelCause(r.Context())
	stop := context.AfterFunc(s.closing, func() { cancel(errShuttingDown) })
	done := s.stream()
	return ctx, func() {
		done()
		stop()
		cancel(nil)
	}
}
