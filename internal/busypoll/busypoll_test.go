package busypoll

import (
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nowait"
)

func TestItIsFoundByWhatItWaitsFor(t *testing.T) {
	const info = "pos:\t0\nflags:\t02000002\nmnt_id:\t15\ntfd:        4 events: 80000019 data:       4  pos:0 ino:1 sdev:8\ntfd:       17 events: 80002019\n"
	for fd, want := range map[string]bool{"4": true, "17": true, "1": false, "7": false, "80002019": false, "": false} {
		if waitsFor(info, fd) != want {
			t.Errorf("it waits for %q: %v", fd, !want)
		}
	}
	for _, text := range []string{"", "tfd:", "tfd", "pos: 4\n"} {
		if waitsFor(text, "4") {
			t.Errorf("%q waits for 4", text)
		}
	}
	fd, err := find()
	if err != nil {
		t.Fatal(err)
	}
	if is, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(fd))); err != nil || is != "anon_inode:[eventpoll]" {
		t.Errorf("descriptor %d is %q, %v", fd, is, err)
	}
}

func TestItDoesNotLookBetweenThePiecesOfALot(t *testing.T) {
	p, ring := started(t)
	ring()
	p.waiting(bulk + 1)
	for range mostSkipped {
		p.waiting(bulk)
		p.settled(t)
	}
	if n := p.seen.Load(); n != 0 {
		t.Errorf("it has looked %d times", n)
	}
	p.waiting(bulk)
	p.settled(t)
	if n := p.seen.Load(); n != 1 {
		t.Errorf("it has looked %d times, want once", n)
	}
}

// started is one that looks at an eventfd in the poller's place.
func started(t *testing.T) (p *poller, ring func()) {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = newPoller(uintptr(fd)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.run()
	}()
	t.Cleanup(func() {
		close(p.wake)
		<-ended
		p.bell.Close()
		nowait.Close(uintptr(fd))
	})
	return p, func() {
		if _, err := unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
			t.Error(err)
		}
	}
}

func (p *poller) settled(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); p.active.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it looks and looks")
		}
	}
}

func TestItLooksLessOftenWhereNothingComes(t *testing.T) {
	p, ring := started(t)
	const times = 1000
	for range times {
		p.waiting(0)
		p.settled(t)
	}
	// 1, 2, 4 ... 64 are left out, and 64 each time from then on.
	if n := p.inVain.Load(); n < times/mostSkipped || n > 7+times/mostSkipped {
		t.Errorf("it has looked in vain %d times of %d", n, times)
	}
	if n := p.seen.Load(); n != 0 {
		t.Errorf("it has seen something %d times", n)
	}
	// As soon as it sees something it looks every time.
	ring()
	for range mostSkipped + 10 {
		p.waiting(0)
		p.settled(t)
	}
	if n := p.seen.Load(); n < 10 {
		t.Errorf("it has seen something %d times", n)
	}
}

func TestItEndsSoonWhereNothingComes(t *testing.T) {
	p, _ := started(t)
	p.waiting(0)
	p.settled(t)
	if p.inVain.Load() != 1 || p.skip.Load() != 1 {
		t.Errorf("in vain %d, skips %d", p.inVain.Load(), p.skip.Load())
	}
	// While it looks, nobody else makes it look again.
	p.active.Store(true)
	p.skip.Store(0)
	p.waiting(0)
	if len(p.wake) != 0 {
		t.Error("it was woken twice")
	}
	p.active.Store(false)
}

// The kernel tells a UDP socket's poller when what was sent has been received.
func TestWhatWasSentIsNotTakenForSomethingToRead(t *testing.T) {
	p, ring := started(t)
	ring() // and nobody takes it away
	p.sent.Store(true)
	p.waiting(0)
	p.settled(t)
	if p.seen.Load() != 1 || p.sent.Load() {
		t.Errorf("seen %d times, sent: %v", p.seen.Load(), p.sent.Load())
	}
	rounds := make([]byte, 8)
	if n, err := p.bell.Read(rounds); err != nil || n != 8 || rounds[0] != 1 {
		t.Errorf("the runtime's poller had %d rounds, want 1 (%v)", rounds[0], err)
	}
}

func TestWaitingBeforeStartDoesNothing(t *testing.T) {
	if running.Load() != nil {
		t.Fatal("it runs")
	}
	if n := testing.AllocsPerRun(100, func() { Waiting(0); Sent() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The runtime's own poller: what is to be read from a pipe is seen, and its reader runs.
func TestAReaderIsSeenByTheRuntimesPoller(t *testing.T) {
	fd, err := find()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	p, err := newPoller(fd)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.run()
	}()
	read := make(chan error, 1)
	for range 200 {
		go func() {
			p.waiting(0)
			_, err := r.Read(make([]byte, 1))
			read <- err
		}()
		if _, err := w.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != nil {
			t.Fatal(err)
		}
	}
	close(p.wake)
	<-done
}
