package portfwd

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/splice"
)

// Join joins a connected stream socket of this host to a container's port: the first
// of to that accepts; the container sees the gateway as its client. It takes h over
// and returns at once. What came of it is written to h first, as the number of an
// errno and a newline: 0 when they are joined, else nothing follows.
//
// Owner is whose connections these are, for the Budget. Errors of Join itself are
// those of a Forwarder that is closed.
func (f *Forwarder) Join(h *fdpass.Handle, owner string, to []netip.AddrPort) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return errors.Join(ErrClosed, h.Close())
	}
	fd := h.Take()
	j := &joined{}
	var ctx context.Context
	ctx, j.cancel = context.WithCancel(context.Background())
	for _, a := range to {
		j.containers = append(j.containers, f.containers.all.Owner(a.Addr()))
	}
	f.joined[j] = struct{}{}
	f.joins.Go(func() {
		f.join(ctx, fd, owner, to)
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.joined, j)
		j.cancel()
	})
	return nil
}

// joined is a connection of Join, or an attempt at one.
type joined struct {
	containers []netip.Addr // as limits know them
	cancel     context.CancelFunc
}

// endJoined ends the connections of Join to the container known by address a.
func (f *Forwarder) endJoined(a netip.Addr) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for j := range f.joined {
		if slices.Contains(j.containers, a) {
			j.cancel()
		}
	}
}

func (f *Forwarder) join(ctx context.Context, fd int, owner string, to []netip.AddrPort) {
	var err error = syscall.EADDRNOTAVAIL
	for _, a := range to {
		if err = f.joinTo(ctx, fd, owner, a); err == nil {
			return
		}
	}
	var no syscall.Errno
	switch {
	case errors.As(err, &no):
	case errors.Is(err, context.DeadlineExceeded):
		no = syscall.ETIMEDOUT
	default:
		no = syscall.ECONNABORTED
	}
	answer(fd, no)
	_ = unix.Close(fd)
}

// answer tells the other end of fd what came of it. The socket is new and has room.
func answer(fd int, no syscall.Errno) {
	_, _ = unix.Write(fd, []byte(strconv.Itoa(int(no))+"\n"))
}

// joinTo connects to one address and stays until the connection is over. An error
// means that fd was not used.
func (f *Forwarder) joinTo(ctx context.Context, fd int, owner string, to netip.AddrPort) error {
	c, why := f.containers.enter(to.Addr())
	if why != let {
		return syscall.ENOBUFS
	}
	defer f.containers.leave(c)
	n, ok := f.budget.enter(owner)
	if !ok {
		f.containers.refuse(c, overShare)
		f.containers.connected(c)
		return syscall.ENOBUFS
	}
	defer f.budget.leave(owner)
	ep, wq, err := f.dialFromGateway(ctx, to)
	f.containers.connected(c)
	if err != nil {
		return err
	}
	answer(fd, 0)
	splice.Confine(ep, n)
	// How it ended is for the two ends to know; both have been told.
	_ = f.relay(ctx, ep, wq, fd, c.Turn)
	return nil
}

func (f *Forwarder) dialFromGateway(ctx context.Context, to netip.AddrPort) (tcpip.Endpoint, *waiter.Queue, error) {
	src := f.gateway4
	if to.Addr().Is6() {
		src = f.gateway6
	}
	if !src.IsValid() {
		return nil, nil, syscall.EADDRNOTAVAIL
	}
	ctx, cancel := context.WithTimeout(ctx, f.limits.DialTimeout)
	defer cancel()
	return f.gateway.DialTCP(ctx, netip.AddrPortFrom(src, 0), to)
}
