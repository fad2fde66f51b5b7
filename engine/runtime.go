package engine

import (
	"context"
	"net/netip"
	"syscall"

	"github.com/footbridge-net/footbridge/engine/plane"
	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/portfwd"
	"github.com/footbridge-net/footbridge/tap"
)

// Runtime makes containers' processes and finds them again.
type Runtime interface {
	// Create makes the namespaces; the command waits for Start.
	Create(ctx context.Context, spec shim.Spec) (Process, error)
	// Connect finds the processes of a container by its runtime directory;
	// shim.ErrGone when there are none.
	Connect(ctx context.Context, dir string) (Process, error)
	// End ends the processes of a container that Connect found and that do
	// not answer.
	End(ctx context.Context, dir string) error
	// LastExit reads what a container's processes left behind in its
	// runtime directory.
	LastExit(dir string) (shim.Exit, error)
}

// Process is the processes of one container.
type Process interface {
	State(ctx context.Context) (shim.State, error)
	// Namespaces opens the network namespace; the caller closes it.
	Namespaces(ctx context.Context) (tap.Namespaces, error)
	// Start runs the command. A command that cannot be run is a
	// *shim.StartError.
	Start(ctx context.Context) error
	// Wait returns when the command has ended.
	Wait(ctx context.Context) (shim.Exit, error)
	Signal(ctx context.Context, s syscall.Signal) error
	Resize(ctx context.Context, width, height uint16) error
	// Attach connects to the command's streams.
	Attach(ctx context.Context, o shim.AttachOptions) (*Streams, error)
	// Exec prepares one more command in the same namespaces.
	Exec(ctx context.Context, spec shim.ExecSpec) (Exec, error)
	// Remove ends what is left of the processes, and the namespaces with them.
	Remove(ctx context.Context) error
	// Close lets go; the processes go on.
	Close() error
}

// Exec is one more command in a container. It starts with Start.
type Exec interface {
	Start(ctx context.Context) error
	Attach(ctx context.Context, o shim.AttachOptions) (*Streams, error)
	Wait(ctx context.Context) (shim.Exit, error)
	Resize(ctx context.Context, width, height uint16) error
}

// Plane is the data plane of one network; see engine/plane.
type Plane interface {
	Attach(ctx context.Context, ns tap.Namespaces, l plane.Link) (Port, error)
	// Unplug removes an interface that Attach made.
	Unplug(ctx context.Context, ns tap.Namespaces, name string) error
	Publish(ms []portfwd.Mapping, first, last uint16) ([]Listener, error)
	Stats() plane.Stats
	Close() error
}

// Port is an endpoint on a Plane.
type Port interface {
	Close() error
}

// Listener is a published port.
type Listener interface {
	Addr() netip.AddrPort
	Close() error
}

// PlaneSpec says what a network's data plane is to be.
type PlaneSpec = plane.Options

// realPlane adapts plane.Plane: its methods return concrete types.
type realPlane struct{ *plane.Plane }

func newRealPlane(o PlaneSpec) (Plane, error) {
	p, err := plane.New(o)
	if err != nil {
		return nil, err
	}
	return realPlane{p}, nil
}

func (p realPlane) Attach(ctx context.Context, ns tap.Namespaces, l plane.Link) (Port, error) {
	port, err := p.Plane.Attach(ctx, ns, l)
	if err != nil {
		return nil, err
	}
	return port, nil
}

func (realPlane) Unplug(ctx context.Context, ns tap.Namespaces, name string) error {
	return tap.Detach(ctx, ns, name)
}

func (p realPlane) Publish(ms []portfwd.Mapping, first, last uint16) ([]Listener, error) {
	ls, err := p.Plane.Publish(ms, first, last)
	out := make([]Listener, len(ls))
	for i, l := range ls {
		out[i] = l
	}
	return out, err
}
