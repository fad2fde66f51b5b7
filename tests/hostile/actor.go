package main

import (
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

// roleActor is the argument by which this program becomes an actor.
const roleActor = "actor"

// Actor is the side of an actor that is asked: its methods are what the driver calls. It lives in the namespaces in which
// it was started and may do what that place may do.
type Actor struct {
	mu      sync.Mutex
	watches map[int]*watcher
	last    int
	peak    func() uint64       // of Memory
	held    []func()            // what Release lets go of
	queues  map[string]*os.File // by the name of their device
}

// runActor serves requests on a unix socket until it is killed.
func runActor(path string) error {
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("listening for the driver: %w", err)
	}
	a := &Actor{watches: make(map[int]*watcher)}
	if err := serveTargets(); err != nil {
		return err
	}
	server := rpc.NewServer()
	if err := server.Register(a); err != nil {
		return err
	}
	server.Accept(l)
	return errors.New("the control socket was closed")
}

// Release ends whatever an attack has left open in the actor: connections, devices.
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

// actor is the driver's side.
type actor struct {
	name   string
	client *rpc.Client
}

// callLimit bounds every request: what an actor does on its own is bounded by less.
const callLimit = 2 * time.Minute

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
	if !world.Poll(10*time.Second, func() bool {
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
