package kernelsplice

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// send writes b in pieces of up to max bytes.
func send(c *net.TCPConn, b []byte, max int) error {
	for len(b) > 0 {
		n := min(1+rand.IntN(max), len(b))
		if _, err := c.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func noise(n int) []byte {
	var seed [32]byte
	seed[0], seed[1] = byte(n), byte(n>>8)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(b)
	return b
}

// What is sent arrives, whatever the pieces, both ways at once, with and without pipes;
// and who ends first may go on to receive.
func TestBytesArriveBothWays(t *testing.T) {
	for _, test := range []struct{ pipes, up, down, piece int }{
		{16, 0, 0, 1},
		{16, 1, 1, 1},
		{16, 20_000, 30_000, 100},
		{16, few, few, few},
		{16, 40 << 20, 30 << 20, 1 << 20},
		{16, 10 << 20, 100, 3000},
		{0, 10 << 20, 10 << 20, 1 << 20},
		{1, 10 << 20, 10 << 20, 50_000},
	} {
		for _, serverFirst := range []bool{false, true} {
			t.Run(fmt.Sprintf("%+v, server ends first %v", test, serverFirst), func(t *testing.T) {
				w := newWorld(t, test.pipes)
				up, down := noise(test.up), noise(test.down)
				first, second, firstSends, secondSends := w.client, w.server, up, down
				if serverFirst {
					first, second, firstSends, secondSends = w.server, w.client, down, up
				}
				failed := make(chan error, 2)
				go func() { failed <- sendAll(first, firstSends, test.piece) }()
				go func() {
					// It ends when the first has.
					got, err := io.ReadAll(second)
					if err == nil && !bytes.Equal(got, firstSends) {
						err = fmt.Errorf("%d bytes, of which some are others", len(got))
					}
					if err == nil {
						err = sendAll(second, secondSends, test.piece)
					}
					failed <- err
				}()
				got, err := io.ReadAll(first)
				if err != nil || !bytes.Equal(got, secondSends) {
					t.Errorf("%d of %d bytes arrived, %v", len(got), len(secondSends), err)
				}
				for range 2 {
					if err := <-failed; err != nil {
						t.Error(err)
					}
				}
				w.wait()
				if w.err != nil || w.moved != int64(len(up)) {
					t.Errorf("it ended with %v after %d bytes to the server, not %d", w.err, w.moved, len(up))
				}
			})
		}
	}
}

func sendAll(c *net.TCPConn, b []byte, piece int) error {
	if err := send(c, b, piece); err != nil {
		return err
	}
	return c.CloseWrite()
}

// Requests and answers, which never fill anything.
func TestRoundTrips(t *testing.T) {
	w := newWorld(t, 4)
	go func() { _, _ = io.Copy(w.server, w.server) }()
	b := make([]byte, 100)
	for i := range 1000 {
		b[0], b[99] = byte(i), byte(i>>8)
		if _, err := w.client.Write(b); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 100)
		if _, err := io.ReadFull(w.client, got); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("round %d: %v, %v", i, got, err)
		}
	}
	if n := w.held(); n != 0 {
		t.Errorf("%d pipes are held", n)
	}
}

// An urgent byte neither ends the data nor stops it, with an end behind it or without. The
// stream is in front of it and behind it, and larger than a buffer.
func TestUrgentDataIsDataAsAnyOther(t *testing.T) {
	for _, size := range []int{0, 10, few, 3 << 20} {
		w := newWorld(t, 4)
		b := noise(size)
		want := append(append(bytes.Clone(b), '!'), b...)
		failed := make(chan error, 1)
		go func() {
			_, err := w.client.Write(b)
			if err == nil {
				raw, rerr := w.client.SyscallConn()
				if err = rerr; err == nil {
					werr := raw.Write(func(fd uintptr) bool {
						err = unix.Sendto(int(fd), []byte{'!'}, unix.MSG_OOB, nil)
						return err != unix.EAGAIN
					})
					if err == nil {
						err = werr
					}
				}
			}
			if err == nil {
				err = sendAll(w.client, b, 1<<20)
			}
			failed <- err
		}()
		got, err := io.ReadAll(w.server)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes before and behind: %d of %d arrived, %v", size, len(got), len(want), err)
		}
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

// A server that does not read for a while gets everything later; what waits for it waits in
// the sockets, and in one pipe at most.
func TestAServerThatDoesNotRead(t *testing.T) {
	for _, piece := range []int{500, 1 << 20} {
		w := newWorld(t, 4)
		b := noise(40 << 20)
		failed := make(chan error, 1)
		go func() { failed <- sendAll(w.client, b, piece) }()
		until(t, "everything is full", func() bool {
			select {
			case err := <-failed:
				t.Fatal("all was taken: ", err)
			default:
			}
			return stands(w)
		})
		if n := w.held(); n > 1 {
			t.Errorf("%d pipes are held", n)
		}
		got, err := io.ReadAll(w.server)
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%d bytes arrived, %v", len(got), err)
		}
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

// stands: the server's queue has not grown for a moment.
func stands(w *world) bool {
	before := queued(w.server)
	time.Sleep(20 * time.Millisecond)
	return before > 0 && queued(w.server) == before
}

func queued(c *net.TCPConn) (n int) {
	raw, err := c.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	return n
}

// A direction that rests holds no pipe, however much it has moved before.
func TestIdleConnectionsHoldNoPipe(t *testing.T) {
	w := newWorld(t, 4)
	b := noise(20 << 20)
	for range 3 {
		go func() { _ = send(w.client, b, 1<<20) }()
		if _, err := io.ReadFull(w.server, make([]byte, len(b))); err != nil {
			t.Fatal(err)
		}
		until(t, "the pipe is given back", func() bool { return w.held() == 0 })
	}
	if n := len(w.pipes.free); n == 0 || n > spare {
		t.Errorf("%d pipes are kept", n)
	}
}
