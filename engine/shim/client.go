package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Shim is the engine's handle of a container's process. Its methods may be called concurrently. The
// container does not depend on it: when the engine goes, the container stays, and Connect finds it again.
type Shim struct {
	dir   string
	pid   int
	pidfd *os.File
	done  chan struct{} // closed after exit is set
	left  chan struct{} // closed by Close
	once  sync.Once
	exit  Exit

	mu    sync.Mutex
	watch *net.UnixConn // the wait request; held after the end, so that the shim stays for Ack
}

// Connect finds the shim of the container in dir, for example after the engine was restarted.
// ErrGone means that there is none; ReadExit may tell how its container ended.
func Connect(ctx context.Context, dir string) (*Shim, error) {
	st, pidfd, err := queryState(ctx, dir)
	if err != nil {
		return nil, err
	}
	s := &Shim{dir: dir, pid: st.PID, pidfd: pidfd, done: make(chan struct{}), left: make(chan struct{})}
	if err := s.register(ctx); err != nil {
		pidfd.Close()
		return nil, err
	}
	go s.await()
	return s, nil
}

// register makes the wait request. It is closed by Close.
func (s *Shim) register(ctx context.Context) error {
	watch, err := send(ctx, s.dir, request{Op: opWait})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.left:
		watch.Close()
		return net.ErrClosed
	default:
	}
	if s.watch != nil {
		s.watch.Close()
	}
	s.watch = watch
	return nil
}

// registerInterval is how often a lost wait request is made anew. It is lost with the shim, or, far less often, because
// the shim had too many connections or this process too many files.
const registerInterval = 100 * time.Millisecond

// await learns how the container ended, from the shim or from what the loss of the shim means.
func (s *Shim) await() {
	for {
		since := time.Now()
		var a answer
		err := readMessage(s.watch, maxRequest, &a)
		if err == nil && a.Exit != nil {
			s.exit = *a.Exit
			close(s.done)
			return
		}
		for again := true; again; since = time.Now() {
			if time.Since(since) < registerInterval { // a shim that answers nobody is not asked without a pause
				select {
				case <-s.left:
					return
				case <-time.After(registerInterval):
				}
			}
			err := s.register(context.Background())
			if errors.Is(err, ErrGone) {
				s.lost()
				return
			}
			again = err != nil
		}
	}
}

// lost settles how a container ended whose shim says nothing any more.
func (s *Shim) lost() {
	select {
	case <-s.left:
		return
	default:
	}
	var err error
	if s.exit, err = ReadExit(s.dir); err != nil {
		s.exit = Exit{Code: 128 + int(unix.SIGKILL), FinishedAt: time.Now().UTC(),
			Error: "the process that held the container was killed, and the container with it"}
	}
	close(s.done)
}

// PID is the host's pid of the container's pid 1, whose /proc entry leads to its namespaces.
func (s *Shim) PID() int { return s.pid }

// Dir is the container's runtime directory.
func (s *Shim) Dir() string { return s.dir }

// Start runs the command and returns when it has been executed. An error that matches ErrNotFound or
// ErrPermission is a *StartError with Docker's exit code and wording; the container has then ended with that code.
func (s *Shim) Start(ctx context.Context) error {
	return s.call(ctx, request{Op: opStart})
}

// Signal sends a signal to the command. ErrNotRunning means that there is none.
func (s *Shim) Signal(ctx context.Context, sig syscall.Signal) error {
	return s.call(ctx, request{Op: opSignal, Signal: int(sig)})
}

// Resize sets the size of the command's terminal in characters; it may come before Start.
func (s *Shim) Resize(ctx context.Context, width, height uint16) error {
	return s.call(ctx, request{Op: opResize, Width: width, Height: height})
}

// State returns the container's present state. ErrGone means that the shim has ended.
func (s *Shim) State(ctx context.Context) (State, error) {
	st, pidfd, err := queryState(ctx, s.dir)
	if err != nil {
		return State{}, err
	}
	pidfd.Close()
	return st, nil
}

// Done is closed when the container has ended and all its output is delivered; not by Close.
func (s *Shim) Done() <-chan struct{} { return s.done }

// Wait returns how the container ended, once it has. A shim that was killed counts as exit code 137
// with Exit.Error set.
func (s *Shim) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-s.done:
		return s.exit, nil
	default:
	}
	select {
	case <-s.done:
		return s.exit, nil
	case <-s.left:
		return Exit{}, fmt.Errorf("wait for the container: %w", net.ErrClosed)
	case <-ctx.Done():
		return Exit{}, ctx.Err()
	}
}

// Attach joins the command's streams. Nothing is replayed; attached before Start, all is seen.
func (s *Shim) Attach(ctx context.Context, o AttachOptions) (*Stream, error) {
	return attach(ctx, s.dir, 0, o)
}

// Exec prepares another process in the running container. It exists from Exec.Start on.
func (s *Shim) Exec(ctx context.Context, spec ExecSpec) (*Exec, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	a, c, _, err := ask(ctx, s.dir, request{Op: opExecCreate, Exec: &spec})
	if err != nil {
		return nil, err
	}
	c.Close()
	return &Exec{dir: s.dir, id: a.ID}, nil
}

// Kill ends the container at once: SIGKILL to its pid 1, through a descriptor that cannot mean
// another process. It needs nothing of the shim. A container that has ended is no error,
// also when somebody else has seen that and closed the handle meanwhile.
func (s *Shim) Kill() error {
	err := signalPidfd(s.pidfd, unix.SIGKILL)
	if err == nil || errors.Is(err, unix.ESRCH) {
		return nil
	}
	select {
	case <-s.done:
		return nil
	default:
		return fmt.Errorf("kill the container: %w", err)
	}
}

