package engine

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/engine/store"
	"github.com/footbridge-net/footbridge/tap"
)

// ctr is a container with what belongs to it at run time.
type ctr struct {
	// op is held while the container is started, torn down, removed, or
	// changes its networks: one at a time. It is taken before Engine.mu.
	op    sync.Mutex
	found *found // guarded by op: what is to be attached, until that begins

	// Guarded by Engine.mu.
	def     *ContainerDef
	run     *run // nil when there is no process
	gone    bool // removed: whoever still holds a pointer must give up
	waiters []*waiter
	pending []*pendingAttach
	taken   []string     // names of interfaces that a namespace of others has
	refused func() error // by the disk, while it is tried again
}

// run is one life of a container, from the reservation of its addresses to the
// end of its teardown. links and ports are guarded by ctr.op.
type run struct {
	process Process // nil until made
	ns      tap.Namespaces
	hasNS   bool
	links   []*link
	ports   []*publication
	done    chan struct{} // closed after the teardown
	flaws   flaws         // has its own lock
}

// letGo gives back what a run holds of its processes, which go on.
func (r *run) letGo() {
	if r.process != nil {
		_ = r.process.Close() // nobody to tell: it is let go either way
	}
	if r.hasNS {
		_ = r.ns.Close()
	}
}

// waiter waits for a container's end.
type waiter struct {
	condition container.WaitCondition
	ch        chan container.WaitResponse // buffered: never waits
}

// findContainer resolves a name, an id or the beginning of an id; e.mu is held.
func (e *Engine) findContainer(term string) (*ctr, error) {
	if c, ok := e.containers[term]; ok {
		return c, nil
	}
	if c := e.named(strings.TrimPrefix(term, "/")); c != nil {
		return c, nil
	}
	var matches []*ctr
	for _, c := range e.containers {
		if term != "" && strings.HasPrefix(c.def.ID, term) {
			matches = append(matches, c)
		}
	}
	switch len(matches) {
	case 1:
		return matches[0], nil
	case 0:
		return nil, notFound("No such container: %s", shown(term))
	}
	return nil, invalid("multiple IDs found with provided prefix: %s (%d): give more of the id", term, len(matches))
}

// exactContainer finds a container by its name, or its id, short or whole; nil if there
// is none. A few digits of an id are not enough for what goes to containers: a name whose
// container is gone would lead to whoever has an id that begins like it. e.mu is held.
func (e *Engine) exactContainer(term string) *ctr {
	if c := e.named(term); c != nil {
		return c
	}
	for id, c := range e.containers {
		if id == term || short(id) == term {
			return c
		}
	}
	return nil
}

// container is findContainer for callers without the lock.
func (e *Engine) container(term string) (*ctr, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.findContainer(term)
}

// allContainers returns all containers, the newest first.
func (e *Engine) allContainers() []*ctr {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sortedContainers()
}

// sortedContainers returns all containers, the newest first; e.mu is held.
func (e *Engine) sortedContainers() []*ctr {
	out := make([]*ctr, 0, len(e.containers))
	for _, c := range e.containers {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *ctr) int {
		return cmp.Or(b.def.Created.Compare(a.def.Created), strings.Compare(a.def.ID, b.def.ID))
	})
	return out
}

// snapshot returns a copy of the definition that can be read without the lock.
func (e *Engine) snapshot(c *ctr) *ContainerDef {
	e.mu.Lock()
	defer e.mu.Unlock()
	return c.def.clone()
}

// change notes what is in the definition, and writes it to disk; c.op is held.
// Where the disk refuses, the change holds in memory all the same, since it says
// what is; the disk's error is returned, and it is tried again in the background.
func (e *Engine) change(c *ctr, f func(*ContainerDef)) error {
	e.mu.Lock()
	f(c.def)
	def := c.def.clone()
	e.mu.Unlock()
	err := e.store.Save(store.Put(store.Containers, def.ID, def))
	if err != nil {
		e.later(c, "state not written", func() error {
			def := e.snapshot(c)
			return e.store.Save(store.Put(store.Containers, def.ID, def))
		})
	}
	e.keepCopy(def)
	return err
}

// decide makes a change that is a wish: where the disk refuses, it is not made;
// c.op is held.
func (e *Engine) decide(c *ctr, f func(*ContainerDef)) error {
	def := e.snapshot(c)
	f(def)
	if err := e.store.Save(store.Put(store.Containers, def.ID, def)); err != nil {
		return err
	}
	e.mu.Lock()
	f(c.def)
	e.mu.Unlock()
	e.keepCopy(def)
	return nil
}

// later tries in the background, until it succeeds, what the disk refused: task is
// called with c.op held. There is one a container, the last one, since each makes
// the disk agree with what is.
func (e *Engine) later(c *ctr, what string, task func() error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	waiting := c.refused != nil
	c.refused = task
	if waiting || e.closed {
		return
	}
	e.background.Go(func() {
		again := newBackoff()
		defer again.stop()
		for {
			select {
			case <-again.after():
			case <-e.ctx.Done():
				return
			}
			err := e.tryRefused(c)
			if err == nil {
				return
			}
			e.log.Debug("tried again in vain", "container", c.def.Name, "what", what, "error", err)
		}
	})
}

// tryRefused tries what later was given; nil when there is nothing left to try.
func (e *Engine) tryRefused(c *ctr) error {
	c.op.Lock()
	defer c.op.Unlock()
	e.mu.Lock()
	task, gone := c.refused, c.gone
	e.mu.Unlock()
	var err error
	if !gone {
		err = task()
	}
	if err == nil {
		e.mu.Lock()
		c.refused = nil
		e.mu.Unlock()
	}
	return err
}

// errGone: the container was removed while the caller waited for its turn.
func errGone(def *ContainerDef) error { return notFound("No such container: %s", def.Name) }

// lock takes the container's op lock; an error when it was removed meanwhile.
func (e *Engine) lock(c *ctr) (unlock func(), err error) {
	c.op.Lock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.gone {
		c.op.Unlock()
		return nil, errGone(c.def)
	}
	return c.op.Unlock, nil
}

// lockContainer is container and lock.
func (e *Engine) lockContainer(nameOrID string) (c *ctr, unlock func(), err error) {
	if c, err = e.container(nameOrID); err != nil {
		return nil, nil, err
	}
	unlock, err = e.lock(c)
	return c, unlock, err
}

// containerEvent publishes an event of a container.
func (e *Engine) containerEvent(action events.Action, def *ContainerDef, more ...string) {
	attr := map[string]string{}
	for k, v := range def.Config.Labels {
		attr[k] = v
	}
	attr["name"] = def.Name // whatever a label says
	if image := def.Config.Image; image != "" {
		attr["image"] = image
	}
	for i := 0; i+1 < len(more); i += 2 {
		attr[more[i]] = more[i+1]
	}
	e.events.publish(events.ContainerEventType, action, def.ID, attr)
}

// release takes away every waiter whose condition is met and answers it; e.mu is held.
func (c *ctr) release(met func(container.WaitCondition) bool, r container.WaitResponse) {
	c.waiters = slices.DeleteFunc(c.waiters, func(w *waiter) bool {
		if !met(w.condition) {
			return false
		}
		w.ch <- r
		close(w.ch)
		return true
	})
}

// isGone reports whether a process cannot be asked any more.
func isGone(err error) bool {
	return errors.Is(err, shim.ErrGone) || errors.Is(err, shim.ErrNotRunning)
}
