package fdpass

import (
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func pair(t *testing.T) (a, b *Conn) {
	t.Helper()
	a, h, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	if b, err = NewConn(h.Take()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// A pipe's end goes over, and works when the sender has closed its own.
func TestHandlesArriveWithTheirMessage(t *testing.T) {
	a, b := pair(t)
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r := os.NewFile(uintptr(p[0]), "pipe")
	defer r.Close()
	w := NewHandle(p[1])
	if err := a.Send([]byte("take this"), w, w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, MaxMessage)
	n, hs, err := b.Receive(buf)
	if err != nil || string(buf[:n]) != "take this" || len(hs) != 2 {
		t.Fatalf("received %q, %d handles, %v", buf[:n], len(hs), err)
	}
	if flags, err := unix.FcntlInt(uintptr(hs[0].FD()), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v: would leak into programs", flags, err)
	}
	hs[1].Close()
	if _, err := unix.Write(hs[0].FD(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	hs[0].Close()
	if got, err := io.ReadAll(r); string(got) != "x" || err != nil {
		t.Errorf("through the pipe: %q, %v", got, err)
	}
}

func TestTheEndIsEOF(t *testing.T) {
	a, b := pair(t)
	if err := a.Send([]byte("unread")); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if _, _, err := a.Receive(make([]byte, MaxMessage)); !errors.Is(err, io.EOF) {
		t.Errorf("closed with an unread message: %v", err)
	}
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	a, b := pair(t)
	if err := a.Send(make([]byte, MaxMessage+1)); !errors.Is(err, ErrMessage) {
		t.Errorf("too long: %v", err)
	}
	if err := a.Send(nil); !errors.Is(err, ErrMessage) {
		t.Errorf("empty, which would look like the end: %v", err)
	}
	if err := a.Send(make([]byte, MaxMessage)); err != nil {
		t.Errorf("the longest: %v", err)
	}
	if n, _, err := b.Receive(make([]byte, MaxMessage)); n != MaxMessage || err != nil {
		t.Errorf("the longest: %d bytes, %v", n, err)
	}
	h := NewHandle(0)
	h.Take()
	if err := a.Send([]byte("x"), h); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed handle: %v", err)
	}
	// Shorter than the message: cut, so refused.
	if err := a.Send([]byte("longer")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Receive(make([]byte, 3)); !errors.Is(err, ErrMessage) {
		t.Errorf("cut: %v", err)
	}
}

func TestHandleOfAConn(t *testing.T) {
	a, b := pair(t)
	h, err := a.Handle()
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	again, err := NewConn(h.Take())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Send([]byte("still here")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, MaxMessage)
	if n, _, err := b.Receive(buf); string(buf[:n]) != "still here" || err != nil {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// What is refused leaves no descriptors behind.
func TestNothingLeaks(t *testing.T) {
	a, b := pair(t)
	h := NewHandle(0)
	defer h.Take()
	before := openFDs(t)
	for range 3 {
		many := make([]*Handle, MaxHandles)
		for i := range many {
			many[i] = h
		}
		if err := a.Send([]byte("longer"), many...); err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.Receive(make([]byte, 3)); !errors.Is(err, ErrMessage) {
			t.Errorf("cut: %v", err)
		}
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func openFDs(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}
