package stack

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// onOneProcessor is where turns matter.
func onOneProcessor(t *testing.T) {
	old := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(old) })
}

// sleeper waits in the poller for the bytes of a pipe and counts them.
type sleeper struct {
	w    *os.File
	read atomic.Int64
}

func newSleeper(t *testing.T) *sleeper {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &sleeper{w: w}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1)
		for {
			if _, err := r.Read(b); err != nil {
				return
			}
			s.read.Add(1)
		}
	}()
	t.Cleanup(func() { w.Close(); <-done; r.Close() })
	return s
}

func (s *sleeper) wake(t *testing.T) {
	if _, err := s.w.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
}

// A goroutine that never waits lets those run of whose readiness only the poller
// knows. runtime.Gosched alone does not.
func TestAYieldGoesThroughThePoller(t *testing.T) {
	onOneProcessor(t)
	turns, err := newTurns()
	if err != nil {
		t.Fatal(err)
	}
	defer turns.close()
	s := newSleeper(t)
	const rounds = 200
	late := 0
	for i := range int64(rounds) {
		s.wake(t)
		turns.yield()
		for s.read.Load() <= i {
			late++
			turns.yield()
		}
	}
	// Go's scheduler takes every 61st goroutine from its other queue.
	if late > rounds/10 {
		t.Errorf("%d yields more than the %d that were needed", late, rounds)
	}
}

func TestManyMayYieldAtOnce(t *testing.T) {
	turns, err := newTurns()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	for range 8 {
		go func() {
			for range 200 {
				turns.yield()
			}
			done <- struct{}{}
		}()
	}
	for range 8 {
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("a turn never comes")
		}
	}
	turns.close()
	turns.yield() // returns at once
}

func TestClosingEndsAllWaiting(t *testing.T) {
	turns, err := newTurns()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 1000 {
			turns.yield()
		}
	}()
	turns.close()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("who waits for a turn waits for ever")
	}
}

// flooding is a device that always has a frame.
type flooding struct {
	*memory
	frame []byte
}

func (f flooding) Queues() []Queue { return []Queue{f} }
func (flooding) Waited() bool      { return false }

func (f flooding) ReadFrame(hdr *[vnet.Len]byte, b []byte) (int, error) {
	select {
	case <-f.done:
		return 0, os.ErrClosed
	default:
	}
	*hdr = plain
	return copy(b, f.frame), nil
}

// flood adds a container that never stops sending frame.
func (w *world) flood(t *testing.T, frame []byte) *Port {
	t.Helper()
	p, err := w.net.AddPort(PortOptions{Name: "flood", MAC: cMAC, Addresses: c(), Device: flooding{newMemory(t), frame}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What counts is frames, not time: the test may have to wait for a processor.
func TestAFloodDoesNotKeepOthersFromTheirTurn(t *testing.T) {
	onOneProcessor(t)
	w := newWorld(t, false)
	w.pb.Close()
	p := w.flood(t, packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPReply, SenderMAC: cMAC, SenderIP: c4, TargetIP: a4}))
	s := newSleeper(t)
	const rounds = 100
	start := p.Stats().RxFrames
	for i := range int64(rounds) {
		s.wake(t)
		for s.read.Load() <= i {
			w.net.Gateway().Yield()
		}
	}
	each := (p.Stats().RxFrames - start) / rounds
	// 100 us are some hundred frames, the scheduler's own 10 ms tens of thousands.
	if each > 3000 {
		t.Errorf("%d frames of the flood for each time that another is woken", each)
	}
}

func TestFramesThatAreDroppedAreReadAtALimitedRate(t *testing.T) {
	w := newWorld(t, false)
	start := time.Now()
	p := w.flood(t, []byte{1, 2, 3})
	for p.Stats().Drops["malformed"] < uint64(dropRate.burst+dropRate.perSecond/20) {
		runtime.Gosched()
	}
	// The rest cannot have been read in less than a twentieth of a second.
	if took := time.Since(start); took < time.Second/25 {
		t.Errorf("%d frames were read in %v", p.Stats().RxFrames, took)
	}
}

func TestAFloodForAGroupIsPaced(t *testing.T) {
	w := newWorld(t, false)
	frame := datagramFrame(packet.Broadcast, cMAC, ap(c4, 1), ap(here4, 9), "all")
	p := w.flood(t, frame)
	for p.Stats().Drops["paced"] == 0 {
		runtime.Gosched()
	}
	p.Close()
}
