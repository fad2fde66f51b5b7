package main

import (
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

// roleActor is the argument by which this program becomes an actor.
const roleActor = "actor"

// Actor is the side of an actor that is asked: its methods are what the driver calls.
type Actor struct {
	mu    sync.Mutex
	held  []func()   // what Release lets go of
	conns []net.Conn // of OpenFlows
	way   *way       // of MakeWay
}

// runActor serves requests on a unix socket until it is killed.
func runActor(path string) error {
	// As any simple program: two threads a process would take the worker's turns where there are two processors.
	runtime.GOMAXPROCS(1)
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("listening for the driver: %w", err)
	}
	server := rpc.NewServer()
	if err := server.Register(new(Actor)); err != nil {
		return err
	}
	server.Accept(l)
	return errors.New("the control socket was closed")
}

// Release ends whatever requests have left open in the actor.
func (a *Actor) Release(struct{}, *struct{}) error {
	a.mu.Lock()
	held := a.held
	a.held = nil
	a.mu.Unlock()
	for _, f := range held {
		f()
	}
	return nil
}

// hold remembers something to let go of at Release.
func (a *Actor) hold(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = append(a.held, f)
}

// Shell runs a command that must succeed and returns what it says.
func (a *Actor) Shell(command string, output *string) error {
	b, err := exec.Command("sh", "-c", command).CombinedOutput()
	*output = string(b)
	if err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, b)
	}
	return nil
}

// actor is the driver's side.
type actor struct {
	name   string
	client *rpc.Client
	ip     string // of a container, on its network
}

// callLimit bounds every request: what an actor does on its own is bounded by less.
const callLimit = 3 * time.Minute

// actorSocket is where the actor of that name listens.
func actorSocket(name string) string { return filepath.Join(world.Stage(), "actors", name) }

// actorCommand is the command that becomes the actor of that name.
func actorCommand(name string) []string {
	return []string{filepath.Join(world.Stage(), filepath.Base(program)), roleActor, actorSocket(name)}
}

// program is this program's file, in the folder of the run.
var program, _ = os.Executable()

// connect waits for an actor to come up.
func connect(name string) (*actor, error) {
	var conn net.Conn
	var err error
	if !world.Poll(15*time.Second, func() bool {
		conn, err = net.Dial("unix", actorSocket(name))
		return err == nil
	}) {
		return nil, fmt.Errorf("waiting for %s: %w", name, err)
	}
	return &actor{name: name, client: rpc.NewClient(conn)}, nil
}

// call asks an actor and waits for the answer.
func (a *actor) call(method string, args, reply any) error {
	call := a.client.Go("Actor."+method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		if call.Error != nil {
			return fmt.Errorf("%s, %s: %w", a.name, method, call.Error)
		}
		return nil
	case <-time.After(callLimit):
		return fmt.Errorf("%s, %s: no answer after %v", a.name, method, callLimit)
	}
}

func (a *actor) shell(format string, args ...any) error {
	return a.call("Shell", fmt.Sprintf(format, args...), new(string))
}

func (a *actor) release() error { return a.call("Release", struct{}{}, &struct{}{}) }

// together asks several actors the same kind of thing at once.
func together[T any](all []T, f func(i int, one T) error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, one := range all {
		wg.Go(func() { errs[i] = f(i, one) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
