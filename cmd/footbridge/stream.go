package main

import (
	"errors"
	"io"
	"os"

	"github.com/footbridge-net/footbridge/api"
)

// session joins a process's streams with this program's.
type session struct {
	conn           *api.Hijacked
	stdin          *os.File // nil: input is not attached
	stdout, stderr io.Writer
	tty            bool
	raw            bool // the keys go to the container's terminal
	detachKeys     []byte
	terminal       *os.File // whose size the process's terminal follows; may be nil
	resize         func(api.TTYSize)
	// again, unless nil, is called when the output has ended. It returns a connection to go
	// on with, or nil when it was the end.
	again func(in *inlet, cause error) *api.Hijacked
}

// run copies until the process's output ends, and returns errDetached when the
// detach keys were pressed. The terminal is as before when it returns.
func (s session) run() error {
	if s.raw && s.stdin != nil {
		restore, err := makeRaw(s.stdin)
		if err != nil {
			return err
		}
		defer restore()
	}
	if s.tty && s.terminal != nil {
		stop := followSize(s.terminal, s.resize)
		defer stop()
	}

	in := newInlet(s.conn)
	output := make(chan error, 1)
	go func() {
		for conn := s.conn; ; in.join(conn) {
			err := conn.Copy(s.stdout, s.stderr)
			next := (*api.Hijacked)(nil)
			if s.again != nil && !in.isClosed() {
				next = s.again(in, err)
			}
			if next == nil {
				output <- err
				return
			}
			conn = next
		}
	}()

	// The goroutine below may stay in a read of the terminal when the process
	// has ended: it ends with the program.
	detached := make(chan struct{})
	if s.stdin != nil {
		go func() {
			var from io.Reader = s.stdin
			if s.tty {
				from = newDetachReader(from, s.detachKeys)
			}
			_, err := io.Copy(in, from)
			if errors.Is(err, errDetached) {
				close(detached)
				return
			}
			in.end()
		}()
	}

	select {
	case err := <-output:
		in.close()
		return err
	case <-detached:
		in.close()
		<-output //nolint:errcheck // that it was cut off is what detaching means
		return errDetached
	}
}
