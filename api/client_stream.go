package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// Hijacked is a connection to a process's streams. What is written to Conn is
// its input; CloseWrite ends the input and leaves the output open.
// The caller closes it.
type Hijacked struct {
	Conn   net.Conn      // write here; read from Reader
	Reader *bufio.Reader // raw with TTY, else stdout and stderr multiplexed
	TTY    bool
}

// CloseWrite tells the process that its input has ended.
func (h *Hijacked) CloseWrite() error {
	if c, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return fmt.Errorf("close input: %T cannot be half-closed: %w", h.Conn, errors.ErrUnsupported)
}

// Close detaches from the process.
func (h *Hijacked) Close() error { return h.Conn.Close() }

// Copy copies the output until it ends: with TTY all of it to stdout.
// Writers may be nil.
func (h *Hijacked) Copy(stdout, stderr io.Writer) error {
	return demultiplex(h.Reader, h.TTY, stdout, stderr)
}

func demultiplex(r io.Reader, tty bool, stdout, stderr io.Writer) error {
	if stdout == nil {
		stdout = io.Discard
	}
	if stderr == nil {
		stderr = io.Discard
	}
	if tty {
		_, err := io.Copy(stdout, r)
		return err
	}
	_, err := stdcopy.StdCopy(stdout, stderr, r)
	return err
}

// ContainerAttach connects to a container's streams.
func (c *Client) ContainerAttach(ctx context.Context, nameOrID string, options AttachOptions) (*Hijacked, error) {
	q := url.Values{}
	setBool(q, "stdin", options.Stdin)
	setBool(q, "stdout", options.Stdout)
	setBool(q, "stderr", options.Stderr)
	setBool(q, "logs", options.Logs)
	setBool(q, "stream", options.Stream)
	setString(q, "detachKeys", options.DetachKeys)
	return c.hijack(ctx, request{method: http.MethodPost, path: pathOf("containers", nameOrID, "attach"), query: q})
}

// ExecStart runs an exec. With req.Detach the connection is nil.
func (c *Client) ExecStart(ctx context.Context, execID string, req container.ExecStartRequest) (*Hijacked, error) {
	path := pathOf("exec", execID, "start")
	if req.Detach {
		return nil, c.post(ctx, path, nil, req, nil)
	}
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	return c.hijack(ctx, request{method: http.MethodPost, path: path, body: body})
}

// ContainerWait registers a wait; it is registered when ContainerWait returns.
// The channel yields one result; it is closed without one when ctx ends or the
// daemon goes away.
func (c *Client) ContainerWait(ctx context.Context, nameOrID string, condition container.WaitCondition) (<-chan container.WaitResponse, error) {
	q := url.Values{}
	setString(q, "condition", string(condition))
	resp, err := c.do(ctx, request{method: http.MethodPost, path: pathOf("containers", nameOrID, "wait"), query: q})
	if err != nil {
		return nil, err
	}
	out := make(chan container.WaitResponse, 1)
	go func() {
		defer close(out)
		defer resp.Body.Close()
		var res container.WaitResponse
		if json.NewDecoder(resp.Body).Decode(&res) == nil {
			out <- res
		}
	}()
	return out, nil
}

// Events subscribes to events; no event after the return is missed. The channel
// is closed when ctx ends, Until has passed or the daemon goes away. Whoever
// stops reading must end ctx.
func (c *Client) Events(ctx context.Context, options EventsOptions) (<-chan events.Message, error) {
	q := options.Filters.query(nil)
	setTime(q, "since", options.Since)
	setTime(q, "until", options.Until)
	resp, err := c.do(ctx, request{method: http.MethodGet, path: "/events", query: q})
	if err != nil {
		return nil, err
	}
	out := make(chan events.Message)
	go func() {
		defer close(out)
		defer resp.Body.Close()
		for d := json.NewDecoder(resp.Body); ; {
			var m events.Message
			if d.Decode(&m) != nil {
				return
			}
			select {
			case out <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// ContainerLogs opens a container's log. Range over its entries, or call Copy,
// or end ctx: else the connection stays open.
// With options.Timestamps the lines carry them; LogEntry.Time is not set.
func (c *Client) ContainerLogs(ctx context.Context, nameOrID string, options LogsOptions) (*Logs, error) {
	q := url.Values{}
	setBool(q, "stdout", options.Stdout)
	setBool(q, "stderr", options.Stderr)
	setBool(q, "follow", options.Follow)
	setBool(q, "timestamps", options.Timestamps)
	setTime(q, "since", options.Since)
	setTime(q, "until", options.Until)
	if options.Tail >= 0 {
		q.Set("tail", strconv.Itoa(options.Tail))
	}
	resp, err := c.do(ctx, request{method: http.MethodGet, path: pathOf("containers", nameOrID, "logs"), query: q})
	if err != nil {
		return nil, err
	}
	tty := resp.Header.Get("Content-Type") != types.MediaTypeMultiplexedStream
	return &Logs{TTY: tty, Entries: func(yield func(LogEntry, error) bool) {
		defer resp.Body.Close()
		stop := errors.New("stop")
		emit := func(stream stdcopy.StdType) io.Writer {
			return writerFunc(func(b []byte) (int, error) {
				if !yield(LogEntry{Stream: stream, Line: b}, nil) {
					return 0, stop
				}
				return len(b), nil
			})
		}
		err := demultiplex(resp.Body, tty, emit(stdcopy.Stdout), emit(stdcopy.Stderr))
		if err != nil && !errors.Is(err, stop) {
			yield(LogEntry{}, fmt.Errorf("logs of %s: %w", nameOrID, err))
		}
	}}, nil
}

// Copy copies the log to its end; writers may be nil.
func (l *Logs) Copy(stdout, stderr io.Writer) error {
	for e, err := range l.Entries {
		if err != nil {
			return err
		}
		w := stdout
		if e.Stream == stdcopy.Stderr {
			w = stderr
		}
		if w == nil {
			continue
		}
		if _, err := w.Write(e.Line); err != nil {
			return err
		}
	}
	return nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// setTime sends a time as Docker does: seconds and nanoseconds since 1970.
func setTime(q url.Values, key string, t time.Time) {
	if !t.IsZero() {
		q.Set(key, fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()))
	}
}

func (s TTYSize) query() url.Values {
	return url.Values{"h": {strconv.Itoa(int(s.Height))}, "w": {strconv.Itoa(int(s.Width))}}
}
