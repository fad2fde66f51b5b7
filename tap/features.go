package tap

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Features are what the kernel offers on a TAP device.
type Features struct {
	VirtioHeader bool // IFF_VNET_HDR: every frame has a virtio header
	Checksum     bool // TUN_F_CSUM: frames with partial checksums
	TSO          bool // TUN_F_TSO4, TSO6 and TSO_ECN: TCP super-frames
	USO          bool // TUN_F_USO4 and USO6, Linux 6.2: UDP super-frames
}

const (
	offloadBase = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	// The kernel takes USO4 and USO6 together or not at all.
	offloadUSO = unix.TUN_F_USO4 | unix.TUN_F_USO6

	queueFlags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR
)

// openQueue attaches a queue to the device called name, which was made for one or for several. A device
// that is not there is made, and ends with its last queue. The queue of a device of one that somebody
// holds is ErrBusy.
func openQueue(name string, several bool) (int, error) {
	flags := uint16(queueFlags)
	if several {
		flags |= unix.IFF_MULTI_QUEUE
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, tunError(err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(flags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if errors.Is(err, unix.EBUSY) {
		err = fmt.Errorf("%w: %w", ErrBusy, err)
	}
	if err == nil {
		err = checkQueue(fd, name)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("attach a queue to %s: %w", name, err)
	}
	return fd, nil
}

// tunError explains an error of opening /dev/net/tun.
func tunError(err error) error {
	hint := ""
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV):
		hint = " (load the kernel module: modprobe tun)"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		hint = " (users need to read and write it: chmod 0666 /dev/net/tun)"
	}
	return fmt.Errorf("%w%s: %w", ErrNoTun, hint, err)
}

// checkQueue makes sure that fd is a queue of the TAP called name, with a virtio
// header of HeaderSize bytes.
func checkQueue(fd int, name string) error {
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr); err != nil {
		return fmt.Errorf("not a queue: TUNGETIFF: %w", err)
	}
	if ifr.Name() != name {
		return fmt.Errorf("a queue of %q, not of %q", ifr.Name(), name)
	}
	if flags := ifr.Uint16(); flags&queueFlags != queueFlags {
		return fmt.Errorf("a queue with flags %#x: %#x are missing", flags, queueFlags&^flags)
	}
	size, err := unix.IoctlGetInt(fd, unix.TUNGETVNETHDRSZ)
	if err != nil {
		return fmt.Errorf("TUNGETVNETHDRSZ: %w", err)
	}
	if size != HeaderSize {
		return fmt.Errorf("a queue with virtio headers of %d bytes, not %d", size, HeaderSize)
	}
	return nil
}

// setOffloads tells the kernel what we take on a queue's device, which is then
// what the container's kernel leaves undone.
func setOffloads(fd int) (Features, error) {
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, HeaderSize); err != nil {
		return Features{}, fmt.Errorf("TUNSETVNETHDRSZ: %w", err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETLE, 1); err != nil {
		return Features{}, fmt.Errorf("TUNSETVNETLE: %w", err)
	}
	f := Features{VirtioHeader: true}
	for _, try := range []struct {
		flags    int
		tso, uso bool
	}{
		{offloadBase | offloadUSO, true, true},
		{offloadBase, true, false},
		{unix.TUN_F_CSUM, false, false},
	} {
		if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, try.flags); err == nil {
			f.Checksum, f.TSO, f.USO = true, try.tso, try.uso
			return f, nil
		} else if !errors.Is(err, unix.EINVAL) {
			return f, fmt.Errorf("TUNSETOFFLOAD %#x: %w", try.flags, err)
		}
	}
	return f, nil
}

// kernelFeatures asks what flags TUNSETIFF would take, which needs no privilege.
func kernelFeatures() (Features, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return Features{}, tunError(err)
	}
	defer unix.Close(fd)
	var flags uint32
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNGETFEATURES, uintptr(unsafe.Pointer(&flags)))
	runtime.KeepAlive(&flags)
	if e != 0 {
		return Features{}, fmt.Errorf("TUNGETFEATURES: %w", e)
	}
	return Features{VirtioHeader: flags&unix.IFF_VNET_HDR != 0}, nil
}
