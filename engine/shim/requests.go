package shim

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/moby/sys/capability"
)

// requestTime bounds how long a client may take for its one request.
const requestTime = 10 * time.Second

func (s *server) accept() {
	for {
		c, err := s.ln.AcceptUnix()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			complain(err) // no descriptors left, most likely; clients queue up meanwhile
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.mu.Lock()
		full := s.conns >= maxConns
		if !full {
			s.conns++
			s.lingerLocked()
		}
		s.mu.Unlock()
		if full {
			c.Close()
			continue
		}
		go func() {
			s.serve(c)
			c.Close()
			s.mu.Lock()
			s.conns--
			s.lingerLocked()
			s.mu.Unlock()
		}()
	}
}

// serve answers one connection's request.
func (s *server) serve(c *net.UnixConn) {
	if !peerAllowed(c) {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(requestTime))
	var req request
	if err := readMessage(c, maxRequest, &req); err != nil {
		if errors.Is(err, errFrame) {
			s.reply(c, answer{Error: toWire(err)})
		}
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	switch req.Op {
	case opState:
		s.reply(c, answer{State: s.state()}, s.init.pidfd)
		return
	case opExecCreate:
		id, err := s.execCreate(req.Exec)
		s.reply(c, answer{ID: id, Error: toWire(err)})
		return
	case opAck:
		s.ack(c)
		return
	}
	s.mu.Lock()
	p := s.procs[req.ID]
	s.mu.Unlock()
	if p == nil {
		s.reply(c, answer{Error: toWire(ErrGone)})
		return
	}
	switch req.Op {
	case opStart:
		s.reply(c, answer{Error: toWire(s.startRequest(p))})
	case opSignal:
		s.reply(c, answer{Error: toWire(s.signal(p, syscall.Signal(req.Signal)))})
	case opResize:
		s.reply(c, answer{Error: toWire(p.resize(req.Width, req.Height))})
	case opAttach:
		s.attach(c, p, req.Attach)
	case opWait:
		s.wait(c, p)
	default:
		s.reply(c, answer{Error: toWire(invalid("request %q is not known", req.Op))})
	}
}

func (s *server) reply(c *net.UnixConn, a answer, files ...*os.File) bool {
	return writeMessage(c, maxRequest, a, files...) == nil
}

func (s *server) startRequest(p *process) error {
	if p.id == 0 {
		return s.start(p, &launchRequest{
			Args: s.spec.Args, Env: s.spec.Env, Cwd: s.spec.Cwd, User: s.spec.User, Caps: s.caps, TTY: s.spec.TTY,
		})
	}
	return s.start(p, p.launch)
}

func (s *server) signal(p *process, sig syscall.Signal) error {
	if err := validSignal(sig); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return ErrNotRunning
	default:
	}
	select {
	case <-p.started:
		return s.askInit(initRequest{Op: initSignal, ID: p.id, Signal: int(sig)})
	default:
		return ErrNotRunning
	}
}

