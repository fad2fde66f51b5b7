package nowait

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// stream is a pair of connected sockets that do not block.
func stream(t *testing.T) (a, b uintptr) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(fds[0])
		unix.Close(fds[1])
	})
	return uintptr(fds[0]), uintptr(fds[1])
}

// pieces are parts of b as the kernel takes them.
func pieces(parts ...[]byte) (all []unix.Iovec, size int) {
	for _, p := range parts {
		v := unix.Iovec{Base: &p[0]}
		v.SetLen(len(p))
		all, size = append(all, v), size+len(p)
	}
	return all, size
}

func TestAStreamIsReadAsItWasWritten(t *testing.T) {
	a, b := stream(t)
	var got [4]byte
	if _, e := Recv(b, got[:], 0); e != unix.EAGAIN {
		t.Fatal("nothing is there, but", e)
	}
	if _, e := Read(b, got[:]); e != unix.EAGAIN {
		t.Fatal("nothing is there, but", e)
	}
	iov, size := pieces([]byte("one "), []byte("two"))
	if n, e := Writev(a, iov, size); n != size || e != 0 {
		t.Fatal(n, e)
	}
	if n, e := Pending(b); n != size || e != 0 {
		t.Fatal("pending:", n, e)
	}
	if n, e := Recv(b, got[:], unix.MSG_PEEK); n != 4 || e != 0 || string(got[:]) != "one " {
		t.Fatal(n, e, string(got[:]))
	}
	one, two := make([]byte, 2), make([]byte, 2)
	iov, _ = pieces(one, two)
	if n, e := Readv(b, iov); n != 4 || e != 0 || string(one)+string(two) != "one " {
		t.Fatal(n, e, string(one), string(two))
	}
	if n, e := Read(b, got[:]); n != 3 || e != 0 || string(got[:3]) != "two" {
		t.Fatal(n, e, string(got[:]))
	}
	if e := Shutdown(a, unix.SHUT_WR); e != 0 {
		t.Fatal(e)
	}
	if n, e := Recv(b, got[:], 0); n != 0 || e != 0 {
		t.Fatal("end of data:", n, e)
	}
	if events, e := Events(b, unix.POLLIN|unix.POLLRDHUP); e != 0 || events&unix.POLLRDHUP == 0 || events&unix.POLLHUP != 0 {
		t.Fatalf("one direction has ended: %#x, %v", events, e)
	}
}

// A large write takes the other way and is as whole as a small one.
func TestALargeWriteIsWhole(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := bytes.Repeat([]byte("footbridge"), Large/5)
	iov, size := pieces(want[:10], want[10:])
	if n, e := Writev(f.Fd(), iov, size); n != len(want) || e != 0 {
		t.Fatal(n, e)
	}
	if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, want) {
		t.Fatal("another content,", err)
	}
}

func TestOptionsAreSetAndRead(t *testing.T) {
	a, _ := stream(t)
	if e := SetOption(a, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1); e != 0 {
		t.Fatal(e)
	}
	if v, e := Option(a, unix.SOL_SOCKET, unix.SO_KEEPALIVE); v != 1 || e != 0 {
		t.Fatal(v, e)
	}
	if e := SetOption(a, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); e == 0 {
		t.Fatal("a unix socket has an option of TCP")
	}
}

func TestDatagramsComeWithTheirSender(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(at, func(t *testing.T) {
			server, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			family := unix.AF_INET
			if server.LocalAddr().(*net.UDPAddr).IP.To4() == nil {
				family = unix.AF_INET6
			}
			fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			var to, from Address
			to.Set(server.LocalAddr().(*net.UDPAddr).AddrPort())
			if to.Get() != server.LocalAddr().(*net.UDPAddr).AddrPort() {
				t.Fatal("set and get differ:", to.Get())
			}
			if e := to.SendTo(uintptr(fd), []byte("ping")); e != 0 {
				t.Fatal(e)
			}
			b := make([]byte, 10)
			n, client, err := server.ReadFromUDPAddrPort(b)
			if err != nil || string(b[:n]) != "ping" {
				t.Fatal(string(b[:n]), err)
			}
			if _, err := server.WriteToUDPAddrPort([]byte("pong"), client); err != nil {
				t.Fatal(err)
			}
			// Loopback has delivered it before the write returned.
			if n, _, e := from.Recvmsg(uintptr(fd), b, nil, 0); e != 0 || string(b[:n]) != "pong" || from.Get() != to.Get() {
				t.Fatal(string(b[:n]), e, from.Get())
			}
			if _, _, e := from.Recvmsg(uintptr(fd), b, nil, 0); e != unix.EAGAIN {
				t.Fatal(e)
			}
		})
	}
}

func TestAScopeIsIPv6s(t *testing.T) {
	for at, want := range map[string]uint32{"[fe80::1]:80": 7, "192.0.2.2:80": 0} {
		var a Address
		a.Set(netip.MustParseAddrPort(at))
		if a.SetScope(7); a.raw.Scope_id != want || a.Get() != netip.MustParseAddrPort(at) {
			t.Errorf("%s: %v with scope %d, want %d", at, a.Get(), a.raw.Scope_id, want)
		}
	}
}

func FuzzAddress(f *testing.F) {
	var a Address
	a.Set(netip.MustParseAddrPort("192.0.2.2:80"))
	f.Add(a.bytes()[:], a.size)
	a.Set(netip.MustParseAddrPort("[2001:db8::1]:80"))
	a.SetScope(7)
	f.Add(a.bytes()[:], a.size)
	f.Fuzz(func(t *testing.T, b []byte, n uint32) {
		var a, again Address
		copy(a.bytes()[:], b)
		a.size = n
		addr := a.Get()
		if !addr.IsValid() {
			return
		}
		if again.Set(addr); again.Get() != addr {
			t.Errorf("%v became %v", addr, again.Get())
		}
	})
}

func TestConnectTellsHowItGoes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	open := netip.MustParseAddrPort(l.Addr().String())
	attempt := func() syscall.Errno {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		var to Address
		to.Set(open)
		e := to.Connect(uintptr(fd))
		for e == unix.EINPROGRESS || e == unix.EALREADY {
			e = to.Connect(uintptr(fd))
		}
		return e
	}
	if e := attempt(); e != 0 {
		t.Error("to a listener:", e)
	}
	l.Close()
	if e := attempt(); e != unix.ECONNREFUSED {
		t.Error("to nobody:", e)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	a, b := stream(t)
	iov, size := pieces([]byte("abc"))
	var got [3]byte
	if n := testing.AllocsPerRun(100, func() {
		Writev(a, iov, size)
		Pending(b)
		Events(b, unix.POLLIN)
		Option(b, unix.SOL_SOCKET, unix.SO_ERROR)
		Recv(b, got[:], 0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
