package fdpass

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lingering makes a TCP socket whose last close waits: there is data that its peer does
// not take.
func lingering(t *testing.T) *Handle {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	h := NewHandle(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: l.Addr().(*net.TCPAddr).Port}); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 1<<16); err == nil; {
		_, err = unix.SendmsgN(fd, b, nil, nil, unix.MSG_DONTWAIT)
	}
	if !errors.Is(err, unix.EAGAIN) {
		t.Fatal(err)
	}
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 20}); err != nil {
		t.Fatal(err)
	}
	return h
}

// Whoever sends descriptors does not decide how long their receiver waits.
func TestDiscardingDoesNotWait(t *testing.T) {
	for name, discard := range map[string]func(t *testing.T, c *Conn){
		"received": func(t *testing.T, c *Conn) {
			_, hs, err := c.Receive(make([]byte, MaxMessage))
			if err != nil || len(hs) != 1 {
				t.Errorf("%d handles, %v", len(hs), err)
			}
			Discard(hs)
		},
		"too long": func(t *testing.T, c *Conn) {
			if _, _, err := c.Receive(make([]byte, 1)); !errors.Is(err, ErrMessage) {
				t.Error(err)
			}
		},
		"queued": func(t *testing.T, c *Conn) { c.Drain() },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			h := lingering(t)
			if name == "queued" { // what looks like the end does not hide it
				if _, _, err := b.c.WriteMsgUnix(nil, nil, nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.Send([]byte("take this"), h); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(h.Close(), b.Close()); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			discard(t, a)
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestHandlesAreRefused(t *testing.T) {
	a, b := pair(t)
	if err := a.RefuseHandles(); errors.Is(err, unix.ENOPROTOOPT) {
		t.Logf("this kernel does not know it: %v", err)
		return
	} else if err != nil {
		t.Fatal(err)
	}
	h := NewHandle(dupOf(t, 0))
	defer h.Close()
	if err := b.Send([]byte("take this"), h); !errors.Is(err, unix.EPERM) {
		t.Errorf("sent: %v", err)
	}
	if err := a.Send([]byte("the other way"), h); err != nil {
		t.Error(err)
	}
}

func dupOf(t *testing.T, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
