package main

import (
	"os"
	"sync"
	"time"

	"github.com/footbridge-net/footbridge/tests/actors"
)

// Actor is the side of an actor that is asked: its methods are what the driver calls. It lives in the namespaces in which
// it was started and may do what that place may do.
type Actor struct {
	actors.Held // what an attack has left open: connections, devices

	mu      sync.Mutex
	watches map[int]*watcher
	last    int
	peak    func() uint64       // of Memory
	queues  map[string]*os.File // by the name of their device
}

// newActor makes the receiver of an actor.
func newActor([]string) (any, error) {
	return &Actor{watches: make(map[int]*watcher)}, serveTargets()
}

// actor is the driver's side.
type actor struct{ *actors.Actor }

const (
	// callLimit bounds every request: what an actor does on its own is bounded by less.
	callLimit = 2 * time.Minute
	// arrival bounds how long an actor takes to come up.
	arrival = 10 * time.Second
)

// call asks an actor and waits for the answer.
func (a *actor) call(method string, args, reply any) error {
	return a.Call(callLimit, method, args, reply)
}
