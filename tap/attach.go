package tap

import (
	"context"
	"fmt"

	"github.com/footbridge-net/footbridge/tap/internal/nsexec"
)

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
		Name: o.Name, Bare: o.Bare, Index: r.Index, MAC: r.MAC, Features: r.Features,
		Created: r.Created, Method: string(method), Warnings: r.Warnings, Queues: queues,
	}
	if o.Bare {
		i.Name = r.Name
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
