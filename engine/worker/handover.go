package worker

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/fdstore"
)

// previousPart is the part of a name in the store that says: a worker's socket. Its
// process id follows.
const previousPart = "worker"

// previous is the worker of the program that this process was before: it has gone
// on carrying packets.
type previous struct {
	pidfd int
	conn  *fdpass.Handle
}

// findPrevious takes the worker out of the store that HandOver has put there.
func findPrevious(store Store) (*previous, error) {
	if store == nil {
		return nil, nil
	}
	var found *previous
	for _, name := range store.Names() {
		text, ok := strings.CutPrefix(name, fdstore.Name(storeOwner, previousPart)+".")
		if !ok {
			continue
		}
		h, ok := store.Get(name)
		if !ok {
			continue
		}
		if err := store.Remove(name); err != nil {
			return nil, errors.Join(err, h.Close())
		}
		if pidfd, ok := childFD(text); ok && found == nil {
			found = &previous{pidfd, h}
			continue
		}
		_ = h.Close() // with its last one the worker ends
	}
	return found, nil
}

// childFD opens a process if it is a child of this one: only then its number
// cannot have become another's.
func childFD(text string) (pidfd int, ok bool) {
	pid, err := strconv.Atoi(text)
	if err != nil || pid <= 1 {
		return -1, false
	}
	if pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
		return -1, false
	}
	// WNOWAIT: whoever reaps children shall find it.
	if err := unix.Waitid(unix.P_PIDFD, pidfd, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		unix.Close(pidfd)
		return -1, false
	}
	return pidfd, true
}

// killPrevious ends the worker of the program before without waiting for that; s.mu is
// held.
func (s *Supervisor) killPrevious() {
	if s.previous != nil {
		_ = unix.PidfdSendSignal(s.previous.pidfd, unix.SIGKILL, nil, 0) // or it has ended
	}
}

// endPrevious ends the worker of the program before and waits for that; s.mu is
// held.
func (s *Supervisor) endPrevious() {
	p := s.previous
	if p == nil {
		return
	}
	s.killPrevious()
	s.previous = nil
	deadline := time.Now().Add(killedEnd)
	for time.Now().Before(deadline) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}, int(killedEnd.Milliseconds()))
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	unix.Close(p.pidfd)
	if conn, err := fdpass.NewConn(p.conn.Take()); err == nil {
		conn.Drain()
		_ = conn.Close()
	}
}

func previousName(pid int) string { return fdstore.Name(storeOwner, previousPart, strconv.Itoa(pid)) }

// HandOver leaves the worker and what is held to the program that this process
// executes next. Nothing is done any more until TakeBack.
func (s *Supervisor) HandOver() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.opts.Store == nil:
		return errors.New("hand over the data plane: there is nowhere to keep descriptors")
	case s.live == nil:
		s.held = true
		return nil
	}
	h, err := s.live.conn.Handle()
	if err != nil {
		return fmt.Errorf("hand over the worker: %w", err)
	}
	defer h.Close()
	if err := s.opts.Store.PutLocal(previousName(s.live.pid), h); err != nil {
		return fmt.Errorf("hand over the worker: %w", err)
	}
	s.held = true
	return nil
}

// TakeBack goes on after a HandOver that led to nothing.
func (s *Supervisor) TakeBack() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !s.held {
		return nil
	}
	s.held = false
	if s.live == nil {
		if s.needed() {
			return s.start()
		}
		return nil
	}
	_, _ = s.live.bell.Write(one) // it may have been rung in vain meanwhile
	err := s.opts.Store.Remove(previousName(s.live.pid))
	if s.live.broken() {
		err = errors.Join(err, s.restart())
	}
	return err
}
