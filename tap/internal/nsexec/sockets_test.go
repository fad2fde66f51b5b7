package nsexec

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

func cookie(t *testing.T, fd int) uint64 {
	t.Helper()
	n, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func ownCookie(t *testing.T) uint64 {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return cookie(t, fd)
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

func TestSocketsAreMadeInside(t *testing.T) {
	w := nstest.New(t, 0)
	w.Run("ip", "link", "set", "lo", "up")
	user, net := namespaces(t, w.Pid)
	for _, a := range []string{"127.0.0.1", "::1"} {
		addr := netip.MustParseAddr(a)
		ports := map[uint16]bool{}
		next, inside := uint16(0), uint64(0)
		for _, n := range []int{1, 7, MaxSockets} {
			fds, after, err := Sockets(user, net, netip.AddrPortFrom(addr, next), n)
			if err != nil || len(fds) != n {
				t.Fatalf("%d sockets at %v: %d, %v", n, addr, len(fds), err)
			}
			defer closeFDs(fds)
			next = after
			for _, fd := range fds {
				flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
				own, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
				if flags&unix.O_NONBLOCK == 0 || own&unix.FD_CLOEXEC == 0 {
					t.Fatalf("flags %#x and %#x", flags, own)
				}
				if inside == 0 {
					inside = cookie(t, fd)
				}
				if cookie(t, fd) != inside || inside == ownCookie(t) {
					t.Fatal("it is of another namespace")
				}
				sa, err := unix.Getsockname(fd)
				if err != nil {
					t.Fatal(err)
				}
				var at netip.AddrPort
				switch sa := sa.(type) {
				case *unix.SockaddrInet4:
					at = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
				case *unix.SockaddrInet6:
					at = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
				}
				if at.Addr() != addr || at.Port() < firstPort || at.Port() > lastPort || ports[at.Port()] {
					t.Fatalf("bound to %v, or to a port that another has", at)
				}
				ports[at.Port()] = true
			}
		}
	}
	noZombie(t)
}

// The last port is followed by the first, and ports of others are passed over.
func TestSocketsTakeFreePorts(t *testing.T) {
	w := nstest.New(t, 0)
	w.Run("ip", "link", "set", "lo", "up")
	user, net := namespaces(t, w.Pid)
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), lastPort-1)
	fds, next, err := Sockets(user, net, at, 3)
	if err != nil || next != firstPort+1 {
		t.Fatalf("three from %d: next is %d, %v", at.Port(), next, err)
	}
	defer closeFDs(fds)
	for _, fd := range fds {
		if err := errors.Join(unix.Listen(fd, 1)); err != nil { // its port is nobody else's now
			t.Fatal(err)
		}
	}
	more, next, err := Sockets(user, net, at, 2)
	if err != nil || next != firstPort+3 {
		t.Errorf("two more: next is %d, %v", next, err)
	}
	closeFDs(more)
}

func TestSocketsErrorsLeaveNothing(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	w := nstest.New(t, 0)
	w.Run("ip", "link", "set", "lo", "up")
	user, net := namespaces(t, w.Pid)
	here := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	before := openFiles(t)
	for name, test := range map[string]struct {
		user, net *os.File
		at        netip.AddrPort
		n         int
		want      error
	}{
		"an address of others":     {user, net, netip.MustParseAddrPort("192.0.2.7:0"), 3, unix.EADDRNOTAVAIL},
		"and of IPv6":              {user, net, netip.MustParseAddrPort("[2001:db8::7]:0"), 3, unix.EADDRNOTAVAIL},
		"none":                     {user, net, here, 0, unix.EINVAL},
		"too many":                 {user, net, here, MaxSockets + 1, unix.EINVAL},
		"no address":               {user, net, netip.AddrPort{}, 1, unix.EINVAL},
		"not a network":            {user, null, here, 1, unix.EINVAL},
		"not a user namespace":     {null, net, here, 1, unix.EINVAL},
		"without its user (EPERM)": {nil, net, here, 1, unix.EPERM},
	} {
		fds, _, err := Sockets(test.user, test.net, test.at, test.n)
		if !errors.Is(err, test.want) || len(fds) != 0 {
			t.Errorf("%s: %v, %v, want %v", name, fds, err, test.want)
		}
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	if got, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || got != 1 {
		t.Errorf("dumpable is %d (%v), want 1", got, err)
	}
	noZombie(t)
}

// Whatever else is forked meanwhile gets none of them.
func TestSocketsBesideOtherChildren(t *testing.T) {
	w := nstest.New(t, 0)
	w.Run("ip", "link", "set", "lo", "up")
	user, net := namespaces(t, w.Pid)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20 {
				fds, _, err := Sockets(user, net, netip.AddrPortFrom(netip.IPv6Loopback(), 0), 10)
				if err != nil {
					t.Error(err)
				}
				closeFDs(fds)
			}
		})
		all.Go(func() {
			for range 5 {
				if out, err := exec.Command("sh", "-c", "ls -l /proc/self/fd | grep -c socket; true").CombinedOutput(); err != nil || string(out) != "0\n" {
					t.Errorf("a child has %s sockets, %v", out, err)
				}
			}
		})
	}
	all.Wait()
	noZombie(t)
}

func BenchmarkSockets(b *testing.B) {
	w := nstest.New(b, 0)
	w.Run("ip", "link", "set", "lo", "up")
	user, net := namespaces(b, w.Pid)
	next := uint16(0)
	for b.Loop() {
		fds, after, err := Sockets(user, net, netip.AddrPortFrom(netip.IPv6Loopback(), next), 4)
		if err != nil {
			b.Fatal(err)
		}
		closeFDs(fds)
		next = after
	}
}
