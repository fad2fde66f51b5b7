package forwarder

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrOutbound wraps why a flow cannot leave as Options.Outbound says: the host does
// not have the address or the interface (any more).
var ErrOutbound = errors.New("the way out that was chosen for the network is not there")

// Outbound is where flows leave the host. Zero fields leave it to the host's routes.
type Outbound struct {
	Addr4, Addr6 netip.Addr // source addresses
	Device       string     // interface
}

func (o *Outbound) addr(v4 bool) netip.Addr {
	if v4 {
		return o.Addr4
	}
	return o.Addr6
}

// bind makes the socket fd send by the interface and from the address that were
// chosen, if any were. Its port is the kernel's choice, made when it is needed.
// Errors wrap ErrOutbound.
//
// SO_BINDTODEVICE takes no privilege on sockets that have no interface yet (Linux
// 5.7).
func (o *Outbound) bind(fd int, v4 bool) error {
	if o.Device != "" {
		if err := unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, o.Device); err != nil {
			return fmt.Errorf("%w: interface %s: %w", ErrOutbound, o.Device, err)
		}
	}
	a := o.addr(v4)
	if !a.IsValid() {
		return nil
	}
	if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(a, 0))); err != nil {
		return fmt.Errorf("%w: address %s: %w", ErrOutbound, a, err)
	}
	return nil
}

// chosen reports whether anything was chosen for a family.
func (o *Outbound) chosen(v4 bool) bool { return o.Device != "" || o.addr(v4).IsValid() }

// bindLate is bind for TCP, whose connections may share a port when their servers
// differ, as those of other programs do: the port is chosen by connect(2).
func (o *Outbound) bindLate(fd int, v4 bool) error {
	if o.addr(v4).IsValid() {
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}
	return o.bind(fd, v4)
}

// refuseSocket counts a flow for which there is no socket, and gives the error that its
// container is to be told of: only that its network's way out is not there, which
// is no matter of this process. The caller holds mu.
func (f *Forwarder) refuseSocket(c *client, what string, err error) error {
	why := refusedSocket
	if errors.Is(err, ErrOutbound) {
		why = refusedOutbound
	}
	f.refuse(c, why)
	f.warn(what+": no socket", err)
	if why == refusedOutbound {
		return err
	}
	return nil
}

// refuseOutbound counts, and logs, what a flow could not send because its network's way
// out has gone.
func (f *Forwarder) refuseOutbound(c *client, what string, err error) {
	f.mu.Lock()
	f.refuse(c, refusedOutbound)
	f.mu.Unlock()
	if !errors.Is(err, ErrOutbound) {
		err = fmt.Errorf("%w: %w", ErrOutbound, err)
	}
	f.warn(what, err)
}

// wayIsGone reports whether a send failed because the address or interface that its
// socket is bound to has gone: a new socket would say so, or work.
func wayIsGone(err error) bool {
	switch err {
	case syscall.ENODEV, syscall.ENXIO, syscall.EADDRNOTAVAIL, syscall.EINVAL:
		return true
	}
	return false
}
