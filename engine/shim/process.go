package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// process is the shim's view of the command or of an exec: its standard streams, who is attached to
// them, and how it ended.
type process struct {
	id        int
	tty       bool
	inputOnce bool // the first client's end of input ends the process's

	input   *os.File // write end of standard input, or the terminal; nil when it is /dev/null
	outputs []*output
	theirs  []*os.File     // the process's ends, until they are handed to pid 1
	log     *logFile       // nil for an exec
	launch  *launchRequest // of an exec

	started chan struct{} // closed when pid 1 said so, or that it failed
	ended   chan struct{} // closed when ended and all output is delivered
	finish  sync.Once

	// Written before started or ended is closed, read afterwards.
	startErr  error
	startedAt time.Time
	exit      Exit
}

// newProcess makes the streams of a process that is not there yet.
func newProcess(id int, tty, stdin, inputOnce bool, log *logFile) (*process, error) {
	p := &process{id: id, tty: tty, inputOnce: inputOnce, log: log, started: make(chan struct{}), ended: make(chan struct{})}
	var err error
	if tty {
		err = p.openTerminal()
	} else {
		err = p.openPipes(stdin)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *process) openTerminal() error {
	master, slave, err := pty.Open()
	if err != nil {
		return fmt.Errorf("allocate a terminal: %w; is devpts mounted on /dev/pts with room for one more (kernel.pty.max)?", err)
	}
	p.theirs = []*os.File{slave}
	// Package pty leaves the master in blocking mode. A second descriptor, made non-blocking before
	// the netpoller sees it, can be given deadlines and be closed under a reader.
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	master.Close()
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return err
	}
	slave.Fd() // back to blocking, as programs expect their terminal to be
	p.input = os.NewFile(uintptr(fd), "terminal")
	p.outputs = []*output{{stream: 0, src: p.input, log: p.log}}
	return nil
}

func (p *process) openPipes(stdin bool) error {
	if stdin {
		theirs, ours, err := pipe(false, true)
		if err != nil {
			return err
		}
		p.input, p.theirs = ours, append(p.theirs, theirs)
	} else {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return err
		}
		p.theirs = append(p.theirs, null)
	}
	for stream := range streamNames {
		ours, theirs, err := pipe(true, false)
		if err != nil {
			return err
		}
		p.outputs = append(p.outputs, &output{stream: stream, src: ours, log: p.log})
		p.theirs = append(p.theirs, theirs)
	}
	return nil
}

// pipe makes a pipe whose ends are non-blocking, and thereby on the netpoller, as asked. The two
// ends of a pipe, unlike duplicates of one, each have their own mode.
func pipe(readNonblock, writeNonblock bool) (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("pipe: %w", err)
	}
	for i, nonblock := range []bool{readNonblock, writeNonblock} {
		if nonblock {
			if err := unix.SetNonblock(fds[i], true); err != nil {
				unix.Close(fds[0])
				unix.Close(fds[1])
				return nil, nil, fmt.Errorf("pipe: %w", err)
			}
		}
	}
	return os.NewFile(uintptr(fds[0]), "pipe"), os.NewFile(uintptr(fds[1]), "pipe"), nil
}

// takeTheirs hands out the process's ends of its streams, once.
func (p *process) takeTheirs() []*os.File {
	files := p.theirs
	p.theirs = nil
	return files
}

// run begins delivering output. The returned function waits until all that a process wrote, which
// has ended by then, is delivered.
func (p *process) run() (drain func()) {
	var pumps sync.WaitGroup
	for _, o := range p.outputs {
		pumps.Go(o.pump)
	}
	return func() {
		for _, o := range p.outputs {
			o.stop()
		}
		pumps.Wait()
	}
}

// end records how the process ended, then lets go of its streams and waiters. The first call counts.
func (p *process) end(e Exit, drain func()) {
	p.finish.Do(func() {
		if drain != nil {
			drain()
		}
		p.exit = e
		p.close()
		close(p.ended)
	})
}

// close releases what the process has open. Outputs whose writers live on (children that an exec left
// behind) are read to their end, or they would die of SIGPIPE.
func (p *process) close() {
	closeFiles(p.takeTheirs())
	if p.input != nil && !p.tty {
		p.input.Close()
	}
	for _, o := range p.outputs {
		o.close()
	}
}

// feed copies a client's input to the process until either ends, and closes from. Said is closed when the
// client says that input has ended, hung when it hangs up. The command's input does not end because
// the engine died: whoever attaches next goes on. An exec's does, as nobody can attach to that again.
func (p *process) feed(from *os.File, said, hung <-chan struct{}) {
	defer from.Close()
	_, err := io.Copy(writerOnly{p.input}, from)
	if !p.inputOnce || p.tty || err != nil {
		return
	}
	if p.id == 0 {
		select {
		case <-said:
		case <-hung:
			select {
			case <-said: // both
			default:
				return
			}
		}
	}
	p.input.Close()
}