// Alive says whether PID still means this container's pid 1. What was opened by that pid before a true
// answer was its own.
func (s *Shim) Alive() bool { return signalPidfd(s.pidfd, 0) == nil }

// Ack lets the shim of an ended container go, now that its end is noted. A shim that is gone already is no error.
func (s *Shim) Ack(ctx context.Context) error {
	err := s.call(ctx, request{Op: opAck})
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}

// Close gives up the handle. A running container runs on.
func (s *Shim) Close() error {
	s.once.Do(func() {
		s.mu.Lock()
		close(s.left)
		s.watch.Close()
		s.mu.Unlock()
		s.pidfd.Close()
	})
	return nil
}

func (s *Shim) call(ctx context.Context, req request) error { return call(ctx, s.dir, req) }

// Exec is a process besides a container's command.
type Exec struct {
	dir string
	id  int
}

// Start runs the process; errors as of Shim.Start.
func (e *Exec) Start(ctx context.Context) error {
	return call(ctx, e.dir, request{Op: opStart, ID: e.id})
}

// Attach joins the process's streams; before Start to see them whole.
func (e *Exec) Attach(ctx context.Context, o AttachOptions) (*Stream, error) {
	return attach(ctx, e.dir, e.id, o)
}

// Resize sets the size of the process's terminal in characters; it may come before Start.
func (e *Exec) Resize(ctx context.Context, width, height uint16) error {
	return call(ctx, e.dir, request{Op: opResize, ID: e.id, Width: width, Height: height})
}

// Signal sends a signal to the process.
func (e *Exec) Signal(ctx context.Context, sig syscall.Signal) error {
	return call(ctx, e.dir, request{Op: opSignal, ID: e.id, Signal: int(sig)})
}

// Wait returns how the process ended, once it has. ErrGone means that nobody knows any more.
func (e *Exec) Wait(ctx context.Context) (Exit, error) {
	a, c, _, err := ask(ctx, e.dir, request{Op: opWait, ID: e.id})
	if err != nil {
		return Exit{}, err
	}
	c.Close()
	if a.Exit == nil {
		return Exit{}, ErrGone
	}
	return *a.Exit, nil
}

// dial connects to the shim in dir.
func dial(ctx context.Context, dir string) (*net.UnixConn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", filepath.Join(dir, socketName))
	if err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
			return nil, fmt.Errorf("%w: nobody answers in %s", ErrGone, dir)
		}
		return nil, fmt.Errorf("connect to the container's shim: %w", err)
	}
	u := c.(*net.UnixConn)
	// The folder is ours alone, but a privileged container could have put a socket of its own there.
	if !peerAllowed(u) {
		defer u.Close()
		if hungUp(u) { // it ended in this moment, and nothing can be learned of it
			return nil, fmt.Errorf("%w: nobody answers in %s", ErrGone, dir)
		}
		return nil, fmt.Errorf("%w: who listens at %s is not a process of this user on the host", ErrStranger, filepath.Join(dir, socketName))
	}
	return u, nil
}

// hungUp reports whether the other end of c is closed.
func hungUp(c *net.UnixConn) bool {
	sc, err := c.SyscallConn()
	if err != nil {
		return true
	}
	over := false
	err = sc.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd)}} // POLLHUP is always told
		n, err := unix.Poll(p, 0)
		over = err == nil && n > 0
	})
	return over || err != nil
}

// send makes a request and leaves the answer to be read.
func send(ctx context.Context, dir string, req request) (*net.UnixConn, error) {
	c, err := dial(ctx, dir)
	if err != nil {
		return nil, err
	}
	if err := writeMessage(c, maxRequest, req); err != nil {
		c.Close()
		return nil, lost(err)
	}
	return c, nil
}

// ask makes a request and returns the answer. The caller closes the connection and the files.
func ask(ctx context.Context, dir string, req request) (answer, *net.UnixConn, []*os.File, error) {
	var a answer
	c, err := send(ctx, dir, req)
	if err != nil {
		return a, nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	files, err := readMessageFiles(c, maxRequest, &a)
	if !stop() && err == nil {
		err = ctx.Err() // cancelled in the last moment, the connection is closed
	}
	if err == nil {
		if err = fromWire(a.Error); err == nil {
			return a, c, files, nil
		}
	} else if ctx.Err() != nil {
		err = ctx.Err()
	} else {
		err = lost(err)
	}
	c.Close()
	closeFiles(files)
	return answer{}, nil, nil, err
}

func call(ctx context.Context, dir string, req request) error {
	_, c, files, err := ask(ctx, dir, req)
	if err != nil {
		return err
	}
	closeFiles(files)
	return c.Close()
}

// lost turns the end of a connection in the middle of a request into ErrGone.
func lost(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("%w: the shim ended while it was asked", ErrGone)
	}
	return err
}

func queryState(ctx context.Context, dir string) (State, *os.File, error) {
	a, c, files, err := ask(ctx, dir, request{Op: opState})
	if err != nil {
		return State{}, nil, err
	}
	c.Close()
	if a.State == nil || len(files) != 1 {
		closeFiles(files)
		return State{}, nil, fmt.Errorf("%w: a state without its process", errFrame)
	}
	return *a.State, files[0], nil
}
