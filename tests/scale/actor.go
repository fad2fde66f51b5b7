package main

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/footbridge-net/footbridge/tests/actors"
)

// Actor is the side of an actor that is asked: its methods are what the driver calls.
type Actor struct {
	actors.Held

	mu      sync.Mutex
	conns   []net.Conn // of OpenFlows
	way     *way       // of MakeWay
	reserve []byte     // of Reserve
}

// newActor makes the receiver of an actor.
func newActor([]string) (any, error) {
	// As any simple program: two threads a process would take the worker's turns where there are two processors.
	runtime.GOMAXPROCS(1)
	return new(Actor), nil
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
	*actors.Actor
	ip string // of a container, on its network
}

const (
	// callLimit bounds every request: what an actor does on its own is bounded by less.
	callLimit = 3 * time.Minute
	// arrival bounds how long an actor takes to come up.
	arrival = 15 * time.Second
)

// call asks an actor and waits for the answer.
func (a *actor) call(method string, args, reply any) error {
	return a.Call(callLimit, method, args, reply)
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