// writerOnly hides ReadFrom: splice(2) into a full pipe would wait without the netpoller's deadlines.
type writerOnly struct{ io.Writer }

func (p *process) resize(width, height uint16) error {
	if !p.tty {
		return invalid("process has no terminal to resize")
	}
	c, err := p.input.SyscallConn()
	if err != nil {
		return err
	}
	var ierr error
	err = c.Control(func(fd uintptr) {
		ierr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width})
	})
	return errors.Join(err, ierr)
}

// output is one stream coming out of a process.
type output struct {
	stream int
	src    *os.File
	log    *logFile

	mu       sync.Mutex
	sinks    []*sink
	stopping bool // the process ended: what is in the pipe is all there is
	closed   bool
}

// sink is an attached client's pipe for one stream.
type sink struct {
	w        *os.File
	patience time.Duration
}

// expect sets by when the client must have taken what it is given. However patient it was promised
// to be waited for: that a process ended must not be held back long.
func (s *sink) expect(ending bool) {
	patience := s.patience
	if ending {
		patience = min(patience, DefaultPatience)
	}
	_ = s.w.SetWriteDeadline(time.Now().Add(patience))
}

// sinkBuffer is what a client may lag behind before its process waits for it: the most that an
// unprivileged pipe may hold by default (/proc/sys/fs/pipe-max-size).
const sinkBuffer = 1 << 20

// attach adds a client. Its pipe is closed at once when there will be no more output.
func (o *output) attach(s *sink) {
	fd, err := rawFD(s.w)
	if err == nil {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, sinkBuffer) // else 64 KiB must do
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		s.w.Close()
		return
	}
	o.sinks = append(o.sinks, s)
}

// detach removes a client and closes its pipe, which also interrupts a write to it.
func (o *output) detach(s *sink) {
	o.mu.Lock()
	for i, t := range o.sinks {
		if t == s {
			o.sinks = append(o.sinks[:i:i], o.sinks[i+1:]...)
			break
		}
	}
	o.mu.Unlock()
	s.w.Close()
}

// pump delivers until the stream ends or stop was called and the pipe is empty.
func (o *output) pump() {
	buf := make([]byte, 32<<10)
	for {
		n, err := o.src.Read(buf)
		o.deliver(buf[:n])
		if err == nil {
			continue
		}
		o.mu.Lock()
		stopping := o.stopping
		o.mu.Unlock()
		if stopping && errors.Is(err, os.ErrDeadlineExceeded) {
			o.drain(buf)
		}
		break // end of file; a terminal without a process says EIO
	}
	if o.log != nil {
		o.log.end(o.stream)
	}
}

// stop makes pump return once the pipe is empty. It wakes the pump by an expired deadline.
func (o *output) stop() {
	o.mu.Lock()
	o.stopping = true
	for _, s := range o.sinks {
		s.expect(true)
	}
	o.mu.Unlock()
	_ = o.src.SetReadDeadline(time.Unix(1, 0))
}

// drain delivers what is in the pipe without waiting for more: the end of file may be held up for
// ever by somebody to whom the container gave its end of the pipe.
func (o *output) drain(buf []byte) {
	_ = o.src.SetReadDeadline(time.Time{})
	c, err := o.src.SyscallConn()
	if err != nil {
		return
	}
	// A writer outside the container could keep the pipe full for as long as it likes; what the
	// ended process wrote cannot be more than a pipe holds.
	for left := sinkBuffer; left > 0; {
		var n int
		var rerr error
		err := c.Read(func(fd uintptr) bool {
			n, rerr = unix.Read(int(fd), buf)
			return true
		})
		if err != nil || n <= 0 && rerr != unix.EINTR {
			return
		}
		if n > 0 {
			o.deliver(buf[:n])
			left -= n
		}
	}
}

// deliver logs b and hands it to every client. A client that does not take it in time is cut off.
func (o *output) deliver(b []byte) {
	if len(b) == 0 {
		return
	}
	if o.log != nil {
		o.log.write(o.stream, b)
	}
	o.mu.Lock()
	sinks, stopping := o.sinks[:len(o.sinks):len(o.sinks)], o.stopping
	o.mu.Unlock()
	for _, s := range sinks {
		s.expect(stopping)
		if _, err := s.w.Write(b); err != nil {
			o.detach(s)
		}
	}
}

// close ends all clients' streams and releases the source, once pump has returned.
func (o *output) close() {
	o.mu.Lock()
	sinks, closed := o.sinks, o.closed
	o.sinks, o.closed = nil, true
	stopping := o.stopping
	o.mu.Unlock()
	if closed {
		return
	}
	for _, s := range sinks {
		s.w.Close()
	}
	if !stopping {
		o.src.Close() // never ran
		return
	}
	go func() {
		_ = o.src.SetReadDeadline(time.Time{})
		_, _ = io.Copy(io.Discard, o.src)
		o.src.Close()
	}()
}
