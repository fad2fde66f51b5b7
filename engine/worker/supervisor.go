package worker

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/portfwd"
	"github.com/footbridge-net/footbridge/tap"
)

var (
	// ErrDown: there is no worker at the moment, because it cannot be kept alive.
	ErrDown = errors.New("the process that carries the packets is down")
	// ErrClosed: the Supervisor is closed.
	ErrClosed = errors.New("the data plane is closed")
)

// Store keeps descriptors for the time when this process is no more.
type Store interface {
	Put(name string, h *fdpass.Handle) error
	// PutLocal is Put of what only the next program in this process is to have: the
	// worker ends when nobody has its socket, so nobody else may keep that.
	PutLocal(name string, h *fdpass.Handle) error
	Get(name string) (*fdpass.Handle, bool)
	Remove(name string) error
	Names() []string
	Sweep(owner string, keep func(name string) bool) error
}

// storeOwner is the first part of the names in the store that are this package's.
const storeOwner = "engine"

// Options of a Supervisor.
type Options struct {
	// RuntimeDir has the lock that workers hold; "" = nowhere, for a program after which
	// no other takes the same interfaces.
	RuntimeDir string
	// Store may be nil: then nothing outlives this process.
	Store Store
	// Logger may be nil.
	Logger *slog.Logger
}

// Supervisor keeps a worker running, and what it is to do.
type Supervisor struct {
	opts     Options
	log      *slog.Logger
	registry *portfwd.Registry
	lock     *workerLock
	output   *output
	patience time.Duration // with a worker
	rest     time.Duration // of a worker that no network needs

	mu       sync.Mutex
	facts    map[factID]*fact
	seq      uint64
	held     bool      // before Release, and after HandOver
	closed   bool      // nothing is done any more
	previous *previous // the worker of the program before, until Release
	live     *process  // nil: none
	recent   []time.Time
	retry    *time.Timer
	retiring *time.Timer
	restarts int
	lastExit string
	ended    sync.WaitGroup // goroutines that wait for workers
}

type factID struct {
	kind kind
	key  string
}

// fact is something that holds until it is dropped.
type fact struct {
	factID
	seq     uint64
	body    json.RawMessage
	handles []*fdpass.Handle
	stored  []string       // names of the handles in the store
	inside  tap.Namespaces // of kindStock: where its sockets are made; no worker gets it
	next    uint16         // the port of the next one
}

// close closes what a fact holds.
func (f *fact) close() {
	fdpass.CloseAll(f.handles)
	_ = f.inside.Close() // only read from
}

// New makes a Supervisor that notes facts until Release. Its error is that of a
// worker of an earlier daemon that cannot be ended.
func New(o Options) (*Supervisor, error) {
	s := &Supervisor{opts: o, log: o.Logger, registry: portfwd.NewRegistry(), facts: map[factID]*fact{}, held: true, output: newOutput(os.Stderr), patience: defaultPatience, rest: defaultRest}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.previous, err = findPrevious(o.Store); err != nil {
		return nil, err
	}
	if s.lock, err = openLock(o.RuntimeDir, s.previous == nil); err != nil {
		return nil, err
	}
	return s, nil
}

// Release makes everything so that was put until now. The worker of the program
// before goes on until the new one has all but the ports: that moment is all that
// containers notice. An error means that there is no worker yet; it is tried again.
func (s *Supervisor) Release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.held = false
	s.sweep()
	if !s.needed() {
		s.endPrevious()
		return nil
	}
	return s.start()
}

// sweep drops from the store what no fact has claimed; s.mu is held.
func (s *Supervisor) sweep() {
	if s.opts.Store == nil {
		return
	}
	claimed := map[string]bool{}
	for _, f := range s.facts {
		for _, name := range f.stored {
			claimed[name] = true
		}
	}
	s.logged(s.opts.Store.Sweep(storeOwner, func(name string) bool { return claimed[name] }))
}

// needed reports whether there is something to do for a worker; s.mu is held.
func (s *Supervisor) needed() bool {
	for id := range s.facts {
		if id.kind == kindPlane {
			return true
		}
	}
	return false
}

