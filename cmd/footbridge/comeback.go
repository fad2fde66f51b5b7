package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"

	"github.com/footbridge-net/footbridge/api"
)

// A command that watches a container to its end goes on when the daemon becomes another
// program, or ends and is started again by a service manager: the container has gone
// on too. It does not start a daemon itself, as somebody may have stopped that.

// comeBackPatience is how long a daemon may be gone: a service manager waits for 100 ms
// (systemd's RestartSec=) and then takes its time.
const comeBackPatience = 5 * time.Second

// errInputLost: the daemon went away while input was on its way through it.
var errInputLost = errors.New("the daemon went away while input was sent, and part of it may be lost; the container lives on, see `footbridge ps`")

// errEndUnseen: the container has ended, and was removed, while no daemon was there to ask.
var errEndUnseen = errors.New("the daemon went away, and the container ended and was removed before it was back: its exit code is lost")

// comeBack returns when the daemon serves again.
func comeBack(ctx context.Context, client *api.Client) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	late := time.NewTimer(comeBackPatience)
	defer late.Stop()
	tick := time.NewTicker(lockInterval)
	defer tick.Stop()
	for {
		err := client.Ping(ctx)
		if err == nil || !errors.Is(err, api.ErrNoDaemon) && !errdefs.IsUnavailable(err) && !isGone(err) {
			return err
		}
		select {
		case <-tick.C:
		case <-late.C:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

// again is called when the container's output has ended, because of its end or the
// daemon's. In the second case it attaches again, unless that is impossible.
func (w *watch) again(ctx context.Context, in *inlet, cause error) *api.Hijacked {
	result, ok := <-w.exit
	if ok {
		w.end = &result
		return nil
	}
	w.gone = errDaemonGone
	if cause != nil && !isGone(cause) && !errors.Is(cause, os.ErrClosed) {
		w.gone = fmt.Errorf("%w (%w)", errDaemonGone, cause)
	}
	input := in.pause()
	_ = w.conn.Close()
	if !w.tty && input == inputUnderWay {
		w.gone = errInputLost
		return nil
	}
	if comeBack(ctx, w.client) != nil {
		return nil
	}
	conn, err := w.attachAgain(ctx, input != inputDone)
	if errdefs.IsNotFound(err) {
		w.gone = errEndUnseen
		return nil
	}
	if err != nil {
		w.gone = fmt.Errorf("%w (%w)", errDaemonGone, err)
		return nil
	}
	if conn == nil {
		return nil
	}
	w.conn = conn
	end := "\n"
	if w.tty {
		end = "\r\n" // the terminal is raw
	}
	fmt.Fprintf(w.c.stderr, "footbridge: the daemon is back; what the command wrote in between is in `footbridge logs %.12s`%s", w.id, end)
	return conn
}

// attachAgain connects to the container if it runs, and to its exit code. Without a
// connection and an error it has ended.
func (w *watch) attachAgain(ctx context.Context, stdin bool) (*api.Hijacked, error) {
	condition := container.WaitConditionNotRunning
	if w.autoRemove {
		condition = container.WaitConditionRemoved
	}
	var err error
	if w.exit, err = w.client.ContainerWait(context.WithoutCancel(ctx), w.id, condition); err != nil {
		return nil, err // it has ended and was removed
	}
	before, err := w.client.ContainerInspect(ctx, w.id)
	if err != nil {
		return nil, err
	}
	var conn *api.Hijacked
	if before.State.Running {
		if conn, err = w.client.ContainerAttach(ctx, w.id, api.AttachOptions{
			Stream: true, Stdin: w.stdin && stdin, Stdout: true, Stderr: true,
		}); err != nil {
			return nil, err
		}
		// Attached to a container that has ended, one would wait for its next start.
		after, err := w.client.ContainerInspect(ctx, w.id)
		if err == nil && after.State.Running && after.State.StartedAt == before.State.StartedAt {
			return conn, nil
		}
		_ = conn.Close()
	}
	result, ok := <-w.exit
	if !ok {
		return nil, errors.New("it went away again")
	}
	w.end = &result
	return nil, nil
}

// errExecForgotten: the daemon became another program while an exec ran.
var errExecForgotten = errors.New("the daemon was exchanged or restarted before the command ended: it goes on in the container, and its exit code will not be known")

// livesOn reports whether a container has been running since before begin.
func livesOn(ctx context.Context, client *api.Client, name string, begin time.Time) bool {
	found, err := client.ContainerInspect(ctx, name)
	if err != nil || !found.State.Running {
		return false
	}
	started, err := time.Parse(time.RFC3339Nano, found.State.StartedAt)
	return err == nil && started.Before(begin)
}

// inputState is how far the input of a session has come.
type inputState int

const (
	inputUntouched inputState = iota // nothing was sent
	inputUnderWay
	inputDone // all was sent, and its end
)

// inlet is where a session's input goes: the present connection. While there is none,
// writing waits.
type inlet struct {
	mu      sync.Mutex
	conn    *api.Hijacked // nil: paused
	changed chan struct{} // closed when conn or closed changes
	state   inputState
	closed  bool
}

func newInlet(conn *api.Hijacked) *inlet {
	return &inlet{conn: conn, changed: make(chan struct{})}
}

// Write implements io.Writer.
func (i *inlet) Write(b []byte) (written int, err error) {
	for {
		i.mu.Lock()
		conn, changed := i.conn, i.changed
		if i.closed {
			i.mu.Unlock()
			return written, errSessionOver
		}
		i.state = inputUnderWay
		i.mu.Unlock()
		if conn != nil {
			n, err := conn.Conn.Write(b[written:])
			if written += n; err == nil {
				return written, nil
			}
		}
		<-changed
	}
}

var errSessionOver = errors.New("the session is over")

// end says that there is no more input.
func (i *inlet) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state = inputDone
	if i.conn != nil {
		_ = i.conn.CloseWrite()
	}
}

// pause lets writers wait and says how far the input has come.
func (i *inlet) pause() inputState {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.conn = nil
	i.change()
	return i.state
}

// join goes on with another connection.
func (i *inlet) join(conn *api.Hijacked) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.conn = conn
	if i.closed {
		_ = conn.Close()
	} else if i.state == inputDone {
		_ = conn.CloseWrite()
	}
	i.change()
}

// close ends the session.
func (i *inlet) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	if i.conn != nil {
		_ = i.conn.Close()
	}
	i.change()
}

func (i *inlet) isClosed() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.closed
}

func (i *inlet) change() {
	close(i.changed)
	i.changed = make(chan struct{})
}
