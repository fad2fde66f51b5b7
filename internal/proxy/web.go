package proxy

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"syscall"
	"time"
)

// newWeb makes the part that speaks HTTP: CONNECT (RFC 9110 section 9.3.6), and requests
// for whole URLs of http.
func (s *Server) newWeb() *http.Server {
	silent := log.New(io.Discard, "", 0)
	forward := &httputil.ReverseProxy{
		Rewrite: func(*httputil.ProxyRequest) {}, // nothing: the client has said where to
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				host, port, err := splitTarget(address)
				if err != nil {
					return nil, err
				}
				return s.dial(ctx, host, port)
			},
			// A connection that is kept would lead to who had the name then. And net/http
			// writes what a container says on it unasked to this program's standard error.
			DisableKeepAlives: true, DisableCompression: true,
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { s.refuse(w, r, err) },
		ErrorLog:     silent,
	}
	return &http.Server{
		ReadHeaderTimeout: handshakeTimeout, IdleTimeout: time.Minute, ErrorLog: silent,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, clientKey{}, c) },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case !s.authorized(r):
				w.Header().Set("Proxy-Authenticate", `Basic realm="footbridge"`)
				http.Error(w, "the token is missing or wrong: give it as the proxy's password", http.StatusProxyAuthRequired)
			case r.Method == http.MethodConnect:
				s.connect(w, r)
			case r.URL.Scheme != "http" || r.URL.Host == "":
				http.Error(w, "this is a proxy to containers: ask for a whole URL, as in http://web/, or CONNECT", http.StatusBadRequest)
			default:
				whole := false
				defer func() {
					// It was aborted. The end of the connection, which follows, would be the answer's for HTTP/1.0.
					if client, ok := r.Context().Value(clientKey{}).(net.Conn); ok && !whole {
						resetOnClose(client, true)
					}
				}()
				forward.ServeHTTP(w, r)
				whole = true
			}
		}),
	}
}

// clientKey is the key of a request's connection in its context.
type clientKey struct{}

// authorized looks for the token in the Proxy-Authorization header.
func (s *Server) authorized(r *http.Request) bool {
	if s.opts.Token == "" {
		return true
	}
	// The header has the form of Authorization, which net/http can read.
	basic := http.Request{Header: http.Header{"Authorization": r.Header.Values("Proxy-Authorization")}}
	_, password, ok := basic.BasicAuth()
	return ok && subtle.ConstantTimeCompare([]byte(password), []byte(s.opts.Token)) == 1
}

func (s *Server) connect(w http.ResponseWriter, r *http.Request) {
	host, port, err := splitTarget(r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	to, err := s.dial(r.Context(), host, port)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	defer to.Close()
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Time{})
	if _, err := io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	// What came behind the request's header is the container's already.
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	if _, err := to.Write(early); err != nil {
		return
	}
	relay(context.Background(), c, to)
}

// refuse says why nothing was connected.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	code := http.StatusBadGateway
	switch {
	case errors.Is(err, ErrUnknownHost):
		code = http.StatusNotFound
	case errors.Is(err, syscall.ETIMEDOUT):
		code = http.StatusGatewayTimeout
	}
	s.log.Info("connection refused", "host", r.Host, "error", err)
	http.Error(w, err.Error(), code)
}

func splitTarget(address string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("invalid target: %w", err)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", 0, fmt.Errorf("invalid target %q: it is HOST:PORT", address)
	}
	return host, uint16(n), nil
}
