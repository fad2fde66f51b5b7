package kernelsplice

import (
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/turn"
)

func abort(t *testing.T, c *net.TCPConn) {
	t.Helper()
	if err := errors.Join(c.SetLinger(0), c.Close()); err != nil {
		t.Fatal(err)
	}
}

// A reset of one side is one of the other, whatever was ended before, and nobody has to
// send something for that.
func TestResetsArePassedOn(t *testing.T) {
	for name, test := range map[string]func(w *world) (reset, other *net.TCPConn){
		"client": func(w *world) (*net.TCPConn, *net.TCPConn) { return w.client, w.server },
		"server": func(w *world) (*net.TCPConn, *net.TCPConn) { return w.server, w.client },
	} {
		for _, before := range []string{"nothing", "it has ended its direction", "the other has ended its direction"} {
			t.Run(name+", "+before, func(t *testing.T) {
				w := newWorld(t, 4)
				resets, other := test(w)
				first := map[string]*net.TCPConn{"it has ended its direction": resets, "the other has ended its direction": other}[before]
				if first != nil {
					second := map[*net.TCPConn]*net.TCPConn{resets: other, other: resets}[first]
					if err := first.CloseWrite(); err != nil {
						t.Fatal(err)
					}
					if err := readEnd(second); err != nil {
						t.Fatal(err)
					}
				}
				if first == resets {
					// One that has ended its direction is reset only by what it has not read.
					if _, err := other.Write([]byte("unread")); err != nil {
						t.Fatal(err)
					}
					until(t, "it is there", func() bool { return queued(resets) > 0 })
				}
				abort(t, resets)
				w.wait()
				if !isReset(w.err) {
					t.Errorf("the relay ended with %v", w.err)
				}
				if err := w.inner.Disconnect(0); err != nil {
					t.Error(err)
				}
				if _, err := io.Copy(io.Discard, other); first != resets && !isReset(err) {
					t.Errorf("the other side: %v", err)
				}
				_, err := other.Write(make([]byte, 1))
				if err == nil {
					until(t, "the other side is reset", func() bool { _, err = other.Write(make([]byte, 1)); return err != nil })
				}
				if !isReset(err) {
					t.Errorf("the other side writes: %v", err)
				}
			})
		}
	}
}

func TestAnEndedContextResetsBoth(t *testing.T) {
	for _, half := range []bool{false, true} {
		w := newWorld(t, 4)
		if half {
			if err := w.client.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if err := readEnd(w.server); err != nil {
				t.Fatal(err)
			}
		}
		w.cancel()
		w.wait()
		if w.err != syscall.ECONNABORTED {
			t.Errorf("half-closed %v: %v", half, w.err)
		}
		if err := readEnd(w.client); !isReset(err) {
			t.Errorf("half-closed %v: client %v", half, err)
		}
		// The socket inside is of use again.
		if err := w.inner.Disconnect(0); err != nil {
			t.Fatal(err)
		}
		l, at := listen(t)
		if err := w.inner.Connect(t.Context(), at, turn.New(runtime.Gosched)); err != nil {
			t.Fatal(err)
		}
		c, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if _, err := w.server.Write([]byte("x")); err == nil {
			until(t, "the server is reset", func() bool { _, err := w.server.Write([]byte("x")); return err != nil })
		}
	}
}

// cpu is this process's time on the processor so far.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Whoever waits costs nothing, in each state in which a poller would be told of something
// over and over.
func TestWaitingCostsNoTime(t *testing.T) {
	end := func(t *testing.T, ends, sees *net.TCPConn) {
		t.Helper()
		if err := ends.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := readEnd(sees); err != nil {
			t.Fatal(err)
		}
	}
	full := func(t *testing.T, w *world, from *net.TCPConn) {
		go func() { _ = send(from, noise(30<<20), 1<<20) }()
		until(t, "everything is full", func() bool { return stands(w) })
	}
	for name, prepare := range map[string]func(*testing.T, *world){
		"nothing has happened":  func(*testing.T, *world) {},
		"the client has ended":  func(t *testing.T, w *world) { end(t, w.client, w.server) },
		"the server has ended":  func(t *testing.T, w *world) { end(t, w.server, w.client) },
		"the server is full":    func(t *testing.T, w *world) { full(t, w, w.client) },
		"and it has ended":      func(t *testing.T, w *world) { end(t, w.server, w.client); full(t, w, w.client) },
		"there is urgent data":  func(t *testing.T, w *world) { urgent(t, w.client); readOne(t, w.server) },
		"the client has closed": func(t *testing.T, w *world) { w.client.Close(); _ = readEnd(w.server) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 4)
			prepare(t, w)
			// Who waits in a loop is at work all the time; the race detector and the collector only at times.
			const long, times = 300 * time.Millisecond, 10
			least := long
			for n := 0; n < times && least > long/4; n++ {
				before := cpu(t)
				select {
				case <-w.over:
					t.Fatal("the relay is over")
				case <-time.After(long):
				}
				least = min(least, cpu(t)-before)
			}
			if least > long/4 {
				t.Errorf("%v of the processor in %v", least, long)
			}
		})
	}
}

func urgent(t *testing.T, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		cerr := raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte{'!'}, unix.MSG_OOB, nil) })
		err = errors.Join(err, cerr)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func readOne(t *testing.T, c *net.TCPConn) {
	t.Helper()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}
