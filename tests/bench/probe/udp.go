package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// udprr sends a datagram and waits for its echo. Its first bytes, up to eight, are its number: an echo that comes too
// late is not taken for the next one's.
func udprr(o options, _ int, t *tally, ready func() time.Time) {
	fd, err := o.to.dial(unix.SOCK_DGRAM, lostAfter)
	if err != nil {
		t.failed(err)
		return
	}
	defer closeFD(fd)
	request, answer := make([]byte, max(o.size, 8)), make([]byte, o.size)
	var number uint64
	once := func() error {
		number++
		binary.LittleEndian.PutUint64(request, number)
		if _, err := write(fd, request[:o.size]); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		for {
			n, err := read(fd, answer)
			if err != nil {
				return fmt.Errorf("no echo: %w", err)
			}
			if n == o.size && string(answer[:min(n, 8)]) == string(request[:min(n, 8)]) {
				return nil
			}
		}
	}
	_ = once() // cold; and its loss would be seen again
	stop := ready()
	inRow := 0
	for now := time.Now(); now.Before(stop); {
		err := once()
		then := now
		now = time.Now()
		if err == nil {
			t.done(now.Sub(then))
			inRow = 0
			continue
		}
		t.failed(err)
		if inRow++; inRow == maxErrors {
			return
		}
	}
}

// A datagram that is to be counted begins with its kind and the number of its run; so does a question for the count,
// which is answered by the same, the number of datagrams and of their bytes.
const (
	countMark  uint64 = 0xf00d_c047_ed00_0001
	reportMark uint64 = 0xf00d_c047_ed00_0002
	markSize          = 16
	reportSize        = markSize + 16
)

// udpburst sends datagrams without waiting for anything but its turn, and asks in the end how many have arrived.
func udpburst(o options, thread int, t *tally, ready func() time.Time) {
	fd, err := o.to.dial(unix.SOCK_DGRAM, lostAfter)
	if err != nil {
		t.failed(err)
		return
	}
	defer closeFD(fd)
	run := rand.Uint64()
	datagram := make([]byte, max(o.size, markSize))
	binary.LittleEndian.PutUint64(datagram, countMark)
	binary.LittleEndian.PutUint64(datagram[8:], run)
	if _, err := report(fd, run); err != nil { // routes and neighbours are known, and the server is there
		t.failed(err)
		return
	}
	stop := ready()
	start := time.Now()
	// This thread's share of the rate, without what a division would lose.
	rate := float64(o.rate) / float64(o.parallel)
	refused := 0
	for now := start; now.Before(stop); {
		if rate > 0 {
			if wait := time.Duration(float64(t.sent)/rate*1e9) - now.Sub(start); wait > 0 {
				pause(wait)
				now = time.Now()
				continue
			}
		}
		_, err := write(fd, datagram)
		then := now
		now = time.Now()
		if err != nil {
			// A full queue (ENOBUFS) is loss at home.
			t.failed(fmt.Errorf("send: %w", err))
			if refused++; refused == maxErrors {
				return
			}
			continue
		}
		refused = 0
		t.sent++
		t.done(now.Sub(then))
	}
	arrived, err := report(fd, run)
	if err != nil {
		t.failed(err)
	}
	t.errors += t.sent - min(arrived, t.sent)
	t.ops = arrived
}

// pause sleeps for what is longer than a sleep is late by, and otherwise only lets time pass.
func pause(d time.Duration) {
	if d < 100*time.Microsecond {
		return
	}
	ts := unix.NsecToTimespec((d - 60*time.Microsecond).Nanoseconds())
	_ = unix.Nanosleep(&ts, nil) // woken early: the next round sleeps the rest
}

// report asks for how many datagrams of a run have arrived, until the number does not grow any more.
func report(fd int, run uint64) (uint64, error) {
	question := make([]byte, markSize)
	binary.LittleEndian.PutUint64(question, reportMark)
	binary.LittleEndian.PutUint64(question[8:], run)
	answer := make([]byte, reportSize)
	last, known := uint64(0), false
	for range 25 { // 25 answers that are lost, or 25 times lostAfter
		if _, err := write(fd, question); err != nil {
			continue // an ICMP error that belongs to an earlier datagram
		}
		n, err := read(fd, answer)
		if err != nil || n != reportSize || string(answer[:markSize]) != string(question) {
			continue
		}
		arrived := binary.LittleEndian.Uint64(answer[markSize:])
		if known && arrived == last {
			return arrived, nil
		}
		last, known = arrived, true
	}
	if known {
		return last, nil
	}
	return 0, errors.New("the server does not say how many datagrams have arrived")
}
