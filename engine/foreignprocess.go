package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/engine/foreign"
	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/tap"
)

// Places finds network namespaces that others made.
type Places interface {
	Resolve(foreign.Wish) (foreign.Place, tap.Namespaces, error)
	Open(foreign.Place) (tap.Namespaces, error)
	// Owner identifies the user namespace of what was opened.
	Owner(tap.Namespaces) (foreign.Owner, error)
	// Check returns foreign.ErrGone when an attachment is over; Await waits for that.
	Check(foreign.Place) error
	Await(context.Context, foreign.Place) error
	// Look says what is in a namespace, and gives a handle of it that keeps no mount.
	// Unplug removes an interface of ours from it.
	Look(context.Context, tap.Namespaces) (tap.View, *os.File, error)
	Unplug(ctx context.Context, ns tap.Namespaces, name string) error
	// Beside returns the namespaces where the runtime that made ns has its containers;
	// UnplugBare is tap.DetachBare.
	Beside(ns tap.Namespaces) ([]tap.Namespaces, error)
	UnplugBare(ctx context.Context, ns tap.Namespaces, name string, mac [6]byte) error
	// Loopback brings the loopback interface up, or takes it down.
	Loopback(ctx context.Context, ns tap.Namespaces, up bool) error
}

// realPlaces are the machine's.
type realPlaces struct{}

func (realPlaces) Resolve(w foreign.Wish) (foreign.Place, tap.Namespaces, error) {
	return foreign.Resolve(w)
}
func (realPlaces) Open(p foreign.Place) (tap.Namespaces, error)     { return p.Open() }
func (realPlaces) Owner(ns tap.Namespaces) (foreign.Owner, error)   { return foreign.OwnerOf(ns) }
func (realPlaces) Check(p foreign.Place) error                      { return p.Check() }
func (realPlaces) Await(ctx context.Context, p foreign.Place) error { return p.Await(ctx) }
func (realPlaces) Look(ctx context.Context, ns tap.Namespaces) (tap.View, *os.File, error) {
	return tap.Look(ctx, ns)
}
func (realPlaces) Unplug(ctx context.Context, ns tap.Namespaces, name string) error {
	return tap.Detach(ctx, ns, name)
}
func (realPlaces) Beside(ns tap.Namespaces) ([]tap.Namespaces, error) { return foreign.Beside(ns) }
func (realPlaces) UnplugBare(ctx context.Context, ns tap.Namespaces, name string, mac [6]byte) error {
	return tap.DetachBare(ctx, ns, name, mac)
}
func (realPlaces) Loopback(ctx context.Context, ns tap.Namespaces, up bool) error {
	if up {
		return tap.Loopback(ctx, ns)
	}
	return tap.LoopbackDown(ctx, ns)
}

// foreignProcess is the Process of a container whose namespaces others made. There are
// no processes of footbridge's in it: nothing can be run, and its end is that of its
// namespace, of the command that holds it, or somebody's wish.
type foreignProcess struct {
	places Places
	place  foreign.Place
	name   string // of the container, for errors

	release  func() // ends Wait
	released chan struct{}
}

func newForeignProcess(places Places, place foreign.Place, name string) *foreignProcess {
	p := &foreignProcess{places: places, place: place, name: name, released: make(chan struct{})}
	p.release = sync.OnceFunc(func() { close(p.released) })
	return p
}

// State says that it runs: when it does not, Wait returns.
func (p *foreignProcess) State(context.Context) (shim.State, error) {
	return shim.State{Status: shim.Running, PID: p.place.Process.PID}, nil
}

// Namespaces opens the namespace and makes sure that it is the one that was attached.
func (p *foreignProcess) Namespaces(ctx context.Context) (tap.Namespaces, error) {
	ns, err := p.places.Open(p.place)
	if err != nil {
		return ns, fmt.Errorf("the network namespace %s: %w", p.place, err)
	}
	view, loose, err := p.places.Look(ctx, ns)
	if loose != nil { // the mount by which it was opened is the user's to unmount
		_ = ns.Net.Close()
		ns.Net = loose
	}
	if err == nil && p.place.Cookie != 0 && view.Cookie != p.place.Cookie {
		// It has the inode of the one that was attached, which is gone.
		err = fmt.Errorf("the network namespace %s is another one: %w", p.place, foreign.ErrGone)
		p.release()
	}
	if err != nil {
		return tap.Namespaces{}, errors.Join(err, ns.Close())
	}
	return ns, nil
}

// Start has nothing to start.
func (p *foreignProcess) Start(context.Context) error { return nil }

// Wait returns when the attachment is over.
func (p *foreignProcess) Wait(ctx context.Context) (shim.Exit, error) {
	await, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-p.released:
			cancel()
		case <-await.Done():
		}
	}()
	err := p.places.Await(await, p.place)
	exit := shim.Exit{FinishedAt: time.Now().UTC()}
	switch {
	case ctx.Err() != nil:
		return shim.Exit{}, ctx.Err()
	case errors.Is(err, foreign.ErrGone):
		exit.Error = err.Error()
	}
	return exit, nil
}

// Signal lets go of the namespace for SIGKILL, which is what ends a run by force. Its
// processes are not ours to signal.
func (p *foreignProcess) Signal(_ context.Context, s syscall.Signal) error {
	if s != syscall.SIGKILL {
		return p.refused("signalled")
	}
	p.release()
	return nil
}

// Resize, Attach and Exec are refused.
func (p *foreignProcess) Resize(context.Context, uint16, uint16) error { return p.refused("resized") }
func (p *foreignProcess) Attach(context.Context, shim.AttachOptions) (*Streams, error) {
	return nil, p.refused("listened to")
}
func (p *foreignProcess) Exec(context.Context, shim.ExecSpec) (Exec, error) {
	return nil, p.refused("given a command")
}

func (p *foreignProcess) refused(what string) error { return errNotOurs(p.name, what) }

// Remove lets go.
func (p *foreignProcess) Remove(context.Context) error {
	p.release()
	return nil
}

// wasReleased: somebody has detached it.
func (p *foreignProcess) wasReleased() bool {
	select {
	case <-p.released:
		return true
	default:
		return false
	}
}

// Close leaves everything as it is.
func (p *foreignProcess) Close() error { return nil }

// errNotOurs refuses what takes processes of footbridge's own.
func errNotOurs(name, what string) error {
	return conflict("container %s cannot be %s: its namespaces were attached, and its processes are not footbridge's; end the attachment with `footbridge detach %s`", name, what, name)
}

// refuseForeign is errNotOurs for a container whose namespaces others made, else nil.
func refuseForeign(d *ContainerDef, what string) error {
	if d.Foreign == nil {
		return nil
	}
	return errNotOurs(d.Name, what)
}
