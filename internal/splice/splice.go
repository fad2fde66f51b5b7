package splice

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/footbridge-net/footbridge/internal/crew"
	"github.com/footbridge-net/footbridge/internal/errno"
	"github.com/footbridge-net/footbridge/internal/turn"
)

// resetGrace is how long a host that does not read keeps a connection that its
// container has reset. What was sent before the reset may leave in this time.
const resetGrace = time.Second / 2

// Pair is two connections that are to be joined.
type Pair struct {
	ep   tcpip.Endpoint
	wq   *waiter.Queue
	conn *Conn

	// endToHost and endToContainer are set before the end of data is passed
	// on. What is closed without is reset.
	endToHost, endToContainer atomic.Bool

	turn *turn.Turn // of the container

	stop chan struct{}

	mu    sync.Mutex
	cause error // why stop is closed
}

// New makes a Pair of a connected netstack endpoint with its wait queue and a
// host connection, and takes over both.
func New(ep tcpip.Endpoint, wq *waiter.Queue, conn *Conn) *Pair {
	return &Pair{ep: ep, wq: wq, conn: conn, turn: turn.New(runtime.Gosched), stop: make(chan struct{})}
}

// Relay joins ep and conn until both directions have ended, one side resets,
// or ctx is done; see Pair.Run. It works when it is the container's turn.
func Relay(ctx context.Context, ep tcpip.Endpoint, wq *waiter.Queue, conn *Conn, t *turn.Turn) error {
	p := New(ep, wq, conn)
	p.turn = t
	defer context.AfterFunc(ctx, p.Abort)()
	return p.Run()
}

// Run moves bytes both ways until both directions have ended, then closes both
// ends and returns nil. It does not return before the container has taken what
// netstack holds for it: until then the connection costs as much as any other,
// and whoever counts connections has to count it. If one side fails or Abort is
// called it resets both and returns the first failure: a syscall.Errno such as
// ECONNRESET or ETIMEDOUT, ECONNABORTED after Abort.
func (p *Pair) Run() error {
	entry := waiter.NewFunctionEntry(waiter.EventHUp|waiter.EventErr, func(waiter.EventMask) { p.hungUp() })
	p.wq.EventRegister(&entry)
	defer p.wq.EventUnregister(&entry)
	p.hungUp() // it may have happened before

	done := make(chan struct{})
	crew.Go(func() {
		defer close(done)
		p.run(p.toHost)
	})
	p.run(p.toContainer)
	<-done

	p.mu.Lock()
	err := p.cause
	p.mu.Unlock()
	if err != nil {
		p.ep.Abort()
		p.conn.Reset()
		return err
	}
	p.conn.Close()
	return p.finish()
}

// finish closes the container's side and waits until netstack has nothing of
// the connection but its TIME-WAIT. A container that keeps its window shut
// holds up to a send buffer for as long as it likes; netstack gives up by
// itself only one that does not answer.
func (p *Pair) finish() error {
	entry, ch := waiter.NewChannelEntry(waiter.EventHUp | waiter.EventErr)
	p.wq.EventRegister(&entry)
	defer p.wq.EventUnregister(&entry)
	p.ep.Close()
	for {
		switch tcp.EndpointState(p.ep.State()) {
		case tcp.StateClose, tcp.StateError, tcp.StateTimeWait:
			return nil
		}
		select {
		case <-ch:
		case <-p.stop:
			p.ep.Abort()
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.cause
		}
	}
}

// Abort resets both ends and makes Run return.
func (p *Pair) Abort() { p.fail(syscall.ECONNABORTED) }

// run runs one direction; its failure ends the other. The endpoint is not
// touched here: the other direction may be looking at its memory.
func (p *Pair) run(direction func() error) {
	err := direction()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// Set by hungUp, or by fail, which has its cause.
		err = p.endpointError()
	}
	if err != nil {
		p.fail(err)
	}
}

func (p *Pair) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause == nil {
		p.cause = err
		close(p.stop)
		p.conn.interrupt()
	}
}

// hungUp is called when the container's side may be gone. Both directions may
// be waiting for a silent host meanwhile.
func (p *Pair) hungUp() {
	if p.failed() {
		p.conn.expire(time.Now().Add(resetGrace))
	}
}

// failed reports whether the container's side was reset or has timed out.
func (p *Pair) failed() bool {
	switch tcp.EndpointState(p.ep.State()) {
	case tcp.StateError:
		return true
	case tcp.StateClose: // how netstack takes a reset behind an end of data
		return !p.endToContainer.Load()
	}
	return false
}

// endpointError is why the container's side failed. Netstack tells it once, to
// whoever asks first.
func (p *Pair) endpointError() error {
	if terr := p.ep.LastError(); terr != nil {
		return errno.From(terr)
	}
	return syscall.ECONNRESET
}

// wait waits for an event of the endpoint.
func (p *Pair) wait(ch <-chan struct{}) error {
	select {
	case <-ch:
		return nil
	case <-p.stop:
		return syscall.ECONNABORTED
	}
}
