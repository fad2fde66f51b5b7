package probe

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// closing is the last byte of a request behind whose answer the server closes.
const closing = 0xff

// rr asks and is answered, on one connection.
func rr(o options, _ int, t *tally, ready func() time.Time) {
	fd, err := o.to.dial(unix.SOCK_STREAM, brokenAfter)
	if err != nil {
		t.failed(err)
		return
	}
	defer closeFD(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		t.failed(fmt.Errorf("TCP_NODELAY: %w", err))
		return
	}
	request, answer := make([]byte, o.size), make([]byte, o.size)
	// The first round trip finds caches and routes cold; it is not counted.
	if err := ask(fd, request, answer); err != nil {
		t.failed(err)
		return
	}
	stop := ready()
	for now := time.Now(); now.Before(stop); {
		if err := ask(fd, request, answer); err != nil {
			t.failed(err)
			return
		}
		then := now
		now = time.Now()
		t.done(now.Sub(then))
	}
}

// ask writes a request and reads its answer.
func ask(fd int, request, answer []byte) error {
	for len(request) > 0 {
		n, err := write(fd, request)
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		request = request[n:]
	}
	for len(answer) > 0 {
		n, err := read(fd, answer)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if n == 0 {
			return fmt.Errorf("read: %w", io.ErrUnexpectedEOF)
		}
		answer = answer[n:]
	}
	return nil
}

// crr makes a connection for each request.
func crr(o options, _ int, t *tally, ready func() time.Time) {
	request, answer := make([]byte, o.size), make([]byte, o.size)
	if o.close == "server" {
		request[o.size-1] = closing
	}
	stop := ready()
	inRow := 0
	for now := time.Now(); now.Before(stop); {
		err := o.exchange(request, answer)
		then := now
		now = time.Now()
		if err == nil {
			t.done(now.Sub(then))
			inRow = 0
			continue
		}
		t.failed(err)
		if inRow++; inRow == maxErrors || errors.Is(err, unix.EADDRNOTAVAIL) {
			return
		}
	}
}

// exchange is one connection of crr.
func (o *options) exchange(request, answer []byte) error {
	fd, err := o.to.dial(unix.SOCK_STREAM, brokenAfter)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	if err := ask(fd, request, answer); err != nil {
		return err
	}
	if request[len(request)-1] != closing {
		return nil
	}
	n, err := read(fd, answer)
	if err != nil {
		return fmt.Errorf("reading up to the end: %w", err)
	}
	if n != 0 {
		return errors.New("there is more than the answer")
	}
	return nil
}

// hold opens connections one after the other and leaves them open: closing them is the process's end's.
func hold(o options, _ int, t *tally, ready func() time.Time) {
	ready()
	request, answer := make([]byte, o.size), make([]byte, o.size)
	inRow := 0
	for range o.parallel {
		then := time.Now()
		fd, err := o.to.dial(unix.SOCK_STREAM, brokenAfter)
		if err == nil {
			err = ask(fd, request, answer)
		}
		if err == nil {
			t.done(time.Since(then))
			inRow = 0
			continue
		}
		t.failed(err)
		if inRow++; inRow == maxErrors {
			return
		}
	}
}
