package tap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// OpenOptions say which TAP Open is to attach to.
type OpenOptions struct {
	Name string // at most 15 bytes
	// Setup, if it is there, is what is set up of it and of lo.
	Setup *Setup `json:",omitempty"`
}

// Setup of an interface and of the namespace's loopback. Nothing else is touched: IPv6 is
// the kernel's own matter, by what routers advertise.
type Setup struct {
	MAC     [6]byte      // zero: the kernel's choice
	MTU     int          // bytes
	Address netip.Prefix // IPv4
	Gateway netip.Addr   // of the default route
}

// Open attaches to the TAP of that name as to one that is somebody else's: a persistent one
// that is there, of one queue or of many; or one that it makes, which goes with the last
// descriptor of it. Unlike Attach it owns nothing of it, so that nothing is left behind when
// everybody who has the queue ends.
//
// Errors: ErrOptions, ErrNameTaken, ErrBusy, ErrNoTun, ErrReply, and errnos of the
// kernel's.
func Open(ctx context.Context, ns Namespaces, o OpenOptions) (*Interface, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	req := request{Op: opOpen, Link: LinkOptions{Name: o.Name}, Open: &o}
	r, queues, method, err := ask(ctx, ns, req, nil)
	if err != nil {
		return nil, err
	}
	i := &Interface{
		Name: o.Name, Index: r.Index, MAC: r.MAC, Features: r.Features,
		Created: r.Created, Method: string(method), Queues: queues,
	}
	if err := i.Check(); err != nil {
		_ = i.Close()
		return nil, fmt.Errorf("tap: open %s: %w: %w", o.Name, ErrReply, err)
	}
	return i, nil
}

func (o *OpenOptions) check() error {
	if err := checkName(o.Name); err != nil {
		return err
	}
	s := o.Setup
	if s == nil {
		return nil
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("tap: interface %q: %w: %s", o.Name, ErrOptions, fmt.Sprintf(format, args...))
	}
	switch {
	case s.MAC[0]&1 != 0:
		return bad("MAC address %x is a group's", s.MAC)
	case s.MTU < minMTU4 || s.MTU > maxMTU:
		return bad("MTU %d is not in %d-%d", s.MTU, minMTU4, maxMTU)
	case !s.Address.IsValid() || !s.Address.Addr().Is4() || !usable(s.Address.Addr()):
		return bad("address %s", s.Address)
	case !s.Gateway.IsValid() || !s.Address.Contains(s.Gateway):
		return bad("gateway %s", s.Gateway)
	}
	return nil
}

// performOpen is the helper's part.
func performOpen(h *netlink.Handle, o OpenOptions) (r reply, fds []int, err error) {
	if o.Setup != nil {
		if err := loopbackUp(h); err != nil {
			return reply{}, nil, err
		}
	}
	tun, err := find(h, o.Name)
	if err != nil {
		return reply{}, nil, err
	}
	if tun != nil {
		if n := tun.Queues + tun.DisabledQueues; n > 0 {
			return reply{}, nil, fmt.Errorf("%s: %w (%d queues are open)", o.Name, ErrBusy, n)
		}
	}
	fd, err := openQueue(o.Name, tun != nil && several(tun))
	if err != nil {
		return reply{}, nil, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
			fds = nil
		}
	}()
	r = reply{Created: tun == nil, Queues: 1}
	if r.Features, err = setOffloads(fd); err != nil {
		return r, nil, fmt.Errorf("offloads of %s: %w", o.Name, err)
	}
	link, err := h.LinkByName(o.Name)
	if err != nil {
		return r, nil, fmt.Errorf("look for %s: %w", o.Name, err)
	}
	r.Index = link.Attrs().Index
	if o.Setup != nil {
		if err := o.Setup.apply(h, link, fd, r.Created); err != nil {
			return r, nil, fmt.Errorf("%s: %w", o.Name, err)
		}
	}
	r.MAC = hardwareAddr(fd)
	return r, []int{fd}, nil
}

// apply sets the interface up.
func (s *Setup) apply(h *netlink.Handle, link netlink.Link, fd int, created bool) error {
	if mac := net.HardwareAddr(s.MAC[:]); s.MAC != [6]byte{} && !bytes.Equal(mac, link.Attrs().HardwareAddr) {
		if err := h.LinkSetHardwareAddr(link, mac); err != nil {
			return fmt.Errorf("MAC %s: %w", mac, err)
		}
	}
	if err := h.LinkSetMTU(link, s.MTU); err != nil {
		return fmt.Errorf("MTU %d: %w", s.MTU, err)
	}
	if err := h.AddrAdd(link, addressOf(s.Address)); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("address %s: %w", s.Address, err)
	}
	// See performAttach: a link that comes up without a carrier, and gets it then, is used
	// by IPv6 at once.
	_ = unix.IoctlSetPointerInt(fd, unix.TUNSETCARRIER, 0)
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("up: %w", err)
	}
	_ = unix.IoctlSetPointerInt(fd, unix.TUNSETCARRIER, 1)
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: s.Gateway.AsSlice()}
	if err := h.RouteAdd(route); err != nil && (created || !errors.Is(err, unix.EEXIST)) {
		return fmt.Errorf("default route by %s: %w", s.Gateway, err)
	}
	return nil
}
