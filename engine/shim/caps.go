package shim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"
)

// defaultCaps is what a command may hold at most unless the caller says otherwise: Docker's list.
// CAP_SYS_ADMIN and CAP_NET_ADMIN are not in it, and that carries weight here: without the first
// nobody takes a mask off, without the second nobody changes the container's addresses.
var defaultCaps = []capability.Cap{
	capability.CAP_CHOWN, capability.CAP_DAC_OVERRIDE, capability.CAP_FSETID, capability.CAP_FOWNER,
	capability.CAP_MKNOD, capability.CAP_NET_RAW, capability.CAP_SETGID, capability.CAP_SETUID,
	capability.CAP_SETFCAP, capability.CAP_SETPCAP, capability.CAP_NET_BIND_SERVICE,
	capability.CAP_SYS_CHROOT, capability.CAP_KILL, capability.CAP_AUDIT_WRITE,
}

// boundingSet returns the capabilities that a command may hold: all of them when privileged, else
// Docker's default with additions and removals. A removal wins over ALL added; an addition wins over ALL removed.
func boundingSet(add, drop []string, privileged bool) ([]capability.Cap, error) {
	adds, addAll, err := parseCaps("CapAdd", add)
	if err != nil {
		return nil, err
	}
	drops, dropAll, err := parseCaps("CapDrop", drop)
	if err != nil {
		return nil, err
	}
	var set []capability.Cap
	switch {
	case privileged, addAll:
		set = capability.ListKnown()
	case !dropAll:
		set = slices.Clone(defaultCaps)
	}
	if privileged {
		return set, nil
	}
	for _, c := range adds {
		if !slices.Contains(set, c) {
			set = append(set, c)
		}
	}
	return slices.DeleteFunc(set, func(c capability.Cap) bool { return slices.Contains(drops, c) }), nil
}

func parseCaps(flag string, names []string) (caps []capability.Cap, all bool, err error) {
	for _, name := range names {
		n := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
		if n == "ALL" {
			all = true
			continue
		}
		i := slices.IndexFunc(capability.ListKnown(), func(c capability.Cap) bool {
			return strings.ToUpper(c.String()) == n
		})
		if i < 0 {
			return nil, false, invalid("%s: unknown capability: %q", flag, name)
		}
		caps = append(caps, capability.ListKnown()[i])
	}
	return caps, all, nil
}

// limitCaps leaves the calling thread only what is in set to ever gain, and nothing to inherit. What it
// holds at present stays: the coming execve takes it away. The thread must be locked.
func limitCaps(set []capability.Cap) error {
	last, err := capability.LastCap()
	if err != nil {
		return fmt.Errorf("find the kernel's capabilities: %w", err)
	}
	for c := capability.Cap(0); c <= last; c++ {
		if slices.Contains(set, c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return fmt.Errorf("drop %s from the bounding set: %w", c, err)
		}
	}
	if err := capability.ResetAmbient(); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("clear inheritable capabilities: %w", err)
	}
	return nil
}
