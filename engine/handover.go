package engine

import (
	"context"
	"fmt"
)

// HandOver leaves everything to the program that this process executes next, once
// the requests under way are done: it finds containers, interfaces and listeners as
// it would after this one's end, but nothing has stopped meanwhile. After an error
// the engine goes on.
func (e *Engine) HandOver(ctx context.Context) error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return unavailable("the footbridge daemon is about to end: try again")
	}
	e.closed = true // no request begins any more
	e.mu.Unlock()
	err := e.settle(ctx)
	if err == nil {
		// Nor does the end of a container change anything in the middle: the
		// next program finds it.
		for _, c := range e.allContainers() {
			c.op.Lock()
			e.frozen = append(e.frozen, c)
		}
		err = e.data.HandOver()
	}
	if err != nil {
		e.reopen()
		return fmt.Errorf("hand over to another program: %w", err)
	}
	return nil
}

// settle returns when no request is under way that leaves something running.
func (e *Engine) settle(ctx context.Context) error {
	for {
		e.mu.Lock()
		busy, idle := e.busy, e.settled
		if busy > 0 && idle == nil {
			idle = make(chan struct{})
			e.settled = idle
		}
		e.mu.Unlock()
		if busy == 0 {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return fmt.Errorf("%d requests are still under way: try again", busy)
		}
	}
}

// TakeBack goes on after a HandOver that led to nothing.
func (e *Engine) TakeBack() error {
	err := e.data.TakeBack()
	e.reopen()
	return err
}

func (e *Engine) reopen() {
	for _, c := range e.frozen {
		c.op.Unlock()
	}
	e.frozen = nil
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = false
}
