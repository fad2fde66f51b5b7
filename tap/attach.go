package tap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/tap/internal/nsexec"
)

// helperTimeout bounds a helper's life. It takes milliseconds; a machine that
// swaps may take seconds.
const helperTimeout = 20 * time.Second

// Attach makes the TAP device that o describes in the namespaces and attaches to
// it. A persistent device of that name is attached to again, and its MAC, MTU,
// addresses and default routes become what o says, as far as o.Existing does.
//
// Errors: ErrOptions, ErrNameTaken, ErrBusy, ErrNoTun, ErrReply, and errnos of the
// kernel's. A device that this call made is gone again after an error.
func Attach(ctx context.Context, ns Namespaces, o LinkOptions) (*Interface, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	return attach(ctx, ns, o, nil)
}

func attach(ctx context.Context, ns Namespaces, o LinkOptions, methods []nsexec.Method) (*Interface, error) {
	req := request{Op: opAttach, Link: o}
	r, queues, method, err := ask(ctx, ns, req, methods)
	if err != nil {
		return nil, err
	}
	i := &Interface{
		Name: o.Name, Index: r.Index, MAC: r.MAC, Features: r.Features,
		Created: r.Created, Method: string(method), Warnings: r.Warnings, Queues: queues,
	}
	if err := i.Check(); err != nil {
		_ = i.Close()
		return nil, fmt.Errorf("tap: attach %s: %w: %w", o.Name, ErrReply, err)
	}
	return i, nil
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

// Routes makes the default routes over an interface that Attach made those of o.
// The interface itself, and what goes through it, is left alone. That there is none
// is ENODEV; that the name is another kind of device's is ErrNameTaken.
func Routes(ctx context.Context, ns Namespaces, o LinkOptions) error {
	o, err := o.complete()
	if err == nil {
		_, _, _, err = ask(ctx, ns, request{Op: opReroute, Link: o}, nil)
	}
	return err
}

// Loopback brings the namespace's loopback interface up: all that a container
// without a network needs. Attach does it too, but for a guest.
func Loopback(ctx context.Context, ns Namespaces) error {
	_, _, _, err := ask(ctx, ns, request{Op: opLoopback}, nil)
	return err
}

// LoopbackDown undoes Loopback.
func LoopbackDown(ctx context.Context, ns Namespaces) error {
	_, _, _, err := ask(ctx, ns, request{Op: opLoopbackDown}, nil)
	return err
}

// ask starts a helper in the namespaces and has one request answered. The
// descriptors are the caller's to close.
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
	user, err := ns.userToEnter()
	if err != nil {
		return reply{}, nil, "", err
	}
	ours, inherited, err := fdpass.Pair()
	if err != nil {
		return reply{}, nil, "", err
	}
	defer ours.Close()
	theirs := os.NewFile(uintptr(inherited.Take()), "helper's socket")
	defer theirs.Close()

	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	// The request waits in the socket for the helper.
	if err := ours.Send(message); err != nil {
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

	stop := context.AfterFunc(ctx, func() { _ = ours.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	answer := make([]byte, fdpass.MaxMessage)
	n, queues, err := ours.Receive(answer)
	if err != nil {
		switch {
		case ctx.Err() != nil:
			err = fmt.Errorf("wait for the helper: %w", context.Cause(ctx))
		case errors.Is(err, io.EOF):
			// It says on stderr, or by its status, why.
			err = errors.Join(fmt.Errorf("%w: no answer", ErrReply), p.Wait(), p.Skipped)
		case errors.Is(err, fdpass.ErrMessage):
			err = fmt.Errorf("%w: %w", ErrReply, err)
		}
		return reply{}, nil, "", err
	}
	r, err = decodeReply(answer[:n], req, len(queues))
	if err != nil {
		fdpass.CloseAll(queues)
		return reply{}, nil, "", err
	}
	return r, queues, p.Method, nil
}
