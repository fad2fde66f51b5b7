package splice

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pattern gives n bytes in which no two places look alike.
func pattern(n int, seed uint64) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// same says whether got is want, without writing megabytes to the log.
func same(t *testing.T, where string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	t.Errorf("%s: %d bytes (%x) of %d (%x), equal up to byte %d", where, len(got), sha256.Sum256(got), len(want), sha256.Sum256(want), at)
}

type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// send writes b and ends the direction; read takes all until the end.
func send(c halfCloser, b []byte) chan error {
	done := make(chan error, 1)
	go func() {
		_, err := c.Write(b)
		if err == nil {
			err = c.CloseWrite()
		}
		done <- err
	}()
	return done
}

func read(c io.Reader) (chan []byte, chan error) {
	data, done := make(chan []byte, 1), make(chan error, 1)
	go func() {
		b, err := io.ReadAll(c)
		data <- b
		done <- err
	}()
	return data, done
}

var sizes = []int{0, 1, 2, 1447, 1448, 1449, 65535, 65536, 65537, 1 << 20, 16 << 20}

func TestBytesPassExactlyBothWays(t *testing.T) {
	w := newWorld(t)
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			j := w.join(t)
			up, down := pattern(n, 1), pattern(n, 2)
			upSent, downSent := send(j.container, up), send(j.host, down)
			gotUp, upErr := read(j.host)
			gotDown, downErr := read(j.container)
			for what, ch := range map[string]chan error{"sending up": upSent, "sending down": downSent, "reading up": upErr, "reading down": downErr} {
				if err := wait(t, ch, what); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			same(t, "up", <-gotUp, up)
			same(t, "down", <-gotDown, down)
			if err := wait(t, j.ended, "the end of both directions"); err != nil {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// A reader that is much slower than the writer makes every write a partial
// one.
func TestBytesPassExactlyInSmallPieces(t *testing.T) {
	w := newWorld(t)
	j := w.join(t)
	up, down := pattern(8<<20+1, 3), pattern(8<<20+1, 4)
	sent := []chan error{send(j.container, up), send(j.host, down)}
	pieces := func(c io.Reader, seed uint64) chan []byte {
		out := make(chan []byte, 1)
		go func() {
			r := rand.New(rand.NewPCG(seed, seed))
			var all []byte
			b := make([]byte, 3000)
			for {
				n, err := c.Read(b[:1+r.IntN(len(b)-1)])
				all = append(all, b[:n]...)
				if err != nil {
					out <- all
					return
				}
			}
		}()
		return out
	}
	gotUp, gotDown := pieces(j.host, 5), pieces(j.container, 6)
	for _, s := range sent {
		if err := wait(t, s, "a direction to be sent"); err != nil {
			t.Error(err)
		}
	}
	same(t, "up", wait(t, gotUp, "all at the host"), up)
	same(t, "down", wait(t, gotDown, "all at the container"), down)
	if err := wait(t, j.ended, "the end of both directions"); err != nil {
		t.Error(err)
	}
}

func TestEachDirectionEndsByItself(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name  string
		order func(j *joined) (first, second halfCloser)
	}{
		{"the container first", func(j *joined) (a, b halfCloser) { return j.container, j.host }},
		{"the host first", func(j *joined) (a, b halfCloser) { return j.host, j.container }},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := w.join(t)
			first, second := c.order(j)
			question, answer := pattern(100_000, 7), pattern(300_000, 8)
			sent := send(first, question)
			got, err := io.ReadAll(second)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "before the end", got, question)
			if err := wait(t, sent, "the question to be sent"); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-j.ended:
				t.Fatalf("the end of one direction ended both: %v", err)
			default:
			}
			// Everything of the other direction comes after the end of this
			// one: first some that waits for no end, then the rest.
			if _, err := second.Write(answer[:1000]); err != nil {
				t.Fatal(err)
			}
			head := make([]byte, 1000)
			if _, err := io.ReadFull(first, head); err != nil {
				t.Fatal(err)
			}
			sent = send(second, answer[1000:])
			got, err = io.ReadAll(first)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "behind the end", append(head, got...), answer)
			if err := wait(t, sent, "the answer to be sent"); err != nil {
				t.Fatal(err)
			}
			if err := wait(t, j.ended, "the end of both directions"); err != nil {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// An urgent byte is a byte of the stream like any other. Out of the stream it
// would be lost, and end what follows it.
func TestUrgentDataDoNotEndTheStream(t *testing.T) {
	w := newWorld(t)
	j := w.join(t)
	raw, err := j.host.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	urgent := func(b string) {
		t.Helper()
		var err error
		raw.Write(func(fd uintptr) bool {
			err = unix.Sendto(int(fd), []byte(b), unix.MSG_OOB, nil)
			return err != unix.EAGAIN
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, 16)
	expect := func(want string) {
		t.Helper()
		j.container.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := io.ReadFull(j.container, got[:len(want)]); err != nil || string(got[:n]) != want {
			t.Fatalf("got %q, %v; want %q", got[:n], err, want)
		}
	}
	urgent("!") // nothing before it: the mark is where reading stands
	j.host.Write([]byte("behind"))
	expect("!behind")
	j.host.Write([]byte("before"))
	urgent("!")
	j.host.Write([]byte("behind"))
	expect("before!behind")
	if err := j.host.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := j.container.Read(got); err != io.EOF {
		t.Errorf("%d bytes, %v behind the end", n, err)
	}
}

// A container that has ended its direction but does not read keeps what the host
// has sent in netstack's memory: whoever counts connections must not believe
// that this one is over.
func TestAConnectionIsNotOverBeforeItsContainerHasRead(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(j *joined)
		want error
	}{
		{"and then reads", func(j *joined) {
			if b, err := io.ReadAll(j.container); err != nil || len(b) != unread {
				t.Errorf("the container got %d bytes, %v", len(b), err)
			}
		}, nil},
		{"and then resets", (*joined).resetContainer, nil},
		{"and then is aborted", func(j *joined) { j.pair.Abort() }, syscall.ECONNABORTED},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			j := newWorld(t).join(t)
			j.ep.SocketOptions().SetReceiveBufferSize(4<<10, true)
			j.container.CloseWrite()
			if _, err := io.ReadAll(j.host); err != nil {
				t.Fatal(err)
			}
			if _, err := j.host.Write(make([]byte, unread)); err != nil {
				t.Fatal(err)
			}
			j.host.Close()
			select {
			case err := <-j.ended:
				t.Fatalf("ended, with %v, while the container has not read", err)
			case <-time.After(300 * time.Millisecond): // an end comes within a few
			}
			c.end(j)
			if err := wait(t, j.ended, "the end"); !errors.Is(err, c.want) {
				t.Errorf("ended with %v, want %v", err, c.want)
			}
		})
	}
}

// unread fits a send buffer of netstack and no receive buffer of 4 KiB, in bytes.
const unread = 200 << 10
