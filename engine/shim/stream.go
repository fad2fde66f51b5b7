package shim

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// inputEnded is the one byte that a client of an attachment may send.
const inputEnded = 'E'

// Stream is a client's part in a process's standard streams. What was not asked for is nil; a process
// with a terminal has everything on Stdout and nothing on Stderr.
//
// Readers see io.EOF when the process has ended, or when the client was cut off for being slow. All
// three are pipes on the netpoller: Close interrupts reads and writes.
type Stream struct {
	Stdin  io.WriteCloser // closing it is the end of input, see Spec.StdinOnce
	Stdout io.ReadCloser
	Stderr io.ReadCloser

	conn *net.UnixConn
	once sync.Once
}

// Close detaches. The process runs on.
func (s *Stream) Close() error {
	s.once.Do(func() {
		for _, c := range []io.Closer{s.Stdin, s.Stdout, s.Stderr} {
			if c != nil {
				c.Close()
			}
		}
		s.conn.Close()
	})
	return nil
}

// input is the pipe to a process's standard input. Its Close says that it is one: when the pipe ends
// without a word the engine has died, and the next one's client may have more to send.
type input struct {
	*os.File
	conn *net.UnixConn
	once sync.Once
}

func (i *input) Close() error {
	i.once.Do(func() {
		_ = i.conn.SetWriteDeadline(time.Now().Add(requestTime))
		_, _ = i.conn.Write([]byte{inputEnded}) // before the pipe's end
	})
	return i.File.Close()
}

// CopyOutput copies both outputs to stdout and stderr until they end, side by side. It is what an
// HTTP hijack does with two stdcopy writers, or with one writer for a terminal; stderr may then be nil.
// The first error of a writer ends both and is returned.
func (s *Stream) CopyOutput(stdout, stderr io.Writer) error {
	type pair struct {
		to   io.Writer
		from io.ReadCloser
	}
	var pairs []pair
	if s.Stdout != nil && stdout != nil {
		pairs = append(pairs, pair{stdout, s.Stdout})
	}
	if s.Stderr != nil && stderr != nil {
		pairs = append(pairs, pair{stderr, s.Stderr})
	}
	errs := make(chan error, len(pairs))
	for _, p := range pairs {
		go func() {
			_, err := io.Copy(p.to, p.from)
			errs <- err
		}()
	}
	var first error
	for range pairs {
		if err := <-errs; err != nil && first == nil {
			first = err
			s.Close()
		}
	}
	return first
}

func attach(ctx context.Context, dir string, id int, o AttachOptions) (*Stream, error) {
	_, c, files, err := ask(ctx, dir, request{Op: opAttach, ID: id, Attach: &o})
	if err != nil {
		return nil, err
	}
	s := &Stream{conn: c}
	// In the order of the options; a process with a terminal has no standard error.
	if o.Stdin && len(files) > 0 {
		s.Stdin, files = &input{File: files[0], conn: c}, files[1:]
	}
	if o.Stdout && len(files) > 0 {
		s.Stdout, files = files[0], files[1:]
	}
	if o.Stderr && len(files) > 0 {
		s.Stderr, files = files[0], files[1:]
	}
	if len(files) > 0 || o.Stdin && s.Stdin == nil || o.Stdout && s.Stdout == nil {
		closeFiles(files)
		s.Close()
		return nil, fmt.Errorf("%w: streams missing from the answer", errFrame)
	}
	return s, nil
}
