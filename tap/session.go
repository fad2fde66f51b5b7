package tap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/tap/internal/nsexec"
)

// helperTimeout bounds the answer to a request, the helper's start included. It takes
// milliseconds; a machine that swaps may take seconds.
const helperTimeout = 20 * time.Second

// A session is a helper and what is asked of it, one request after the other. It begins
// with the first one.
type session struct {
	mu      sync.Mutex
	left    bool
	process *nsexec.Process // nil: there is none, or none any more
	conn    *fdpass.Conn
	cancel  context.CancelFunc
}

// Keep returns the same namespaces, which from the first thing that is asked about them until
// leave is called have a helper in them: half of what an attachment takes is to start
// one. When leave returns there is none. Without Keep, and after leave, there is a helper for
// each request.
func (ns Namespaces) Keep() (kept Namespaces, leave func()) {
	s := &session{}
	ns.helper = s
	return ns, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.left = true
		s.end()
	}
}

// ask has one request answered by a helper in the namespaces. The descriptors are the
// caller's to close.
func ask(ctx context.Context, ns Namespaces, req request, methods []nsexec.Method) (r reply, queues []*fdpass.Handle, method nsexec.Method, err error) {
	defer func() {
		if err != nil && req.Link.Name != "" {
			err = fmt.Errorf("tap: %s %s: %w", req.Op, req.Link.Name, err)
		} else if err != nil {
			err = fmt.Errorf("tap: %s: %w", req.Op, err)
		}
	}()
	message, err := req.encode()
	if err != nil {
		return reply{}, nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()

	s := ns.helper
	if s == nil {
		s = &session{left: true}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := make([]byte, fdpass.MaxMessage)
	n, queues, err := s.exchange(ctx, ns, message, answer, methods)
	if s.process != nil {
		method = s.process.Method
	}
	if errors.Is(err, io.EOF) {
		// It says on stderr, or by its status, why.
		stop := context.AfterFunc(ctx, s.process.Kill)
		err = errors.Join(fmt.Errorf("%w: no answer", ErrReply), s.process.Wait(), s.process.Skipped)
		stop()
	}
	// The helper of one request is over when this returns, and one that has failed: it must
	// not be there still when the namespace is to end, nor hold a queue.
	if s.left || err != nil {
		s.end()
	}
	if err != nil {
		return reply{}, nil, "", err
	}
	r, err = decodeReply(answer[:n], req, len(queues))
	if err != nil {
		fdpass.CloseAll(queues)
		return reply{}, nil, "", err
	}
	return r, queues, method, nil
}

// exchange sends a request and takes the answer; s.mu is held.
func (s *session) exchange(ctx context.Context, ns Namespaces, message, answer []byte, methods []nsexec.Method) (n int, queues []*fdpass.Handle, err error) {
	if s.process == nil {
		if err := s.begin(ns, message, methods); err != nil {
			return 0, nil, err
		}
	} else if err := s.conn.Send(message); err != nil {
		return 0, nil, fmt.Errorf("send the request: %w", err)
	}
	conn := s.conn
	expired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0))
		close(expired)
	})
	n, queues, err = conn.Receive(answer)
	if !stop() { // so that no deadline of this request meets the next one
		<-expired
		_ = conn.SetDeadline(time.Time{})
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		err = fmt.Errorf("wait for the helper: %w", context.Cause(ctx))
	case errors.Is(err, fdpass.ErrMessage):
		err = fmt.Errorf("%w: %w", ErrReply, err)
	}
	return n, queues, err
}

// begin starts a helper, whose first request waits for it in its socket; s.mu is held.
func (s *session) begin(ns Namespaces, message []byte, methods []nsexec.Method) error {
	user, err := ns.userToEnter()
	if err != nil {
		return err
	}
	ours, inherited, err := fdpass.Pair()
	if err != nil {
		return err
	}
	theirs := os.NewFile(uintptr(inherited.Take()), "helper's socket")
	defer theirs.Close() // so that the helper's end is the end of file
	if err := ours.Send(message); err != nil {
		return errors.Join(fmt.Errorf("send the request: %w", err), ours.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	p, err := nsexec.Start(ctx, nsexec.Spec{
		User: user, Net: ns.Net, Arg0: helperName, Env: helperEnv, Socket: theirs, Dir: ns.settings, Methods: methods,
	})
	if err != nil {
		cancel()
		return errors.Join(fmt.Errorf("enter the namespaces: %w", err), ours.Close())
	}
	s.process, s.conn, s.cancel = p, ours, cancel
	return nil
}

// end ends the helper, if there is one; s.mu is held.
func (s *session) end() {
	if s.process == nil {
		return
	}
	_ = s.conn.Close()
	s.process.Kill()
	_ = s.process.Wait()
	s.cancel()
	s.process, s.conn = nil, nil
}
