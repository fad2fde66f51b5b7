package tap

import (
	"bytes"
	"context"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A bare interface is made for somebody else, such as a container runtime, who gives it
// addresses, brings it up, renames it and moves it to the namespace where it is used:
//
//	runtime's namespace                container's namespace
//	  fb3f1c20d9  --- ip link set ... netns ... name eth0 --->  eth0
//	      ^                                                       |
//	      '------- the queue that was opened at first stays ------'
//
// What does not change on the way is the MAC address: by that it is found again.

// takeBare finds a bare interface that is in this namespace, under whatever name, and
// nobody holds.
func takeBare(h *netlink.Handle, o LinkOptions) (*netlink.Tuntap, error) {
	tun, err := findBare(h, o)
	if err != nil {
		return nil, err
	}
	if tun.Queues+tun.DisabledQueues > 0 {
		return nil, fmt.Errorf("%s: %w (%d queues are open)", tun.Name, ErrBusy, tun.Queues+tun.DisabledQueues)
	}
	return tun, nil
}

// findBare returns the persistent TAP with the MAC of o; ErrNoDevice where there is none.
func findBare(h *netlink.Handle, o LinkOptions) (*netlink.Tuntap, error) {
	links, err := retryDump(h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		tun, ok := l.(*netlink.Tuntap)
		if ok && tun.Mode != netlink.TUNTAP_MODE_TUN && !tun.NonPersist && bytes.Equal(tun.HardwareAddr, o.MAC[:]) {
			return tun, nil
		}
	}
	return nil, fmt.Errorf("%s: %w with the address %x", o.Name, ErrNoDevice, o.MAC)
}

// DetachBare removes a bare interface from the namespace that it is in, which is
// ErrNoDevice where it is not.
func DetachBare(ctx context.Context, ns Namespaces, name string, mac [6]byte) error {
	o, err := LinkOptions{Name: name, MAC: mac, Bare: true}.complete()
	if err == nil {
		_, _, _, err = ask(ctx, ns, request{Op: opDetach, Link: o}, nil)
	}
	return err
}

// performDetachBare is the helper's part.
func performDetachBare(h *netlink.Handle, o LinkOptions) error {
	tun, err := findBare(h, o)
	if err != nil {
		return err
	}
	if err := h.LinkDel(tun); err != nil {
		return fmt.Errorf("remove %s: %w", tun.Name, err)
	}
	return nil
}

// queueName asks the kernel for the name that a queue's device has now, wherever it is.
func queueName(fd int) (string, error) {
	ifr, err := unix.NewIfreq("")
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr)
	}
	if err != nil {
		return "", fmt.Errorf("TUNGETIFF: %w", err)
	}
	return ifr.Name(), nil
}
