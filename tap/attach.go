package tap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/tap/internal/nsexec"
)

// helperTimeout bounds a helper's life. It takes milliseconds; a machine that
// swaps may take seconds.
const helperTimeout = 20 * time.Second

// Attach makes the TAP device that o describes in the namespaces and attaches to
// it. A persistent device of that name is attached to again, and its MAC, MTU,
// addresses and default routes become what o says.
//
// Errors: ErrOptions, ErrNameTaken, ErrBusy, ErrNoTun, ErrReply, and errnos of the
// kernel's. A device that this call made is gone again after an error.
func Attach(ctx context.Context, ns Namespaces, o LinkOptions) (*Device, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	return attach(ctx, ns, o, nil)
}

func attach(ctx context.Context, ns Namespaces, o LinkOptions, methods []nsexec.Method) (*Device, error) {
	req := request{Op: opAttach, Link: o}
	r, fds, method, err := ask(ctx, ns, req, methods)
	if err != nil {
		return nil, err
	}
	for i, fd := range fds {
		if err := checkQueue(fd, o.Name); err != nil {
			closeAll(fds)
			return nil, fmt.Errorf("tap: attach %s: %w: descriptor %d is %w", o.Name, ErrReply, i, err)
		}
	}
	return newDevice(req, r, string(method), fds)
}

// Detach removes the TAP device of that name. That there is none is no error;
// that the name is another kind of device's is ErrNameTaken.
func Detach(ctx context.Context, ns Namespaces, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	_, _, _, err := ask(ctx, ns, request{Op: opDetach, Link: LinkOptions{Name: name}}, nil)
	return err
}

// Loopback brings the namespace's loopback interface up: all that a container
// without a network needs. Attach does it too.
func Loopback(ctx context.Context, ns Namespaces) error {
	_, _, _, err := ask(ctx, ns, request{Op: opLoopback}, nil)
	return err
}

// ask starts a helper in the namespaces and has one request answered. The
// descriptors are the caller's to close.
func ask(ctx context.Context, ns Namespaces, req request, methods []nsexec.Method) (r reply, fds []int, method nsexec.Method, err error) {
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
	user, err := ns.userToEnter()
	if err != nil {
		return reply{}, nil, "", err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return reply{}, nil, "", err
	}
	defer ours.Close()
	defer theirs.Close()

	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	// The request waits in the socket for the helper.
	if _, err := ours.Write(message); err != nil {
		return reply{}, nil, "", fmt.Errorf("send the request: %w", err)
	}
	p, err := nsexec.Start(ctx, nsexec.Spec{
		User: user, Net: ns.Net, Arg0: helperName, Env: helperEnv, Socket: theirs, Methods: methods,
	})
	if err != nil {
		return reply{}, nil, "", fmt.Errorf("enter the namespaces: %w", err)
	}
	// Whatever happens the helper is over when this returns. It must not be
	// there still when the namespace is to end, nor hold a queue.
	defer func() {
		p.Kill()
		_ = p.Wait()
	}()
	theirs.Close() // so that the helper's end is the end of file

	stop := context.AfterFunc(ctx, func() { _ = ours.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	answer, fds, err := receive(ours)
	if err != nil {
		switch {
		case ctx.Err() != nil:
			err = fmt.Errorf("wait for the helper: %w", context.Cause(ctx))
		case errors.Is(err, errNoAnswer):
			// It says on stderr, or by its status, why.
			err = errors.Join(fmt.Errorf("%w: %w", ErrReply, err), p.Wait(), p.Skipped)
		}
		return reply{}, nil, "", err
	}
	r, err = decodeReply(answer, req, len(fds))
	if err != nil {
		closeAll(fds)
		return reply{}, nil, "", err
	}
	return r, fds, p.Method, nil
}

// socketPair makes a connected pair of SOCK_SEQPACKET sockets, the first of them
// on the poller.
func socketPair() (*net.UnixConn, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "helper's socket")
	file := os.NewFile(uintptr(pair[0]), "socket to the helper")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		theirs.Close()
		return nil, nil, fmt.Errorf("socketpair: got a %T", conn)
	}
	return ours, theirs, nil
}

// errNoAnswer: the helper ended without a word.
var errNoAnswer = errors.New("no answer")

// receive takes one message and its descriptors, which are close-on-exec.
func receive(c *net.UnixConn) ([]byte, []int, error) {
	b := make([]byte, messageLimit+1)
	oob := make([]byte, unix.CmsgSpace(4*maxQueues))
	n, oobn, flags, _, err := c.ReadMsgUnix(b, oob)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET): // reset: the request was not read either
		return nil, nil, errNoAnswer
	case err != nil:
		return nil, nil, fmt.Errorf("receive: %w", err)
	case n == 0 && oobn == 0:
		return nil, nil, errNoAnswer
	}
	fds, err := descriptors(oob[:oobn])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errors.New("longer than allowed")
	}
	if err != nil {
		closeAll(fds)
		return nil, nil, fmt.Errorf("%w: %w", ErrReply, err)
	}
	return b[:n], fds, nil
}

// descriptors takes all descriptors out of control messages, also when it fails.
func descriptors(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var all []int
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return all, err
		}
		all = append(all, fds...)
	}
	return all, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
