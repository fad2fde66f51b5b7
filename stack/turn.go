package stack

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// turnLength is how long a reader may carry frames before everybody else who is
// ready gets a turn. It bounds what one container at its limits adds to
// another's latency, twice in a round trip. A turn's end costs 1.5 us, and makes
// batches smaller: connections to the outside cost 6 % more time of the processor
// than without turns, and 17 % with half of it (docs/adr/0010-readers-take-turns.md).
const turnLength = 100 * time.Microsecond

// turns lets those go first who are ready and whom the scheduler does not know
// of yet. A goroutine that always has something to do keeps Go's scheduler from
// asking its network poller: with one processor that happens only every 10 ms,
// and runtime.Gosched does not change it. A goroutine that waits for the poller
// does: when nobody is left to run the scheduler polls, and what comes back with
// the answer is the readiness of all devices and sockets.
//
//	reader --wait--> write eventfd ... all others run ... poll --> serve --> reader
//
// So one goroutine sleeps on an eventfd, and those at the end of their turn write
// to it and wait for that goroutine.
type turns struct {
	event *os.File
	fd    int // event's
	conn  syscall.RawConn
	done  chan struct{} // closed when serve has ended

	mu     sync.Mutex
	woken  sync.Cond
	round  uint64 // of the poller
	asked  bool   // the eventfd is written, serve not yet woken
	closed bool
}

func newTurns() (*turns, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	t := &turns{event: os.NewFile(uintptr(fd), "turns"), fd: fd, done: make(chan struct{})}
	t.woken.L = &t.mu
	if t.conn, err = t.event.SyscallConn(); err == nil {
		// A file that the poller does not take would not be waited for.
		err = t.event.SetReadDeadline(time.Time{})
	}
	if err != nil {
		t.event.Close()
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	go t.serve()
	return t, nil
}

// serve ends the rounds. It never reads what it waits for: each write is an
// event of its own to the poller, which waits for edges.
func (t *turns) serve() {
	defer close(t.done)
	waiting := false
	wait := func(uintptr) bool {
		waiting = !waiting
		if waiting {
			t.mu.Lock()
			if t.asked {
				t.ring() // Read has just made the poller forget earlier ones
			}
			t.mu.Unlock()
		}
		return !waiting
	}
	for t.conn.Read(wait) == nil {
		t.mu.Lock()
		t.end()
		t.mu.Unlock()
	}
}

// end ends a round. t.mu is held.
func (t *turns) end() {
	t.round++
	t.asked = false
	t.woken.Broadcast()
}

// yield returns when everybody has had a turn who was ready when it was called.
func (t *turns) yield() {
	t.mu.Lock()
	if !t.asked && !t.closed {
		t.asked = true
		t.ring()
	}
	for round := t.round; t.round == round && !t.closed; {
		t.woken.Wait()
	}
	t.mu.Unlock()
	// The poller's answer may have put others behind this goroutine.
	runtime.Gosched()
}

// ring makes the poller see the eventfd. t.mu is held, and the file open.
func (t *turns) ring() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	if _, err := unix.Write(t.fd, one[:]); err != nil {
		t.end() // not to wait for ever
	}
}

// close ends all waiting, now and later.
func (t *turns) close() {
	t.mu.Lock()
	t.closed = true
	t.end()
	t.mu.Unlock()
	t.event.Close()
	<-t.done
}