// put makes f so, and keeps it if that worked. It takes f's handles over, also when
// it fails.
func (s *Supervisor) put(f *fact) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		f.close()
		return ErrClosed
	}
	if old := s.facts[f.factID]; old != nil {
		f.seq = old.seq
	} else {
		s.seq++
		f.seq = s.seq
	}
	if s.held || s.live == nil && f.kind != kindPlane && !s.needed() {
		s.keep(f)
		return nil
	}
	if s.live == nil {
		if s.retry != nil {
			f.close()
			return fmt.Errorf("%w: %s; it is tried again: see the daemon's log", ErrDown, cmp.Or(s.lastExit, "it cannot be started"))
		}
		if err := s.start(); err != nil {
			f.close()
			return err
		}
	}
	err := s.live.send(f)
	if s.live.broken() {
		// It died now, or just before; it is not f's fault until it happens
		// again.
		if err = s.restart(); err == nil {
			if err = s.live.send(f); s.live.broken() {
				err = fmt.Errorf("%w: %w", ErrDown, err) // and it is replaced again
			}
		}
	}
	if err != nil {
		f.close()
		return err
	}
	s.keep(f)
	return nil
}

// keep makes f one of the facts; s.mu is held.
func (s *Supervisor) keep(f *fact) {
	if old := s.facts[f.factID]; old != nil {
		old.close()
	}
	s.facts[f.factID] = f
	for i, name := range f.stored {
		if s.opts.Store == nil {
			break
		}
		if err := s.opts.Store.Put(name, f.handles[i]); err != nil {
			s.log.Warn("descriptor not stored: a new daemon has to make it again", "name", name, "error", err)
		}
	}
}

// drop ends a fact. When it returns the worker has let go of it, and so has the
// Supervisor.
func (s *Supervisor) drop(id factID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.facts[id]
	if f == nil || s.closed {
		return nil
	}
	delete(s.facts, id)
	var err error
	if s.live != nil {
		err = s.live.request(request{Op: opDrop, Kind: id.kind, Key: id.key}, nil, nil)
		if s.live.broken() {
			err = s.restart() // without f
		}
	}
	if s.opts.Store != nil {
		for _, name := range f.stored {
			err = errors.Join(err, s.opts.Store.Remove(name))
		}
	}
	f.close()
	if id.kind == kindPlane {
		s.retire()
	}
	return err
}

// forget drops the facts of a kind whose keys begin so, which the worker has let go
// of already.
func (s *Supervisor) forget(k kind, prefix string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.facts {
		if id.kind == k && strings.HasPrefix(id.key, prefix) {
			delete(s.facts, id) // these kinds have no descriptors
		}
	}
}

// ask asks the worker something; without one, the answer is nothing.
func (s *Supervisor) ask(o op, key string, answer any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.held || s.live == nil {
		return
	}
	if err := s.live.request(request{Op: o, Key: key}, nil, answer); err != nil {
		s.log.Warn("worker not asked", "what", o, "error", err)
	}
	if s.live.broken() {
		_ = s.restart() // logged
	}
}

// ordered are the facts in the order in which a worker gets them; s.mu is held.
func (s *Supervisor) ordered() []*fact {
	out := make([]*fact, 0, len(s.facts))
	for _, f := range s.facts {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b *fact) int {
		return cmp.Or(cmp.Compare(ranks[a.kind], ranks[b.kind]), cmp.Compare(a.seq, b.seq))
	})
	return out
}

// Close ends the worker and closes what is held. What the store keeps stays there.
func (s *Supervisor) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for _, t := range []*time.Timer{s.retry, s.retiring} {
		if t != nil {
			t.Stop()
		}
	}
	s.endPrevious()
	if s.live != nil {
		s.live.end()
		s.live = nil
	}
	for _, f := range s.facts {
		f.close()
	}
	s.mu.Unlock()
	s.ended.Wait()
	return s.lock.Close()
}
