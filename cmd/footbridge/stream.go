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

	output := make(chan error, 1)
	go func() { output <- s.conn.Copy(s.stdout, s.stderr) }()

	// The goroutine below may stay in a read of the terminal when the process
	// has ended: it ends with the program.
	detached := make(chan struct{})
	if s.stdin != nil {
		go func() {
			var in io.Reader = s.stdin
			if s.tty {
				in = newDetachReader(in, s.detachKeys)
			}
			_, err := io.Copy(s.conn.Conn, in)
			if errors.Is(err, errDetached) {
				close(detached)
				return
			}
			_ = s.conn.CloseWrite()
		}()
	}

	select {
	case err := <-output:
		return err
	case <-detached:
		_ = s.conn.Close()
		<-output
		return errDetached
	}
}
