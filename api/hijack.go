package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types"
	"golang.org/x/sys/unix"
)

// The life of an attachment.
//
//	client --input---> conn ---> [detach keys] ---> Stream.Stdin
//	client <--output-- conn <--- [multiplexer] <--- Stream.Stdout, Stream.Stderr
//
// The backend's stream is opened first, so that its error is still an answer of
// HTTP. Then the connection is taken over, and these end it, whichever is first:
//
//   - all attached outputs have ended (without any, the input): the writing side
//     is closed, and the client's remaining input is read away for drainTimeout
//     at most. Closing with input unread would reset the connection, and the
//     client would see an error after the last byte instead of the end;
//   - the client has closed the connection, or typed the detach keys;
//   - the server shuts down.
//
// A client that closes only its writing side has ended the input: the process
// is told so, and output goes on. The two look alike to read(2), and poll(2)
// tells them apart: POLLHUP is set when both directions are closed.

// drainTimeout bounds how long input is read after output has ended.
const drainTimeout = 5 * time.Second

// copyBuffer is the size of one chunk of a process's output; a pipe holds 64 KiB.
const copyBuffer = 32 << 10

// muxHeader is the size of the header before a chunk of a multiplexed stream:
// the stream's number, three zeros, and the chunk's size, big endian.
const muxHeader = 8

// hijack opens a stream and connects it to the client.
func (s *Server) hijack(w http.ResponseWriter, r *http.Request, keys []byte, open func(*http.Request) (*Stream, error)) error {
	// net/http ends the request's context when it reads the end of input, and a
	// client that has ended its input may still want the output.
	r = r.WithContext(context.WithoutCancel(r.Context()))
	ctx, cancel := s.streamContext(r)
	defer cancel()
	stream, err := open(r.WithContext(ctx))
	if err != nil {
		return err
	}
	defer stream.Close()
	// Counted before net/http stops counting it: Shutdown waits for both.
	s.hijacked.Add(1)
	defer s.hijacked.Done()
	conn, buffered, done, err := s.takeOver(w)
	if err != nil {
		return err
	}
	defer done()
	if err := writeUpgrade(conn, r, stream.TTY); err != nil {
		return nil // the client is gone
	}
	early, err := buffered.Peek(buffered.Buffered())
	if err != nil {
		return Errorf(errdefs.ErrInternal, "take over the connection: %w", err)
	}
	input := io.MultiReader(bytes.NewReader(early), conn)
	a := &attachment{server: s, conn: conn, input: input, stream: stream, keys: keys}
	a.run(ctx)
	return nil
}

// takeOver makes the connection of a request the caller's, with what the client has sent
// behind the request. done closes it, and lets another one in.
func (s *Server) takeOver(w http.ResponseWriter) (conn *net.UnixConn, behind *bufio.Reader, done func(), err error) {
	c, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, nil, Errorf(errdefs.ErrInternal, "take over the connection: %w", err)
	}
	done = func() {
		c.Close()
		s.leave(c)
	}
	if sw, ok := w.(*startedWriter); ok {
		sw.started = true
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		done()
		return nil, nil, nil, Errorf(errdefs.ErrInternal, "connections are taken over on unix sockets only, this is a %T", c)
	}
	return conn, buffered.Reader, done, nil
}

// writeUpgrade answers in the form the client asked for: it switches protocols,
// or, as clients before Docker 1.8 expect, begins an answer without an end.
func writeUpgrade(conn io.Writer, r *http.Request, tty bool) error {
	if r.Header.Get("Upgrade") == "" {
		_, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n\r\n", types.MediaTypeRawStream)
		return err
	}
	mediaType := types.MediaTypeRawStream
	if !tty && !requestVersion(r).less(versionMultiplexed) {
		mediaType = types.MediaTypeMultiplexedStream
	}
	_, err := fmt.Fprintf(conn, "HTTP/1.1 101 UPGRADED\r\nContent-Type: %s\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", mediaType)
	return err
}

// attachment is one client connected to one process.
type attachment struct {
	server *Server
	conn   *net.UnixConn
	input  io.Reader // what the client sends, from the first byte after its request
	stream *Stream
	keys   []byte

	write sync.Mutex // one chunk at a time on conn
}

