package probe

import (
	"fmt"
	"net/netip"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Raw system calls do not tell Go's scheduler that the thread will wait. With the usual ones its monitor thread takes
// the processor away from each call that lasts for more than 20 us, which is every one here, and stays awake for that:
// a third thread on a machine whose two are being measured. The price: nobody can stop the world while such a call
// waits, so memory is not collected (measure), there are more Ps than threads, and every wait has an end (setTimeout).

// settle makes the goroutine a thread for raw calls. Go's monitor takes such a thread for one that computes, and asks it
// every 10 ms by a signal to let others run: that would interrupt each wait before its end.
func settle() error {
	runtime.LockOSThread()
	var blocked unix.Sigset_t
	const bitsOfWord = unsafe.Sizeof(blocked.Val[0]) * 8
	n := uintptr(unix.SIGURG - 1)
	blocked.Val[n/bitsOfWord] |= 1 << (n % bitsOfWord)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &blocked, nil); err != nil {
		return fmt.Errorf("blocking the scheduler's signal: %w", err)
	}
	return nil
}

func read(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

func write(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

func closeFD(fd int) {
	// An interrupted close(2) has closed; there is nothing to be done about any other error of it.
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

func accept(fd int) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

func sendTo(fd int, b []byte, to *unix.RawSockaddrInet6, toLen uint32) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0,
		uintptr(unsafe.Pointer(to)), uintptr(toLen))
	if errno != 0 {
		return errno
	}
	return nil
}

// epollWait waits for at most timeout milliseconds, and for ever where that is negative: then Go's scheduler is told.
func epollWait(fd int, events []unix.EpollEvent, timeout int) (int, error) {
	if timeout < 0 {
		return unix.EpollWait(fd, events, timeout)
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(events))),
		uintptr(len(events)), uintptr(timeout), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// mmsghdr is struct mmsghdr of sys/socket.h.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// batch is memory for datagrams that are received with one call.
type batch struct {
	headers []mmsghdr
	vectors []unix.Iovec
	names   []unix.RawSockaddrInet6 // room for IPv4's as well
	buffers [][]byte
}

func newBatch(n, size int) *batch {
	b := &batch{make([]mmsghdr, n), make([]unix.Iovec, n), make([]unix.RawSockaddrInet6, n), make([][]byte, n)}
	for i := range n {
		b.buffers[i] = make([]byte, size)
		b.vectors[i].Base = &b.buffers[i][0]
		b.vectors[i].SetLen(size)
		b.headers[i].hdr.Iov = &b.vectors[i]
		b.headers[i].hdr.SetIovlen(1)
		b.headers[i].hdr.Name = (*byte)(unsafe.Pointer(&b.names[i]))
	}
	return b
}

// receive waits for one datagram, as long as the socket allows, and takes what else is there.
func (b *batch) receive(fd int) (int, error) {
	for i := range b.headers {
		b.headers[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b.headers))),
			uintptr(len(b.headers)), unix.MSG_WAITFORONE, 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

func (b *batch) datagram(i int) []byte { return b.buffers[i][:b.headers[i].len] }

// address is where a client connects to, in the kernel's form.
type address struct {
	family int
	raw    unix.RawSockaddrInet6
	len    uint32
}

func kernelAddress(a netip.AddrPort) *address {
	port := [2]byte{byte(a.Port() >> 8), byte(a.Port())}
	if ip := a.Addr().Unmap(); ip.Is4() {
		out := &address{family: unix.AF_INET, len: unix.SizeofSockaddrInet4}
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&out.raw))
		in.Family, in.Addr = unix.AF_INET, ip.As4()
		*(*[2]byte)(unsafe.Pointer(&in.Port)) = port
		return out
	}
	out := &address{family: unix.AF_INET6, len: unix.SizeofSockaddrInet6}
	out.raw.Family, out.raw.Addr = unix.AF_INET6, a.Addr().As16()
	*(*[2]byte)(unsafe.Pointer(&out.raw.Port)) = port
	return out
}

// socket makes a blocking socket whose calls, connect included, wait for at most timeout.
func (a *address) socket(kind int, timeout time.Duration) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(a.family), uintptr(kind|unix.SOCK_CLOEXEC), 0)
	if errno != 0 {
		return -1, fmt.Errorf("socket: %w", errno)
	}
	fd := int(n)
	if err := setTimeout(fd, timeout); err != nil {
		closeFD(fd)
		return -1, err
	}
	return fd, nil
}

// connect waits on where a signal interrupts it: that ends the call, not the attempt.
func (a *address) connect(fd int) error {
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&a.raw)), uintptr(a.len))
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}

// dial makes a connected socket.
func (a *address) dial(kind int, timeout time.Duration) (int, error) {
	fd, err := a.socket(kind, timeout)
	if err != nil {
		return -1, err
	}
	if err := a.connect(fd); err != nil {
		closeFD(fd)
		return -1, fmt.Errorf("connect: %w", err)
	}
	return fd, nil
}

func setTimeout(fd int, timeout time.Duration) error {
	tv := unix.NsecToTimeval(timeout.Nanoseconds())
	for _, name := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, name, &tv); err != nil {
			return fmt.Errorf("bounding the socket's waits: %w", err)
		}
	}
	return nil
}
