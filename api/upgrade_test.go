package api

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
)

// slow is a backend that answers one kind of request when it is told to.
type slow struct {
	*fake
	entered, leave chan struct{}
}

func (s *slow) NetworkList(ctx context.Context, filters Filters) ([]network.Summary, error) {
	s.entered <- struct{}{}
	<-s.leave
	return s.fake.NetworkList(ctx, filters)
}

// paused is a server whose socket stays open when it does not accept.
type paused struct {
	*slow
	server *Server
	client *Client
	socket *net.UnixListener
	served chan error
}

func newPaused(t *testing.T, u Upgrader) *paused {
	t.Helper()
	p := &paused{slow: &slow{newFake(), make(chan struct{}, 1), make(chan struct{})}, served: make(chan error, 1)}
	var err error
	if p.socket, err = Listen(filepath.Join(shortDir(t), "r", "footbridge.sock")); err != nil {
		t.Fatal(err)
	}
	if p.server, err = NewServer(ServerOptions{Backend: p.slow, Upgrader: u}); err != nil {
		t.Fatal(err)
	}
	p.client = New(p.socket.Addr().String())
	p.serve(t)
	t.Cleanup(func() {
		p.client.Close()
		if err := p.server.Shutdown(testContext(t)); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		p.expectServed(t)
		p.socket.Close()
	})
	return p
}

func (p *paused) serve(t *testing.T) {
	t.Helper()
	f, err := p.socket.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	go func() { p.served <- p.server.Serve(l) }()
	for begun := false; !begun; runtime.Gosched() {
		p.server.mu.Lock()
		begun = p.server.listener == l
		p.server.mu.Unlock()
	}
}

