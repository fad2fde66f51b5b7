package tap

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/songgao/water"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// find looks for a TAP device; nil if there is nothing of that name.
func find(h *netlink.Handle, name string) (*netlink.Tuntap, error) {
	link, err := h.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", name, err)
	}
	tun, ok := link.(*netlink.Tuntap)
	// Mode 0: a kernel that doesn't tell (before 4.20).
	if !ok || (tun.Mode != 0 && tun.Mode != netlink.TUNTAP_MODE_TAP) {
		return nil, fmt.Errorf("%s is there already: %w (%s); choose another name or remove it", name, ErrNameTaken, link.Type())
	}
	return tun, nil
}

// unused makes sure that no interface has a name.
func unused(h *netlink.Handle, name string) error {
	link, err := h.LinkByName(name)
	switch {
	case errors.As(err, &netlink.LinkNotFoundError{}):
		return nil
	case err != nil:
		return fmt.Errorf("look for %s: %w", name, err)
	}
	return fmt.Errorf("%s: %w (%s); choose another name or remove it", name, ErrExists, link.Type())
}

// several reports whether the device was made for more than one queue.
func several(tun *netlink.Tuntap) bool { return tun.Flags&netlink.TUNTAP_MULTI_QUEUE != 0 }

// findOrCreate returns the persistent TAP of that name without any queue attached, and
// whether it is new. A new one is for one queue if it need not be for several: the kernel gives
// one for several 256, each with a queueing discipline of its own, and 6.3 MB of memory in all.
func findOrCreate(h *netlink.Handle, name string, forSeveral bool) (tun *netlink.Tuntap, created bool, err error) {
	tun, err = find(h, name)
	if err != nil {
		return nil, false, err
	}
	if tun != nil {
		switch {
		case tun.Queues+tun.DisabledQueues > 0:
			// A second holder would get a share of the frames, and the first would
			// decide on the virtio header.
			return nil, false, fmt.Errorf("%s: %w (%d queues are open)", name, ErrBusy, tun.Queues+tun.DisabledQueues)
		// Whether a persistent one is ours cannot be told: whoever may open it may change all that could be a mark. It is taken
		// as if it were.
		case tun.Mode != 0 && tun.NonPersist:
			return nil, false, fmt.Errorf("%s is there already: %w (a TAP that somebody else made); choose another name or remove it", name, ErrNameTaken)
		case forSeveral && !several(tun):
			return nil, false, fmt.Errorf("%s: %w: it was made for one queue; remove it, or ask for one", name, ErrOptions)
		}
		return tun, false, nil
	}

	ifce, err := water.New(water.Config{
		DeviceType: water.TAP,
		PlatformSpecificParams: water.PlatformSpecificParams{
			Name: name, Persist: true, MultiQueue: forSeveral,
		},
	})
	if err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EACCES) {
			err = tunError(err)
		}
		return nil, false, fmt.Errorf("create %s: %w", name, err)
	}
	// Closed before our queues are opened: the first queue decides on the header.
	if err := ifce.Close(); err != nil {
		return nil, false, fmt.Errorf("create %s: %w", name, err)
	}
	tun, err = find(h, name)
	if err == nil && tun == nil {
		err = fmt.Errorf("create %s: it vanished", name)
	}
	if err != nil {
		return nil, false, err
	}
	return tun, true, nil
}

// loopbackDown takes lo down, and the address from it that the kernel gave it when it
// came up, and does not take itself.
func loopbackDown(h *netlink.Handle) error {
	lo, err := h.LinkByName("lo")
	if err == nil {
		err = h.LinkSetDown(lo)
	}
	if err == nil {
		own := netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 8)
		if err = h.AddrDel(lo, &netlink.Addr{IPNet: ipNet(own)}); errors.Is(err, unix.EADDRNOTAVAIL) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("take lo down: %w", err)
	}
	return nil
}

// loopbackUp brings lo up; the kernel gives it its addresses.
func loopbackUp(h *netlink.Handle) error {
	lo, err := h.LinkByName("lo")
	if err == nil && lo.Attrs().RawFlags&unix.IFF_UP == 0 {
		err = h.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}
