package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Bits of the third and fourth byte of a DNS message.
const (
	dnsResponse  = 1 << 15
	dnsRecursion = 1 << 8
	dnsRcode     = 0xf
)

var errNoAnswer = fmt.Errorf("no answer within %v", lostAfter)

// asked is a question that is under way. The slot's index and its round are the question's id.
type asked struct {
	round uint8
	at    time.Time
}

// lookups keeps -parallel questions under way on one socket.
func lookups(o options, _ int, t *tally, ready func() time.Time) {
	question, err := dnsQuestion(o.name)
	if err != nil {
		t.failed(err)
		return
	}
	if o.parallel > 256 {
		t.failed(errors.New("at most 256 questions are under way on a socket"))
		return
	}
	fd, err := o.to.dial(unix.SOCK_DGRAM, lostAfter)
	if err != nil {
		t.failed(err)
		return
	}
	defer closeFD(fd)
	slots := make([]asked, o.parallel)
	answers := newBatch(o.parallel, 512)
	send := func(i int, now time.Time) {
		slots[i].round++
		slots[i].at = now
		binary.BigEndian.PutUint16(question, uint16(slots[i].round)<<8|uint16(i))
		// What is not sent is not answered, and is counted as that.
		if _, err := write(fd, question); err != nil && t.problem == nil {
			t.problem = fmt.Errorf("send: %w", err)
		}
	}
	stop := ready()
	lost := 0
	now := time.Now()
	looked := now
	for i := range slots {
		send(i, now)
	}
	for now.Before(stop) && lost < maxErrors {
		n, err := answers.receive(fd)
		now = time.Now()
		for k := range n {
			message := answers.datagram(k)
			if len(message) < 12 {
				continue
			}
			id := binary.BigEndian.Uint16(message)
			i := int(id & 0xff)
			if i >= len(slots) || slots[i].round != uint8(id>>8) {
				continue // one that was given up
			}
			if err := checkAnswer(message); err != nil {
				t.failed(err)
			} else {
				t.done(now.Sub(slots[i].at))
				lost = 0
			}
			send(i, now)
		}
		if err == nil && now.Sub(looked) < lostAfter {
			continue
		}
		looked = now
		for i := range slots {
			if now.Sub(slots[i].at) >= lostAfter {
				t.failed(errNoAnswer)
				lost++
				send(i, now)
			}
		}
	}
}

// dnsQuestion is the message that asks for a name's IPv4 address, without an id.
func dnsQuestion(name string) ([]byte, error) {
	m := make([]byte, 12, 12+len(name)+6)
	binary.BigEndian.PutUint16(m[2:], dnsRecursion)
	binary.BigEndian.PutUint16(m[4:], 1)
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if len(label) == 0 || len(label) > 63 {
			return nil, fmt.Errorf("-name %q cannot be asked for", name)
		}
		m = append(append(m, byte(len(label))), label...)
	}
	return append(m, 0, 0, 1, 0, 1), nil
}

func checkAnswer(m []byte) error {
	flags := binary.BigEndian.Uint16(m[2:])
	switch {
	case flags&dnsResponse == 0:
		return errors.New("a question came back")
	case flags&dnsRcode != 0:
		return fmt.Errorf("the answer's code is %d", flags&dnsRcode)
	case binary.BigEndian.Uint16(m[6:]) == 0:
		return errors.New("the answer has no address")
	}
	return nil
}
