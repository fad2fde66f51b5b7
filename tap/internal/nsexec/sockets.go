package nsexec

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MaxSockets bounds what one call of Sockets makes: as many as one message carries.
const MaxSockets = 253

// ErrBorrow: this processor's child gets a copy of its parent's memory, and so cannot
// leave anything in it.
var ErrBorrow = errors.New("nsexec: the child cannot give its parent descriptors on this processor")

// socketsPlan is what the child of Sockets needs and what it leaves.
type socketsPlan struct {
	user, net int // namespaces; user < 0: stay in this one
	domain    int
	addr      unix.RawSockaddrInet6 // of either family; its port is the next to try
	addrLen   uintptr
	port      uint16
	fds       [MaxSockets]int32
	wanted    int
	made      int // of fds
	tries     int // that are left
	failed    failure
}

// What ports are bound: Linux's default net.ipv4.ip_local_port_range, where no service
// expects to be alone.
const (
	firstPort = 32768
	lastPort  = 60999
)

// portTries bounds how many ports of others are passed over.
const portTries = 4096

// Sockets makes n TCP sockets inside a network namespace: not blocking, close-on-exec, and
// each bound to the address a and a port of its own, for good (bind(2) of port 0 gives a
// port that a socket loses with its first connection). The first port tried is a's, or
// one near to it; next is where another call should go on. user is the user namespace
// to enter before, nil to stay in the caller's. Where the namespace does not have the
// address the error is EADDRNOTAVAIL.
//
// The child is one of fork's that executes nothing: it shares the caller's descriptors
// besides its memory, so that what it makes is the caller's at once. Four take 0.2
// to 0.5 ms, where a program that is executed takes 2.8 ms. On an error no socket is left.
func Sockets(user, net *os.File, a netip.AddrPort, n int) (fds []int, next uint16, err error) {
	switch {
	case n < 1 || n > MaxSockets || !a.IsValid():
		return nil, 0, fmt.Errorf("nsexec: %d sockets at %v: %w", n, a, unix.EINVAL)
	case cloneFlags == 0:
		return nil, 0, ErrBorrow
	}
	plan := &socketsPlan{user: -1, net: int(net.Fd()), wanted: n, tries: n + portTries, port: a.Port()}
	if plan.port < firstPort || plan.port > lastPort {
		plan.port = firstPort + plan.port%(lastPort-firstPort+1)
	}
	plan.address(a.Addr())
	if user != nil {
		plan.user = int(user.Fd())
	}
	syscall.ForkLock.Lock()
	show := hideMemory()
	pid, errno := forkSockets(plan)
	show()
	syscall.ForkLock.Unlock()
	runtime.KeepAlive(user)
	runtime.KeepAlive(net)
	if errno != 0 {
		return nil, 0, &EnterError{Method: Native, Step: stepFork.String(), Err: errno}
	}
	err = reapSockets(int(pid))
	fds = make([]int, plan.made)
	for i := range fds {
		fds[i] = int(plan.fds[i])
	}
	if e := syscall.Errno(plan.failed.Errno); e != 0 {
		err = &EnterError{Method: Native, Step: plan.failed.Step.String(), Err: e}
	}
	if err == nil && len(fds) == n {
		return fds, plan.port, nil
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	if err == nil {
		err = &EnterError{Method: Native, Step: stepSocket.String(), Err: unix.EINTR} // it was killed
	}
	return nil, 0, err
}

// address sets what sockets are bound to.
func (p *socketsPlan) address(a netip.Addr) {
	if a.Is4() {
		p.domain, p.addrLen = unix.AF_INET, unix.SizeofSockaddrInet4
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&p.addr))
		v4.Family, v4.Addr = unix.AF_INET, a.As4()
		return
	}
	p.domain, p.addrLen = unix.AF_INET6, unix.SizeofSockaddrInet6
	p.addr.Family, p.addr.Addr = unix.AF_INET6, a.As16()
}

// reapSockets takes the end of the child, which is over when its parent goes on.
func reapSockets(pid int) error {
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(pid, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("nsexec: wait: %w", err)
		default:
			return nil
		}
	}
}

// forkSockets is fork for Sockets.
//
//go:noinline
//go:norace
func forkSockets(p *socketsPlan) (pid uintptr, errno syscall.Errno) {
	pid, e := forkSocketsChild(p)
	afterFork()
	return pid, syscall.Errno(e)
}

// forkSocketsChild is forkChild for Sockets; what is said there holds here.
//
//go:noinline
//go:norace
//go:nocheckptr
func forkSocketsChild(p *socketsPlan) (pid, errno uintptr) {
	beforeFork()
	pid, errno = rawClone(cloneFlags | unix.CLONE_FILES | uintptr(syscall.SIGCHLD))
	if errno != 0 || pid != 0 {
		return pid, errno
	}

	// The child, from here on.
	var e syscall.Errno
	var fd uintptr
	one := int32(1)
	afterForkInChild()

	if p.user >= 0 {
		p.failed.Step = stepUser
		if _, _, e = syscall.RawSyscall(unix.SYS_SETNS, uintptr(p.user), unix.CLONE_NEWUSER, 0); e != 0 {
			goto end
		}
	}
	p.failed.Step = stepNet
	if _, _, e = syscall.RawSyscall(unix.SYS_SETNS, uintptr(p.net), unix.CLONE_NEWNET, 0); e != 0 {
		goto end
	}
	p.failed.Step = stepSocket
	for p.made < p.wanted {
		fd, _, e = syscall.RawSyscall(unix.SYS_SOCKET, uintptr(p.domain), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		if e != 0 {
			goto end
		}
		p.fds[p.made] = int32(fd)
		p.made++
		// A server of the container may have the port as well.
		syscall.RawSyscall6(unix.SYS_SETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, uintptr(unsafe.Pointer(&one)), 4, 0)
		for {
			p.addr.Port = p.port<<8 | p.port>>8 // both processors are little-endian
			if p.port++; p.port > lastPort {
				p.port = firstPort
			}
			_, _, e = syscall.RawSyscall(unix.SYS_BIND, fd, uintptr(unsafe.Pointer(&p.addr)), p.addrLen)
			if p.tries--; e != unix.EADDRINUSE || p.tries <= 0 {
				break
			}
		}
		if e != 0 {
			p.failed.Step = stepBind
			goto end
		}
	}

end:
	p.failed.Errno = uint32(e)
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}
