package actors

import (
	"errors"
	"fmt"
	"net/rpc"
	"sync"
	"time"
)

// Actor is the driver's side of an actor.
type Actor struct {
	Name string
	PID  int // in its own pid namespace

	client *rpc.Client

	mu   sync.Mutex
	gone bool
}

// Call asks for a method of the receiver and waits for the answer, but no longer than limit: an actor that has not
// answered by then is taken for gone.
//
// Errors: ErrGone, and the receiver's own as text.
func (a *Actor) Call(limit time.Duration, method string, args, reply any) error {
	call := a.client.Go(receiverName+"."+method, args, reply, make(chan *rpc.Call, 1))
	late := time.NewTimer(limit)
	defer late.Stop()
	var server rpc.ServerError
	select {
	case <-call.Done:
		switch {
		case errors.As(call.Error, &server):
			return fmt.Errorf("%s, %s: %w", a.Name, method, call.Error)
		case call.Error != nil:
			_ = a.leave()
			return fmt.Errorf("%s, %s: %w (%w)", a.Name, method, ErrGone, call.Error)
		}
		return nil
	case <-late.C:
		_ = a.leave()
		return fmt.Errorf("%s, %s: no answer after %v: %w", a.Name, method, limit, ErrGone)
	}
}

// leave notes that the actor is gone.
func (a *Actor) leave() error {
	a.mu.Lock()
	a.gone = true
	a.mu.Unlock()
	return a.Close()
}

// Gone says whether a call has found the actor gone.
func (a *Actor) Gone() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gone
}

// Close ends the actor. Calls after it return ErrGone.
func (a *Actor) Close() error {
	if err := a.client.Close(); err != nil && !errors.Is(err, rpc.ErrShutdown) {
		return err
	}
	return nil
}
