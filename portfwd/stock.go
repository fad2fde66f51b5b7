package portfwd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/kernelsplice"
)

const (
	// stockBase sockets wait for the next clients of a container that has none. Each
	// is a descriptor and some 3 KB of the kernel's.
	stockBase = 4
	// stockIdle is how long more of them wait after a burst.
	stockIdle = 10 * time.Second
	// MaxOrder bounds what Stock.Wanted asks for at once: as many as one message carries.
	MaxOrder = 253
)

// Stock is sockets that were made inside a container's network namespace, for clients
// on the host's loopback: each connects to one of the container's own addresses. They
// are used again. Who makes them is not this package's business: when there are too few
// the Stock rings a bell, is asked for the number (Wanted), and is supplied.
//
//	take --> connection --> give          Wanted: as many as clients wait for, up to the base,
//	  |                       |           and more where many are used
//	  +------- idle <---------+ <-- Supply
type Stock struct {
	forwarder *Forwarder
	addr      netip.Addr
	bell      func()

	mu      sync.Mutex
	idle    []*kernelsplice.Socket // who waits longest first: see Socket.Ready
	used    int
	waiting []chan *kernelsplice.Socket // clients; each has room for one
	ordered int                         // by Wanted, not supplied yet
	rung    bool
	full    bool // the Budget has no room for idle ones, since nobody had to wait
	closed  bool
	spare   int     // idle sockets that nobody has needed since shrink was set
	shrink  stopper // nil: there are no more than the base
}

// errNoStock: there are no sockets inside the container.
var errNoStock = errors.New("no sockets inside the container")

// AddStock makes a Stock for connections to a container's address a, instead of the one
// that is there. bell is called when it wants something; it must not block. While there
// is a Stock, TCP clients on the host's loopback are joined to the container by it,
// and by nothing else.
func (f *Forwarder) AddStock(a netip.Addr, bell func()) (*Stock, error) {
	st := &Stock{forwarder: f, addr: a.Unmap(), bell: bell}
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil, ErrClosed
	}
	old := f.stocks[st.addr]
	f.stocks[st.addr] = st
	f.mu.Unlock()
	if old != nil {
		old.Close()
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.ring()
	return st, nil
}

// stock is that of a container's address, nil if there is none.
func (f *Forwarder) stock(a netip.Addr) *Stock {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.stocks[a]
}

// lack is how many sockets are to be ordered; st.mu is held.
func (st *Stock) lack() int {
	base, have := stockBase, st.ordered+len(st.idle)
	if st.full {
		base = 0
	}
	if len(st.waiting) > 0 {
		have = st.ordered - len(st.waiting) // what is idle is not ready
	}
	if st.closed || have >= base/2 {
		return 0
	}
	return min(base-have+st.used/4, MaxOrder)
}

// ring rings the bell if something is lacking and it has not been rung; st.mu is held.
func (st *Stock) ring() {
	if !st.rung && st.lack() > 0 {
		st.rung = true
		st.bell()
	}
}

// Wanted gives the number of sockets that the Stock wants now, at most MaxOrder. Who
// asks is to supply them.
func (st *Stock) Wanted() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.rung = false
	n := st.lack()
	st.ordered += n
	return n
}

// Supply takes over sockets: TCP, made inside the container's network namespace, not
// blocking, and bound to the Stock's address. asked is how many Wanted had asked for, of which there
// may be fewer.
func (st *Stock) Supply(hs []*fdpass.Handle, asked int) error {
	var errs []error
	var all []*kernelsplice.Socket
	for _, h := range hs {
		s, err := st.innerSocket(h.Take())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, s)
	}
	st.mu.Lock()
	st.ordered = max(st.ordered-asked, 0)
	st.used += len(all)
	st.mu.Unlock()
	for _, s := range all {
		st.give(s)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(hs) == asked { // else whoever supplies comes back by himself
		st.ring()
	}
	return errors.Join(errs...)
}

func (st *Stock) innerSocket(fd int) (*kernelsplice.Socket, error) {
	if err := prepareTCP(fd); err != nil {
		return nil, errors.Join(err, syscall.Close(fd))
	}
	s, err := kernelsplice.NewInner(fd)
	if err == nil && s.Local() != st.addr {
		s.Close()
		err = fmt.Errorf("%w: it is bound to %v, not to %v", ErrSocket, s.Local(), st.addr)
	}
	return s, err
}