// run connects both directions and returns when the attachment is over; nothing
// of it runs on then.
func (a *attachment) run(ctx context.Context) {
	var all, outputs sync.WaitGroup
	hungUp := make(chan struct{})
	inputEnded := make(chan struct{})
	all.Go(func() {
		defer close(hungUp)
		a.guard("input", func() { a.copyInput(inputEnded) })
	})
	attached := 0
	for _, out := range []struct {
		from io.Reader
		kind stdcopy.StdType
	}{{a.stream.Stdout, stdcopy.Stdout}, {a.stream.Stderr, stdcopy.Stderr}} {
		if out.from == nil {
			continue
		}
		attached++
		outputs.Go(func() {
			a.guard("output", func() { a.copyOutput(out.from, out.kind) })
		})
	}
	outputEnded := make(chan struct{})
	all.Go(func() {
		defer close(outputEnded)
		outputs.Wait()
		if attached == 0 {
			select {
			case <-inputEnded:
			case <-hungUp:
			}
		}
	})

	select {
	case <-outputEnded:
		if a.conn.CloseWrite() == nil {
			// What is typed from now on has no reader: see drain in copyInput.
			_ = a.conn.SetReadDeadline(time.Now().Add(drainTimeout))
			a.stream.Close() // also stops a write to a process that reads no more
			select {
			case <-hungUp:
			case <-ctx.Done():
			}
		}
	case <-hungUp:
	case <-ctx.Done():
	}
	a.stream.Close() // unblocks the outputs
	a.conn.Close()   // unblocks the input
	all.Wait()
}

// guard runs f; a panic in it ends the attachment and not the daemon.
func (a *attachment) guard(what string, f func()) {
	defer func() {
		if p := recover(); p != nil {
			a.server.logPanic(what+" of an attachment", p)
			a.conn.Close()
		}
	}()
	f()
}

// copyInput passes input on until the client is gone. It closes ended when the
// client has closed its writing side.
func (a *attachment) copyInput(ended chan<- struct{}) {
	var to io.Writer = io.Discard
	if a.stream.Stdin != nil {
		to = a.stream.Stdin
	}
	var from io.Reader = a.input
	if a.stream.TTY && a.stream.Stdin != nil {
		from = &detachReader{from: a.input, keys: a.keys}
	}
	if err := copyUntilEOF(to, from); err != nil {
		var failed *sinkError
		if !errors.As(err, &failed) {
			return // detached, reset, or closed by us
		}
		// The process reads no more. Its output goes on, and the client's going
		// away must still be seen.
		if copyUntilEOF(io.Discard, from) != nil {
			return
		}
	}
	if isHungUp(a.conn) {
		return
	}
	if a.stream.Stdin != nil {
		_ = a.stream.Stdin.Close() // a process that has ended has no input to end
	}
	close(ended)
	waitHungUp(a.conn)
}

// sinkError tells an error of the writer from one of the reader.
type sinkError struct{ error }

func (e *sinkError) Unwrap() error { return e.error }

// copyUntilEOF copies; it returns nil when from has ended.
func copyUntilEOF(to io.Writer, from io.Reader) error {
	buf := make([]byte, copyBuffer)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return &sinkError{err}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// copyOutput passes one output on, multiplexed unless there is a terminal.
func (a *attachment) copyOutput(from io.Reader, kind stdcopy.StdType) {
	buf := make([]byte, muxHeader+copyBuffer)
	for {
		n, err := from.Read(buf[muxHeader:])
		if n > 0 {
			chunk := buf[muxHeader : muxHeader+n]
			if !a.stream.TTY {
				putMuxHeader(buf, kind, n)
				chunk = buf[:muxHeader+n]
			}
			a.write.Lock()
			_, werr := a.conn.Write(chunk)
			a.write.Unlock()
			if werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func putMuxHeader(buf []byte, kind stdcopy.StdType, n int) {
	buf[0], buf[1], buf[2], buf[3] = byte(kind), 0, 0, 0
	binary.BigEndian.PutUint32(buf[4:muxHeader], uint32(n))
}

// isHungUp reports whether the other end has closed both directions.
func isHungUp(conn *net.UnixConn) bool {
	hup := true
	err := control(conn, func(fd int) error {
		hup = pollHup(fd)
		return nil
	})
	return err != nil || hup
}

// waitHungUp returns when the other end has closed both directions or conn is
// closed here. It takes no thread: the runtime's poller wakes readers of a
// descriptor on EPOLLHUP too, and the question is asked again then.
func waitHungUp(conn *net.UnixConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Read(func(fd uintptr) bool { return pollHup(int(fd)) })
}

func pollHup(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd)}} // POLLHUP and POLLERR are always told
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
}
