package engine

import (
	"context"
	"net/netip"
	"syscall"

	"github.com/footbridge-net/footbridge/dns"
	"github.com/footbridge-net/footbridge/engine/plane"
	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/engine/worker"
	"github.com/footbridge-net/footbridge/internal/fdpass"
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
	// Lives reports whether processes are there, without asking them.
	Lives(t shim.Trace) bool
	// End ends processes that do not answer.
	End(ctx context.Context, t shim.Trace) error
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

// DataPlane carries the packets of all networks; see engine/worker.
type DataPlane interface {
	NewPlane(PlaneSpec) (Plane, error)
	// SetServers and SetBlocked hold for all networks, and until they are called
	// again.
	SetServers(dns.Config)
	SetBlocked([]netip.Prefix)
	// Publish publishes all or none: with the host ports that they have, or with the
	// first one from first to last that is free for all of them when first is not 0.
	// A host port 0 is one free port for all.
	Publish(ps []PublishedPort, first, last uint16) ([]Listener, error)
	// Release makes everything so that was asked for until now. After an error it
	// is tried again.
	Release() error
	Status() worker.Status
	// HandOver leaves it all to the program that this process executes next;
	// TakeBack undoes that.
	HandOver() error
	TakeBack() error
	Close() error
}

// Plane is the data plane of one network.
type Plane interface {
	Attach(ctx context.Context, ns tap.Namespaces, l worker.Link) (Port, error)
	// Reroute changes the default routes over an interface that Attach made.
	Reroute(ctx context.Context, ns tap.Namespaces, l worker.Link) error
	// Unplug removes an interface that Attach made.
	Unplug(ctx context.Context, ns tap.Namespaces, name string) error
	// SetNames makes names lead to addresses on behalf of an endpoint, instead of
	// what the endpoint had.
	SetNames(endpoint string, names []string, addrs []netip.Addr) error
	RemoveNames(endpoint string) error
	// SetView gives the container with that address its own view of names; an
	// empty one takes it away.
	SetView(netip.Addr, worker.View) error
	// SetExceptions says whom an endpoint reaches on a network without ICC, instead of
	// what was said of it before.
	SetExceptions(endpoint string, list []plane.Exception) error
	// Join leads the host's stream socket h, which it takes over, to the first of a
	// container's ports that accepts; what came of it is told by h.
	Join(h *fdpass.Handle, owner string, to []netip.AddrPort) error
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

// PublishedPort is a published port to be, and the network over which it leads to
// its container.
type PublishedPort struct {
	Plane Plane
	portfwd.Mapping
	// Namespaces are the container's; the zero value where they are not known.
	Namespaces tap.Namespaces
}

// PlaneSpec says what a network's data plane is to be.
type PlaneSpec = worker.Spec

// realDataPlane and realPlane adapt worker's types: their methods return concrete
// ones.
type (
	realDataPlane struct{ *worker.Supervisor }
	realPlane     struct{ *worker.Plane }
)

func (d realDataPlane) NewPlane(spec PlaneSpec) (Plane, error) {
	p, err := d.Supervisor.NewPlane(spec)
	if err != nil {
		return nil, err
	}
	return realPlane{p}, nil
}

func (p realPlane) Attach(ctx context.Context, ns tap.Namespaces, l worker.Link) (Port, error) {
	port, err := p.Plane.Attach(ctx, ns, l)
	if err != nil {
		return nil, err
	}
	return port, nil
}

func (d realDataPlane) Publish(ps []PublishedPort, first, last uint16) ([]Listener, error) {
	all := make([]worker.Published, len(ps))
	for i, p := range ps {
		all[i] = worker.Published{Plane: p.Plane.(realPlane).Plane, Mapping: p.Mapping, Namespaces: p.Namespaces}
	}
	ls, err := d.Supervisor.Publish(all, first, last)
	out := make([]Listener, len(ls))
	for i, l := range ls {
		out[i] = l
	}
	return out, err
}