// take gives a socket, for which it waits if there is none. It is to be given back, or
// lost.
func (st *Stock) take(ctx context.Context) (*kernelsplice.Socket, error) {
	st.mu.Lock()
	if st.closed {
		st.mu.Unlock()
		return nil, errNoStock
	}
	if s := st.pick(); s != nil {
		st.ring()
		st.mu.Unlock()
		return s, nil
	}
	ch := make(chan *kernelsplice.Socket, 1)
	st.waiting = append(st.waiting, ch)
	st.full = false
	st.ring()
	st.mu.Unlock()
	select {
	case s, ok := <-ch:
		if !ok {
			return nil, errNoStock
		}
		return s, nil
	case <-ctx.Done():
	}
	st.mu.Lock()
	if i := slices.Index(st.waiting, ch); i >= 0 {
		st.waiting = slices.Delete(st.waiting, i, i+1)
	}
	st.mu.Unlock()
	select {
	case s, ok := <-ch:
		if ok {
			st.give(s)
		}
	default:
	}
	return nil, syscall.ETIMEDOUT
}

// pick takes an idle socket that is ready, nil if there is none; st.mu is held.
func (st *Stock) pick() *kernelsplice.Socket {
	now := time.Now()
	for i, s := range st.idle {
		if !s.Ready(now) {
			continue
		}
		copy(st.idle[1:i+1], st.idle[:i])
		st.idle[0] = nil
		st.idle = st.idle[1:]
		st.used++
		st.spare = min(st.spare, len(st.idle))
		st.forwarder.budget.idle.Give()
		return s
	}
	return nil
}

// give takes a socket back that can connect again.
func (st *Stock) give(s *kernelsplice.Socket) {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.closed:
		st.used--
		s.Close()
		return
	case len(st.waiting) > 0 && s.Ready(time.Now()):
		ch := st.waiting[0]
		st.waiting = st.waiting[1:]
		ch <- s
		st.ring()
		return
	}
	st.used--
	if !st.forwarder.budget.idle.Take(len(st.idle)) {
		st.full = true
		s.Close()
		return
	}
	st.idle = append(st.idle, s)
	if len(st.idle) > stockBase && st.shrink == nil {
		st.watch()
	}
}

// lost notes the end of a socket that was taken.
func (st *Stock) lost() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.used--
	st.ring()
}

// watch has sockets that nobody needs closed after a while; st.mu is held.
func (st *Stock) watch() {
	st.spare = len(st.idle)
	st.shrink = st.forwarder.clock.after(stockIdle, func() {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.shrink = nil
		if st.closed {
			return
		}
		st.drop(min(st.spare, len(st.idle)-stockBase))
		if len(st.idle) > stockBase {
			st.watch()
		}
	})
}

// drop closes n idle sockets; st.mu is held.
func (st *Stock) drop(n int) {
	for range max(n, 0) {
		st.idle[0].Close()
		st.idle[0] = nil
		st.idle = st.idle[1:]
		st.forwarder.budget.idle.Give()
	}
}

// Close closes the sockets that are idle, and those that are used when they come back.
// Clients on loopback go by the gateway from now on. Closing twice is harmless.
func (st *Stock) Close() {
	f := st.forwarder
	f.mu.Lock()
	if f.stocks[st.addr] == st {
		delete(f.stocks, st.addr)
	}
	f.mu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return
	}
	st.closed = true
	if st.shrink != nil {
		st.shrink.Stop()
	}
	st.drop(len(st.idle))
	for _, ch := range st.waiting {
		close(ch)
	}
	st.waiting = nil
}

// StockStats are a Forwarder's sockets inside containers.
type StockStats struct {
	Idle, Used, Waiting int
}

// StockStats reads them.
func (f *Forwarder) StockStats() StockStats {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var out StockStats
	for _, st := range f.stocks {
		st.mu.Lock()
		out.Idle += len(st.idle)
		out.Used += st.used
		out.Waiting += len(st.waiting)
		st.mu.Unlock()
	}
	return out
}
