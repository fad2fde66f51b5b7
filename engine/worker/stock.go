package worker

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/portfwd"
	"github.com/footbridge-net/footbridge/tap"
)

// Clients of a published port that are on the host's loopback are joined to the container by
// sockets that were made inside its network namespace, where the worker cannot go:
//
//	worker                                         keeper
//	Stock has too few: bell (eventfd) -----------> wakes up
//	                   Wanted <------ opWanted --- asks for whom, and how many
//	                          ------- wishes ----> are they of stocks that there are?
//	                                               tap.Sockets: so many, in the namespace
//	                   Supply <------ opSupply --- hands them over
//
// A bell says nothing but that it was rung. A worker that rings for ever gets, for half of the
// keeper's time at most, sockets inside containers whose packets it carries anyhow.

// newBell makes the keeper's end and the worker's.
func newBell() (bell, rope *os.File, err error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, nil, os.NewSyscallError("eventfd2", err)
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		unix.Close(fd)
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "bell"), os.NewFile(uintptr(dup), "bell's rope"), nil
}

var one = []byte{1, 0, 0, 0, 0, 0, 0, 0} // a counter's, as an eventfd wants it: little-endian as all that this runs on

// ringBell is the worker's. Where the counter is full it was rung enough.
func ringBell() { _, _ = unix.Write(bellFD, one) }

// addStock makes a container's address one for which there are sockets inside it.
func (s *server) addStock(key string, b stockBody) error {
	n, err := s.network(b.Network)
	if err != nil {
		return err
	}
	st, err := n.AddStock(b.Addr, ringBell)
	if err == nil {
		s.stocks[key] = stock{st, b.Network}
	}
	return err
}

// wanted gives what stocks want.
func (s *server) wanted() []wish {
	out := []wish{}
	for key, st := range s.stocks {
		if len(out) == maxWishes {
			ringBell()
			break
		}
		if n := st.Wanted(); n > 0 {
			out = append(out, wish{key, n})
		}
	}
	return out
}

func (s *server) supply(r request, handles []*fdpass.Handle) error {
	var b supplyBody
	if err := decode(r.Body, &b); err != nil {
		return err
	}
	st, ok := s.stocks[b.Key]
	if !ok {
		return nil // it is over
	}
	return st.Supply(handles, b.Asked)
}

// The keeper's side.

const (
	// pauseInVain is how long a bell is not heard that was rung for nothing.
	pauseInVain = 10 * time.Millisecond
	// pauseFailed is how long it is not heard when the kernel had no sockets, memory or
	// descriptors to give.
	pauseFailed = time.Second
)

// attend supplies a worker whenever it rings, until its end.
func (s *Supervisor) attend(p *process) {
	b := make([]byte, 8)
	for {
		if _, err := p.bell.Read(b); err != nil {
			return
		}
		start := time.Now()
		n, err := s.supplyAll(p)
		pause := time.Since(start) // half of the time is others'
		switch {
		case err != nil:
			pause = pauseFailed
		case n == 0:
			pause = max(pause, pauseInVain)
		}
		select {
		case <-time.After(pause):
		case <-p.done:
			return
		}
		if err != nil {
			_, _ = p.bell.Write(one)
		}
	}
}

// supplyAll asks what is wanted and supplies it. It gives the number of stocks that wanted
// something; an error is one that may pass.
func (s *Supervisor) supplyAll(p *process) (n int, err error) {
	var wishes []wish
	s.with(p, func() { err = p.request(request{Op: opWanted}, nil, &wishes) })
	if err != nil || len(wishes) > maxWishes {
		return 0, nil // it is replaced, or ought to be
	}
	for _, w := range wishes {
		if w.Count < 1 || w.Count > portfwd.MaxOrder {
			continue
		}
		id := factID{kindStock, w.Key}
		failed := s.supply(p, id, w.Count)
		switch {
		case failed == nil:
			n++
		case passing(failed):
			err = failed
			s.log.Warn("no sockets inside a container; it is tried again", "stock", w.Key, "error", failed)
		default:
			// Its loopback clients are not to wait for what does not come.
			s.log.Warn("no sockets can be made inside a container: clients on the host's loopback reach it by the gateway", "stock", w.Key, "error", failed)
			s.logged(s.drop(id))
		}
	}
	return n, err
}

// passing reports whether an error is one of a machine that is short of something.
func passing(err error) bool {
	return slices.ContainsFunc([]error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EAGAIN, unix.EINTR, unix.ETOOMANYREFS}, func(e error) bool { return errors.Is(err, e) })
}

// with calls f with the lock held if p is the worker that is in charge, and replaces it if it
// is of no use afterwards.
func (s *Supervisor) with(p *process, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.held || s.live != p {
		return
	}
	f()
	if p.broken() {
		_ = s.restart() // logged
	}
}

// supply makes n sockets for a stock and hands them over.
func (s *Supervisor) supply(p *process, id factID, n int) (err error) {
	s.with(p, func() {
		f := s.facts[id]
		if f == nil {
			return
		}
		var b stockBody
		if err = decode(f.body, &b); err != nil {
			return
		}
		hs, next, failed := tap.Sockets(f.inside, netip.AddrPortFrom(b.Addr, f.next), n)
		f.next = next
		// Without sockets, too: the worker knows then that these do not come.
		var body json.RawMessage
		if body, err = json.Marshal(supplyBody{id.key, n}); err == nil {
			err = p.request(request{Op: opSupply, Body: body}, hs, nil)
		}
		fdpass.CloseAll(hs)
		if p.broken() {
			err = nil // the next one asks again
		}
		err = cmp.Or(failed, err)
	})
	return err
}

// keepStock makes sure that there is a stock for a container's address, and keepStock's
// caller has it until letStock.
func (p *Plane) keepStock(a netip.Addr, ns tap.Namespaces) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stocks[a]++; p.stocks[a] > 1 {
		return nil
	}
	inside, err := ns.Dup()
	if err == nil {
		f := &fact{factID: p.stockID(a), inside: inside, next: uint16(rand.Uint32N(1 << 16))}
		if f.body, err = json.Marshal(stockBody{p.spec.ID, a}); err == nil {
			err = p.s.put(f)
		}
	}
	if err != nil {
		delete(p.stocks, a)
		return fmt.Errorf("sockets inside the container with address %v: %w", a, err)
	}
	return nil
}

func (p *Plane) letStock(a netip.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stocks[a]--; p.stocks[a] > 0 {
		return nil
	}
	delete(p.stocks, a)
	return p.s.drop(p.stockID(a))
}

func (p *Plane) stockID(a netip.Addr) factID { return factID{kindStock, clientKey(p.spec.ID, a)} }
