package shim

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// askInit sends pid 1 a request. ErrNotRunning says that pid 1 has ended, even if nobody has noted it yet.
func (s *server) askInit(req initRequest, files ...*os.File) error {
	s.writeInit.Lock()
	defer s.writeInit.Unlock()
	err := writeMessage(s.init.conn, maxRequest, req, files...)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return ErrNotRunning
	}
	return err
}

// readInit takes pid 1's messages. pid 1 lives with hostile processes, so messages are small, name processes
// that we know, and carry an exit code; whatever else comes ends the container.
func (s *server) readInit() {
	defer close(s.read)
	for {
		var a initAnswer
		if err := readMessage(s.init.conn, maxAnswer, &a); err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, syscall.ECONNRESET) {
				complain(err)
			}
			_ = s.init.sigkill()
			return
		}
		if a.Op == initReady {
			select {
			case s.ready <- fromWire(a.Error):
			default:
			}
			continue
		}
		s.mu.Lock()
		p, drain := s.procs[a.ID], s.drains[a.ID]
		s.mu.Unlock()
		if p == nil || drain == nil {
			continue
		}
		switch a.Op {
		case initLaunched:
			s.launched(p, fromWire(a.Error))
		case initExited:
			if p.id != 0 { // the command's end is pid 1's own, and that cannot be forged
				s.launched(p, nil)
				go p.end(Exit{Code: a.Code & 0xff, FinishedAt: time.Now().UTC()}, drain)
			}
		}
	}
}

// launched notes that a process runs, or why not. The first message counts. Only readInit calls it.
func (s *server) launched(p *process, err error) {
	select {
	case <-p.started:
		return
	default:
	}
	p.startErr, p.startedAt = err, time.Now().UTC()
	close(p.started)
	if err != nil && p.id != 0 {
		s.mu.Lock()
		drain := s.drains[p.id]
		s.mu.Unlock()
		code := 128
		var se *StartError
		if errors.As(err, &se) {
			code = se.Code
		}
		go p.end(Exit{Code: code, FinishedAt: time.Now().UTC(), Error: err.Error()}, drain)
	}
}

// start launches the command or a created exec and waits until it runs.
func (s *server) start(p *process, req *launchRequest) error {
	s.mu.Lock()
	switch {
	case s.gone:
		s.mu.Unlock()
		return ErrNotRunning
	case s.drains[p.id] != nil:
		s.mu.Unlock()
		return ErrStarted
	}
	s.drains[p.id] = p.run()
	files := p.takeTheirs()
	s.mu.Unlock()
	err := s.askInit(initRequest{Op: initLaunch, ID: p.id, Launch: req}, files...)
	closeFiles(files)
	if err != nil {
		return err
	}
	select {
	case <-p.started:
		return p.startErr
	case <-p.ended:
		select {
		case <-p.started:
			return p.startErr
		default:
		}
		if p.id != 0 {
			// pid 1 had the request, and ended with all its processes before it could say that this one
			// runs: it has been killed with its container, and its exit code says so.
			return nil
		}
		return ErrNotRunning
	}
}