// execCreate makes a process's streams and gives it an ID. Ended ones are forgotten, oldest first, when there are many.
func (s *server) execCreate(spec *ExecSpec) (int, error) {
	if spec == nil {
		return 0, invalid("no exec settings")
	}
	if err := spec.validate(); err != nil {
		return 0, err
	}
	req := &launchRequest{Args: spec.Args, Env: spec.Env, Cwd: spec.Cwd, User: spec.User, Caps: s.caps, TTY: spec.TTY}
	if spec.User == "" {
		req.User = s.spec.User
	}
	if spec.Privileged {
		req.Caps = nil
		for _, c := range capability.ListKnown() {
			req.Caps = append(req.Caps, int(c))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.procs[0].started:
	default:
		return 0, ErrNotRunning
	}
	if s.gone || s.procs[0].startErr != nil {
		return 0, ErrNotRunning
	}
	if len(s.procs) > maxExecs && !s.forgetLocked() {
		return 0, invalid("%d execs run in this container already; end some", maxExecs)
	}
	p, err := newProcess(s.nextID, spec.TTY, spec.Stdin, true, nil)
	if err != nil {
		return 0, err
	}
	p.launch = req
	s.nextID++
	s.procs[p.id] = p
	return p.id, nil
}

// forgetLocked drops the exec that was created first of those that ended.
func (s *server) forgetLocked() bool {
	var over []int
	for id, p := range s.procs {
		select {
		case <-p.ended:
			over = append(over, id)
		default:
		}
	}
	if len(over) == 0 {
		return false
	}
	oldest := slices.Min(over)
	delete(s.procs, oldest)
	delete(s.drains, oldest)
	return true
}

// attach makes the client's pipes, hands over their other ends, and holds them until the client hangs up.
func (s *server) attach(c *net.UnixConn, p *process, opts *AttachOptions) {
	if opts == nil {
		opts = &AttachOptions{}
	}
	var theirs []*os.File
	defer func() { closeFiles(theirs) }()
	fail := func(err error) { s.reply(c, answer{Error: toWire(err)}) }

	var in *os.File
	if opts.Stdin {
		if p.input == nil {
			fail(invalid("standard input of this process is not open; use -i"))
			return
		}
		r, w, err := pipe(true, true)
		if err != nil {
			fail(err)
			return
		}
		in, theirs = r, append(theirs, w)
	}
	patience := opts.Patience
	if patience <= 0 {
		patience = DefaultPatience
	}
	var sinks []*sink
	var outs []*output
	for _, o := range p.outputs {
		if !(opts.Stdout && o.stream == 0 || opts.Stderr && o.stream == 1) {
			continue
		}
		r, w, err := pipe(true, true)
		if err != nil {
			fail(err)
			closeFiles([]*os.File{in})
			for _, k := range sinks {
				k.w.Close()
			}
			return
		}
		theirs = append(theirs, r)
		sinks, outs = append(sinks, &sink{w: w, patience: patience}), append(outs, o)
	}
	// Attached before the answer: what is started after it is seen whole.
	for i, o := range outs {
		o.attach(sinks[i])
	}
	ok := s.reply(c, answer{}, theirs...)
	closeFiles(theirs)
	theirs = nil
	said, hung := make(chan struct{}), make(chan struct{})
	if in != nil {
		go p.feed(in, said, hung)
	}
	if ok {
		readAttached(c, said)
	}
	close(hung)
	for i, o := range outs {
		o.detach(sinks[i])
	}
}

// readAttached reads what a client says while it is attached, until it hangs up. It closes said when that
// is the end of input.
func readAttached(c *net.UnixConn, said chan<- struct{}) {
	b := make([]byte, 1)
	for {
		n, err := c.Read(b)
		if n == 1 && b[0] == inputEnded && said != nil {
			close(said)
			said = nil
		}
		if err != nil {
			return
		}
	}
}

// wait answers when the process ended, and holds the connection until the client hangs up.
func (s *server) wait(c *net.UnixConn, p *process) {
	over := p.ended
	if p.id == 0 {
		over = s.over // then exit.json is there as well
	}
	if !waitHangup(c, over) {
		return
	}
	if s.reply(c, answer{Exit: &p.exit}) {
		waitHangup(c, nil)
	}
}

// ack ends the shim of an ended container.
func (s *server) ack(c *net.UnixConn) {
	select {
	case <-s.over:
		// Before the answer: after it another shim may have the directory.
		s.remove()
		s.reply(c, answer{})
		waitHangup(c, nil) // so that the answer is not lost with the process
		s.end()
	default:
		s.reply(c, answer{Error: toWire(invalid("container still runs"))})
	}
}

// waitHangup waits until the client hangs up (false) or done is closed (true), and leaves no goroutine behind.
func waitHangup(c *net.UnixConn, done <-chan struct{}) bool {
	hung := make(chan struct{})
	go func() {
		defer close(hung)
		_, _ = io.Copy(io.Discard, c)
	}()
	select {
	case <-hung:
		return false
	case <-done:
	}
	_ = c.SetReadDeadline(time.Unix(1, 0))
	<-hung
	_ = c.SetReadDeadline(time.Time{})
	return true
}
