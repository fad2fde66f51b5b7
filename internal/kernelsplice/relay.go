package kernelsplice

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"

	"github.com/footbridge-net/footbridge/internal/crew"
	"github.com/footbridge-net/footbridge/internal/turn"
)

// Options of Relay. All are required.
type Options struct {
	Pipes  *Pipes
	Holder *Holder    // of the container
	Turn   *turn.Turn // of the container
}

// pair is two sockets that are joined.
type pair struct {
	a, b   *Socket
	pipes  *Pipes
	holder *Holder
	turn   *turn.Turn

	mu    sync.Mutex
	ended int   // directions whose end was passed on
	over  bool  // Relay has returned
	cause error // the first failure
}

// Relay moves bytes both ways between a and b until both directions have ended, and then
// returns nil; or until one side fails or ctx ends, and then returns why: a
// syscall.Errno, ECONNABORTED for ctx. The caller then resets both. moved are the bytes that b was sent.
func Relay(ctx context.Context, a, b *Socket, o Options) (moved int64, err error) {
	p := &pair{a: a, b: b, pipes: o.Pipes, holder: o.Holder, turn: o.Turn}
	defer context.AfterFunc(ctx, func() { p.fail(syscall.ECONNABORTED) })()
	up := direction{from: a, to: b, pair: p}
	down := direction{from: b, to: a, pair: p}
	done := make(chan struct{})
	crew.Go(func() {
		defer close(done)
		p.run(&down)
	})
	p.run(&up)
	<-done
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	return up.moved, p.cause
}

// run moves one direction to its end, and then watches its source until the other one
// has come to its end.
func (p *pair) run(d *direction) {
	err := d.run()
	if err != nil {
		p.fail(err)
		return
	}
	p.mu.Lock()
	p.ended++
	last := p.ended == 2
	p.mu.Unlock()
	if last {
		return // what the other one watches is hung up by that
	}
	var failed error
	err = d.from.raw.Read(func(uintptr) (ended bool) {
		ended, failed = d.from.hungUp()
		return ended
	})
	if err == nil && failed != nil {
		p.fail(failed)
	}
}

// fail ends both directions; the first cause counts.
func (p *pair) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || p.ended == 2 || p.cause != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	p.cause = err
	p.wake()
}

// wake makes both sockets' waiting calls return, now and later; p.mu is held.
func (p *pair) wake() {
	for _, s := range []*Socket{p.a, p.b} {
		s.interrupt = true
		s.expire()
	}
}
