package splice

import (
	"errors"
	"io"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What the kernel does to the sockets of a process that was killed is a plain close.

func TestWhatTheEndOfTheProcessCutsIsReset(t *testing.T) {
	c, host := dialed(t)
	full := fillSocket(t, c)
	if err := c.file.Close(); err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, host)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the host got %d of %d bytes and then %v, want a reset", n, full, err)
	}
}

// Whether the other direction has ended or not.
func TestWhatWasEndedArrivesWhole(t *testing.T) {
	for _, both := range []bool{false, true} {
		c, host := dialed(t)
		if both {
			if err := host.CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		full := fillSocket(t, c)
		if err := errors.Join(c.CloseWrite(), c.Close()); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, host); err != nil || n != full {
			t.Errorf("both directions ended %v: the host got %d of %d bytes, %v", both, n, full, err)
		}
	}
}

// fillSocket writes what the kernel takes, of which the host has no room for a part.
func fillSocket(t *testing.T, c *Conn) (n int64) {
	t.Helper()
	b := make([]byte, 64<<10)
	for {
		var m int
		var err error
		if cerr := c.raw.Control(func(fd uintptr) { m, err = unix.Write(int(fd), b) }); cerr != nil {
			t.Fatal(cerr)
		}
		if err == unix.EAGAIN {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		n += int64(m)
	}
}
