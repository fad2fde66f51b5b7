package libnetwork

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/internal/visible"
)

const (
	// maxBody bounds a request, in bytes. One with a thousand published ports has a tenth of it.
	maxBody = 1 << 20
	// readTimeout bounds how long a request may take to arrive.
	readTimeout = 30 * time.Second
	// idleTimeout is how long dockerd may keep a connection that it does not use.
	idleTimeout = 10 * time.Minute
	// shutdownTimeout is how long requests under way are waited for at the end.
	shutdownTimeout = 10 * time.Second
	// mediaType is what dockerd accepts, and knows the protocol's version by.
	mediaType = "application/vnd.docker.plugins.v1.1+json"
)

// Server speaks the protocol and asks the driver.
type Server struct {
	driver *Driver
	log    *slog.Logger
	mux    *http.ServeMux
}

// NewServer returns a server for d.
func NewServer(d *Driver, log *slog.Logger) *Server {
	s := &Server{driver: d, log: log, mux: http.NewServeMux()}
	s.mux.HandleFunc(activatePath, s.answering(func(context.Context, []byte) (any, error) {
		return activateResponse{[]string{"NetworkDriver"}}, nil
	}))
	for method, f := range map[string]func(context.Context, []byte) (any, error){
		"GetCapabilities":             func(context.Context, []byte) (any, error) { return capabilities{"local", "local"}, nil },
		"CreateNetwork":               decoding(none(d.createNetwork)),
		"DeleteNetwork":               decoding(none(d.deleteNetwork)),
		"CreateEndpoint":              decoding(d.createEndpoint),
		"EndpointOperInfo":            decoding(d.endpointInfo),
		"DeleteEndpoint":              decoding(none(d.deleteEndpoint)),
		"Join":                        decoding(d.join),
		"Leave":                       decoding(none(d.leave)),
		"ProgramExternalConnectivity": decoding(none(d.publish)),
		"RevokeExternalConnectivity":  decoding(none(d.unpublish)),
		// Other machines are no concern of a network of this one.
		"DiscoverNew":     func(context.Context, []byte) (any, error) { return struct{}{}, nil },
		"DiscoverDelete":  func(context.Context, []byte) (any, error) { return struct{}{}, nil },
		"AllocateNetwork": refusing,
		"FreeNetwork":     refusing,
	} {
		s.mux.HandleFunc(driverPath+method, s.answering(f))
	}
	return s
}

// refusing answers what a manager of a swarm asks.
func refusing(context.Context, []byte) (any, error) {
	return nil, errors.New("networks of a swarm are not supported by footbridge: its networks live on one host; make the network without --scope swarm")
}

// none makes a method of one that answers nothing.
func none[T any](f func(context.Context, T) error) func(context.Context, T) (struct{}, error) {
	return func(ctx context.Context, req T) (struct{}, error) { return struct{}{}, f(ctx, req) }
}

// decoding reads the request of a method. Fields that it does not know are those of other
// versions of Docker.
func decoding[T, U any](f func(context.Context, T) (U, error)) func(context.Context, []byte) (any, error) {
	return func(ctx context.Context, body []byte) (any, error) {
		var req T
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, fmt.Errorf("the request is not understood: %w", err)
		}
		return f(ctx, req)
	}
}

// answering serves one method.
func (s *Server) answering(f func(context.Context, []byte) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			w.WriteHeader(http.StatusMethodNotAllowed)
			_ = json.NewEncoder(w).Encode(errorResponse{"every request is a POST"})
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		var answer any
		if err == nil {
			answer, err = f(r.Context(), body)
		}
		if err != nil {
			s.log.Warn("refused", "request", strings.TrimPrefix(r.URL.Path, driverPath), "error", err)
			w.WriteHeader(http.StatusInternalServerError)
			answer = errorResponse{visible.Prose(err.Error())}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			s.log.Debug("answer not sent", "error", err)
		}
	}
}

// Serve serves until ctx ends, and closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: s.mux, ReadTimeout: readTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	// What dockerd has asked for is done first: it would not ask again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := server.Shutdown(ctx)
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