func (p *paused) expectServed(t *testing.T) {
	t.Helper()
	if err := <-p.served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// A pause waits for requests and not for streams; whoever comes meanwhile, on a new
// connection or on one that was open, is served afterwards.
func TestPause(t *testing.T) {
	p := newPaused(t, nil)
	ctx := testContext(t)
	events, err := p.client.Events(ctx, EventsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	listed := make(chan error, 1)
	go func() {
		_, err := p.client.NetworkList(ctx, nil)
		listed <- err
	}()
	<-p.entered
	// The answer that is still being written keeps this connection open.
	kept := New(p.client.Socket())
	defer kept.Close()
	quiet := make(chan error, 1)
	go func() { quiet <- p.server.Pause(ctx) }()
	p.expectServed(t)
	select {
	case err := <-quiet:
		t.Fatalf("paused with a request under way (%v)", err)
	default:
	}
	pinged := make(chan error, 1)
	go func() { pinged <- kept.Ping(ctx) }()
	p.leave <- struct{}{}
	if err := <-listed; err != nil {
		t.Errorf("the request that was under way: %v", err)
	}
	if err := <-quiet; err != nil {
		t.Errorf("Pause: %v", err)
	}
	select {
	case err := <-pinged:
		t.Errorf("answered during the pause: %v", err)
	case <-events:
		t.Error("the stream has ended")
	default:
	}
	p.server.Resume()
	p.serve(t)
	if err := <-pinged; err != nil {
		t.Errorf("the request that came during the pause: %v", err)
	}
}

// A request on an open connection is refused, and our client comes again.
func TestPauseRefusesOnOpenConnections(t *testing.T) {
	p := newPaused(t, nil)
	ctx := testContext(t)
	raw, err := net.Dial("unix", p.client.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	// Half a request holds the connection through the beginning of a pause.
	if _, err := raw.Write([]byte("POST /networks/create HTTP/1.1\r\nHost: x\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	for accepted := false; !accepted; runtime.Gosched() { // or it is left to the next one
		p.server.mu.Lock()
		accepted = len(p.server.fresh) > 0
		p.server.mu.Unlock()
	}
	if err := p.server.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	p.expectServed(t)
	if _, err := raw.Write([]byte("Content-Length: 0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	n, err := raw.Read(answer)
	if text := string(answer[:n]); err != nil || !strings.HasPrefix(text, "HTTP/1.1 503 ") ||
		!strings.Contains(text, againHeader) || !strings.Contains(text, "Connection: close") {
		t.Errorf("answered %q (%v)", answer[:n], err)
	}
	p.server.Resume()
	p.serve(t)
}

func TestClientComesAgain(t *testing.T) {
	for _, attach := range []bool{false, true} {
		p := newPaused(t, nil)
		ctx := testContext(t)
		p.server.mu.Lock()
		p.server.paused = true // and accepts still: every answer is a refusal
		p.server.mu.Unlock()
		do := func() error {
			if !attach {
				return p.client.NetworkRemove(ctx, "nobody")
			}
			_, err := p.client.ContainerAttach(ctx, "nobody", AttachOptions{Stream: true, Stdout: true})
			return err
		}
		if err := do(); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "being upgraded") {
			t.Errorf("never served: %v", err)
		}
		p.server.Resume()
		if err := do(); !errdefs.IsNotFound(err) {
			t.Errorf("afterwards: %v", err)
		}
	}
}

// A request that takes longer than the pause may is not cut off, and the server goes on.
func TestPauseThatFails(t *testing.T) {
	p := newPaused(t, nil)
	listed := make(chan error, 1)
	go func() {
		_, err := p.client.NetworkList(testContext(t), nil)
		listed <- err
	}()
	<-p.entered
	ctx, cancel := context.WithTimeout(testContext(t), 10*time.Millisecond)
	defer cancel()
	if err := p.server.Pause(ctx); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "1 requests are still under way") {
		t.Errorf("Pause: %v", err)
	}
	p.expectServed(t)
	p.serve(t)
	p.leave <- struct{}{}
	if err := <-listed; err != nil {
		t.Errorf("the request that was under way: %v", err)
	}
	if err := p.client.Ping(testContext(t)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// upgrader is an Upgrader whose end the test decides.
type upgrader struct {
	refuse error
	failed chan error
	asked  chan UpgradeRequest
}

func (u *upgrader) Upgrade(_ context.Context, req UpgradeRequest) (Upgrade, <-chan error, error) {
	u.asked <- req
	return Upgrade{From: "1", To: "2", PID: 3}, u.failed, u.refuse
}

func TestUpgrade(t *testing.T) {
	u := &upgrader{failed: make(chan error, 1), asked: make(chan UpgradeRequest, 1)}
	p := newPaused(t, u)
	ctx := testContext(t)
	type result struct {
		Upgrade
		error
	}
	results := make(chan result, 1)
	begin := func() {
		t.Helper()
		go func() {
			done, err := p.client.Upgrade(ctx, UpgradeRequest{Binary: "/new"})
			results <- result{done, err}
		}()
		if req := <-u.asked; req.Binary != "/new" {
			t.Errorf("asked for %+v", req)
		}
	}

	u.refuse = Errorf(errdefs.ErrInvalidArgument, "no program")
	begin()
	if r := <-results; !errdefs.IsInvalidArgument(r.error) {
		t.Errorf("refused: %v", r.error)
	}

	u.refuse = nil
	begin()
	if err := p.server.Pause(ctx); err != nil { // it is a stream, once it is answered
		t.Fatal(err)
	}
	p.expectServed(t)
	u.failed <- errors.New("cannot be executed")
	if r := <-results; !errdefs.IsUnavailable(r.error) || r.Error() != "cannot be executed" {
		t.Errorf("failed: %v", r.error)
	}
	p.server.Resume()
	p.serve(t)

	begin()
	if err := p.server.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	p.expectServed(t)
	_ = p.server.http.Close() // the connections' end is that of the program
	if r := <-results; r.error != nil || r.Upgrade != (Upgrade{From: "1", To: "2", PID: 3}) {
		t.Errorf("executed: %+v", r)
	}
	p.served <- nil
}

func TestUpgradeOfWhatCannot(t *testing.T) {
	p := newPaused(t, nil)
	if _, err := p.client.Upgrade(testContext(t), UpgradeRequest{}); !errdefs.IsNotImplemented(err) {
		t.Errorf("%v", err)
	}
}
