package slirp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// ends tells of whatever is the end of a run.
type ends struct {
	over   chan string // says what it was; has room for one
	ctx    context.Context
	cancel context.CancelFunc
}

func newEnds() *ends {
	e := &ends{over: make(chan string, 1)}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

// stop ends the waiting but for that on descriptors, which goes with the process.
func (e *ends) stop() { e.cancel() }

func (e *ends) say(what string) {
	select {
	case e.over <- what:
	default: // one end is enough
	}
}

// lookAgain is how often a TAP is looked at: its end wakes only those that are woken by each
// of its frames, too.
const lookAgain = 2 * time.Second

// hangUp says what when the other end of a descriptor is closed, or its device is gone.
func (e *ends) hangUp(fd int, what string) error {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		return err
	}
	go func() { // a thread of its own: nothing may be read, so the poller is of no use
		for {
			polled := []unix.PollFd{{Fd: int32(fd)}}
			n, err := unix.Poll(polled, int(lookAgain/time.Millisecond))
			if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
				e.say(what)
				return
			}
		}
	}()
	return nil
}

// whenLeft says so when nobody is in the namespace any more.
func (e *ends) whenLeft(p *place) error {
	id, err := p.id()
	if err != nil {
		return err
	}
	go func() {
		if p.left(e.ctx, id) == nil {
			e.say(fmt.Sprintf("nobody is left in the network namespace %s", p.net))
		}
	}()
	return nil
}
