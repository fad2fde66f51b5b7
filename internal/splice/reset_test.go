package splice

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAResetOfOneSideBecomesAResetOfTheOther(t *testing.T) {
	w := newWorld(t)
	t.Run("of the container", func(t *testing.T) {
		j := w.join(t)
		j.resetContainer()
		if _, err := io.ReadAll(j.host); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the host got %v, want a reset", err)
		}
		if err := wait(t, j.ended, "the end"); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("ended with %v, want ECONNRESET", err)
		}
	})
	t.Run("of the host", func(t *testing.T) {
		j := w.join(t)
		j.resetHost()
		if _, err := io.ReadAll(j.container); !isReset(err) {
			t.Errorf("the container got %v, want a reset", err)
		}
		if err := wait(t, j.ended, "the end"); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("ended with %v, want ECONNRESET", err)
		}
	})
}

// Netstack and the kernel tell a reset once, to whoever asks first; to the
// other direction it looks like an end of data. A reset that is passed on as an
// end makes half a file a whole one. Both directions wait for the side that
// resets here, so both ask at once.
func TestAResetNeverLooksLikeAnEnd(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(j *joined)
		reset func(j *joined)
		other func(j *joined) io.Reader
	}{
		{"of the container", func(j *joined) { j.fillToContainer() }, (*joined).resetContainer,
			func(j *joined) io.Reader { return j.host }},
		{"of the host", func(j *joined) { j.fillToHost() }, (*joined).resetHost,
			func(j *joined) io.Reader { return j.container }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var pairs [24]*joined
			var all sync.WaitGroup
			for i := range pairs {
				pairs[i] = w.join(t)
				all.Go(func() { c.setup(pairs[i]) })
			}
			all.Wait()
			for i, j := range pairs {
				c.reset(j)
				if _, err := io.Copy(io.Discard, c.other(j)); err == nil {
					t.Errorf("connection %d: the other side got an end", i)
				} else if !isReset(err) {
					t.Errorf("connection %d: the other side got %v, want a reset", i, err)
				}
				if err := wait(t, j.ended, "the end"); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("connection %d: ended with %v, want ECONNRESET", i, err)
				}
			}
		})
	}
}

// What a container sent before it reset the connection has left it.
func TestWhatWasSentBeforeAResetArrives(t *testing.T) {
	w := newWorld(t)
	j := w.connect(t)
	if _, err := j.container.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	j.resetContainer()
	go func() { j.ended <- j.pair.Run() }()
	b := make([]byte, 10)
	if _, err := io.ReadFull(j.host, b); err != nil || string(b) != "last words" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := j.host.Read(b); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("then %v, want a reset", err)
	}
	if err := wait(t, j.ended, "the end"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("ended with %v", err)
	}
}

// A reset must be noticed while nobody reads or writes on that side.
func TestAResetIsNoticedWhileTheOtherSideDoesNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(j *joined)
		reset func(j *joined)
	}{
		{"of a container whose host does not read", func(j *joined) { j.fillToHost() }, (*joined).resetContainer},
		{"of a host whose container does not read", func(j *joined) { j.fillToContainer() }, (*joined).resetHost},
		{"of a container that has ended, and whose host is silent", func(j *joined) {
			j.container.CloseWrite()
			io.ReadAll(j.host)
		}, (*joined).resetContainer},
		{"of a host that has ended, and whose container is silent", func(j *joined) {
			j.host.CloseWrite()
			io.ReadAll(j.container)
		}, (*joined).resetHost},
		{"of a container whose host has ended and does not read", func(j *joined) {
			j.host.CloseWrite()
			io.ReadAll(j.container)
			j.fillToHost()
		}, (*joined).resetContainer},
		{"of a host whose container has ended and does not read", func(j *joined) {
			j.container.CloseWrite()
			io.ReadAll(j.host)
			j.fillToContainer()
		}, (*joined).resetHost},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			j := newWorld(t).join(t)
			c.setup(j)
			select {
			case err := <-j.ended:
				t.Fatalf("ended before the reset: %v", err)
			default:
			}
			c.reset(j)
			// Behind an end of data Linux and netstack call a reset EPIPE.
			err := wait(t, j.ended, "the reset to be noticed")
			if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
				t.Errorf("ended with %v, want ECONNRESET or EPIPE", err)
			}
		})
	}
}

func TestAbortResetsBothEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(j *joined)
	}{
		{"when nothing is sent", func(*joined) {}},
		{"while both directions are blocked", func(j *joined) {
			if up, down := j.fillToHost(), j.fillToContainer(); up == 0 || down == 0 {
				j.t.Fatalf("%d and %d bytes filled the buffers", up, down)
			}
		}},
		{"when one direction has ended", func(j *joined) {
			j.host.CloseWrite()
			io.ReadAll(j.container)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			j := newWorld(t).join(t)
			c.setup(j)
			j.pair.Abort()
			j.pair.Abort()
			if err := wait(t, j.ended, "Run to return"); !errors.Is(err, syscall.ECONNABORTED) {
				t.Errorf("ended with %v, want ECONNABORTED", err)
			}
			if _, err := io.Copy(io.Discard, j.host); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the host got %v, want a reset", err)
			}
			// After its end of data the container reads no more, but cannot
			// write either.
			if _, err := io.Copy(io.Discard, j.container); !isReset(err) {
				eventually(t, "the container cannot write", func() bool {
					_, err := j.container.Write([]byte("x"))
					return err != nil
				})
			}
			j.pair.Abort()
		})
	}
}

func TestTheEndOfTheContextAborts(t *testing.T) {
	w := newWorld(t)
	j := w.connect(t)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { j.ended <- Relay(ctx, j.pair.ep, j.pair.wq, j.pair.conn, j.pair.turn) }()
	j.host.Write([]byte("x"))
	if _, err := io.ReadFull(j.container, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := wait(t, j.ended, "Relay to return"); !errors.Is(err, syscall.ECONNABORTED) {
		t.Errorf("ended with %v, want ECONNABORTED", err)
	}
	if _, err := io.ReadAll(j.host); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the host got %v, want a reset", err)
	}
}

// A netstack that goes away takes its connections with it, also those whose
// host is silent.
func TestTheEndOfNetstackEndsItsPairs(t *testing.T) {
	w := newWorld(t)
	j := w.join(t)
	j.host.Write([]byte("x"))
	if _, err := io.ReadFull(j.container, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	w.gateway.Destroy()
	if err := wait(t, j.ended, "Run to return"); err == nil {
		t.Error("ended without an error")
	}
	if _, err := io.ReadAll(j.host); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the host got %v, want a reset", err)
	}
}

func TestDialTellsWhyItFailed(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := loopback(uint16(sa.(*unix.SockaddrInet4).Port))
	if _, err := Dial(context.Background(), at, time.Minute, alone, Hooks{}); err != syscall.ECONNREFUSED {
		t.Errorf("a port that is not listened at: %v", err)
	}
	// With a full queue the kernel answers no SYN.
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	first, err := Dial(context.Background(), at, time.Minute, alone, Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := Dial(context.Background(), at, 50*time.Millisecond, alone, Hooks{}); err != syscall.ETIMEDOUT {
		t.Errorf("a server that does not answer: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := Dial(ctx, at, time.Minute, alone, Hooks{})
		done <- err
	}()
	cancel()
	if err := wait(t, done, "Dial to give up"); err != syscall.ETIMEDOUT {
		t.Errorf("a context that is done: %v", err)
	}
}

func TestHooksSeeTheSocketOfAnAttempt(t *testing.T) {
	closed := loopback(1)
	var told []error
	h := Hooks{
		Prepare: func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, 7) },
		Ended: func(fd int, err error) {
			if ttl, gerr := unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL); ttl != 7 || gerr != nil {
				t.Errorf("the socket's limit of hops is %d, %v", ttl, gerr)
			}
			told = append(told, err)
		},
	}
	if _, err := Dial(context.Background(), closed, time.Minute, alone, h); err != syscall.ECONNREFUSED || len(told) != 1 || told[0] != err {
		t.Errorf("%v; told of %v", err, told)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Dial(context.Background(), l.Addr().(*net.TCPAddr).AddrPort(), time.Minute, alone, h)
	if err != nil || len(told) != 2 || told[1] != nil {
		t.Fatalf("%v; told of %v", err, told)
	}
	c.Close()
	h.Prepare = func(int) error { return syscall.ENODEV }
	if _, err := Dial(context.Background(), closed, time.Minute, alone, h); err != syscall.ENODEV || len(told) != 2 {
		t.Errorf("%v; told of %v", err, told)
	}
}
