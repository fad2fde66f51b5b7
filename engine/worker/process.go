package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/sandbox"
)

// processName is what the worker is started as, in argv[0].
const processName = "footbridge-worker"

// The worker's descriptors.
const (
	socketFD = 3 + iota
	lockFD
	bellFD // an eventfd: whatever the worker writes there means that a stock is low
)

// workerEnv is the worker's environment but for what the user may have set. The Go
// runtime would otherwise look into the cgroup's files every second, which the
// sandbox forbids.
var workerEnv = []string{"GODEBUG=containermaxprocs=0,updatemaxprocs=0"}

// process is the keeper's view of a worker.
type process struct {
	pid      int
	cmd      *exec.Cmd
	said     *stream
	conn     *fdpass.Conn
	bell     *os.File // what the worker rings
	started  time.Time
	first    Self
	verdict  atomic.Pointer[string] // why it is of no more use, though it may live
	done     chan struct{}          // closed at its end
	patience patience
}

// startProcess starts a worker and waits until it is ready.
func startProcess(lock *workerLock, out *output, full time.Duration) (*process, error) {
	ours, theirs, err := fdpass.Pair()
	if err != nil {
		return nil, err
	}
	_ = ours.RefuseHandles() // an older kernel lets it send them: they are discarded
	held, err := lock.share()
	if err != nil {
		return nil, errors.Join(err, ours.Close(), theirs.Close())
	}
	// Neither is on the poller: both are blocking.
	socket, locked := os.NewFile(uintptr(theirs.Take()), "worker's socket"), os.NewFile(uintptr(held.Take()), "worker's lock")
	defer socket.Close()
	defer locked.Close()
	bell, rope, err := newBell()
	if err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	defer rope.Close()
	said := &stream{out: out} // by a pipe, which exec makes
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{processName}, Env: environment(), Stderr: said,
		WaitDelay:  time.Second, // for a log that takes nothing more
		ExtraFiles: []*os.File{socket, locked, rope},
		// A terminal's Ctrl-C is for the daemon.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start a worker: %w", err), ours.Close(), bell.Close())
	}
	p := &process{pid: cmd.Process.Pid, cmd: cmd, said: said, conn: ours, bell: bell, started: time.Now(), done: make(chan struct{}), patience: newPatience(full)}
	lock.note(p.pid)
	socket.Close() // so that the worker's end is the end of file
	go p.wait()
	p.begin()
	if err := p.receive(&p.first); err != nil {
		p.end()
		return nil, fmt.Errorf("start a worker: %w (%s)", err, p.exit())
	}
	return p, nil
}

// wait waits for the end. A worker that is stopped carries nothing, and nobody
// would notice until it is asked something: it is ended.
func (p *process) wait() {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, p.pid, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
		if err == nil && info.Code == cldStopped {
			p.condemn("it was stopped by a signal, and was killed")
			_ = p.cmd.Process.Kill() // or it has ended
			continue
		}
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	// Its state says all. Who still waits for the log has the rest of the output.
	if err := p.cmd.Wait(); !errors.Is(err, exec.ErrWaitDelay) {
		p.said.flush()
	}
	_ = p.bell.Close() // nobody rings any more
	close(p.done)
}

// cldStopped is CLD_STOPPED of asm-generic/siginfo.h.
const cldStopped = 5

// condemn makes the worker one of no more use; the first reason counts.
func (p *process) condemn(why string) { p.verdict.CompareAndSwap(nil, &why) }

func environment() []string {
	env := workerEnv
	for _, name := range []string{"GOMAXPROCS", "GOTRACEBACK", "GOMEMLIMIT", "GORACE", sandbox.Variable, logVariable} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env[:len(env):len(env)], name+"="+v)
		}
	}
	return env
}

// send puts a fact.
func (p *process) send(f *fact) error {
	return p.request(request{Op: opPut, Kind: f.kind, Key: f.key, Body: f.body}, f.handles, nil)
}

// request asks and waits for the answer. What the worker says is wrong is an error
// after which it is not broken.
func (p *process) request(r request, handles []*fdpass.Handle, answer any) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("worker: encode %s %s: %w", r.Op, r.Kind, err)
	}
	p.begin()
	err = p.conn.Send(b, handles...)
	if errors.Is(err, fdpass.ErrMessage) || errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("worker: %s %s: %w", r.Op, r.Kind, err) // nothing was sent
	}
	if err != nil {
		p.fail(err)
		return fmt.Errorf("worker: send: %w", err)
	}
	return p.receive(answer)
}

// begin begins a request: to the end of its answer it has one deadline.
func (p *process) begin() {
	now := time.Now()
	_ = p.conn.SetDeadline(now.Add(p.patience.begin(now)))
}

// receive takes an answer.
func (p *process) receive(answer any) error {
	defer func() { p.patience.end(time.Now()) }()
	b, err := receiveReply(p.conn)
	var r reply
	if err == nil {
		err = decode(b, &r)
	}
	if err == nil && r.Error == "" && answer != nil {
		err = decode(r.Body, answer)
	}
	if err != nil {
		p.fail(err)
		// Its text may quote the answer.
		return fmt.Errorf("worker: answer: %w", &remoteError{clean(err.Error()), err})
	}
	if r.Error != "" {
		return &remoteError{text: clean(r.Error)}
	}
	return nil
}

// fail notes that talking to the worker failed.
func (p *process) fail(err error) {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		p.condemn("") // it has ended: the kernel knows how
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.condemn(fmt.Sprintf("it did not answer in time (of %v), and was killed", p.patience.full))
	default:
		p.condemn(fmt.Sprintf("it could not be understood (%s), and was killed", clean(err.Error())))
	}
}

// remoteError is what the worker said, or what is wrong with it.
type remoteError struct {
	text string
	err  error // nil: it said so itself
}

func (e *remoteError) Error() string { return e.text }

func (e *remoteError) Unwrap() error { return e.err }

// broken reports whether the worker is of no more use.
func (p *process) broken() bool {
	select {
	case <-p.done:
		return true
	default:
		return p.verdict.Load() != nil
	}
}

// end kills the worker and waits for that.
func (p *process) end() {
	_ = p.cmd.Process.Kill() // or it has ended
	<-p.done
	p.conn.Drain()
	_ = p.conn.Close()
}

// exit says how it ended; p.done is closed.
func (p *process) exit() string {
	if why := p.verdict.Load(); why != nil && *why != "" {
		return *why
	}
	ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok {
		return p.cmd.ProcessState.String()
	}
	return explain(p.pid, ws)
}
