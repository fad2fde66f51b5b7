package fdstore

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// Store holds descriptors under names, here and, where there is one, in the service
// manager's store.
type Store struct {
	manager *manager // nil: no service manager

	mu      sync.Mutex
	held    map[string]*fdpass.Handle
	dropped []string
}

// Open takes over the descriptors that this process was started with. It is called once,
// before anything is started. The environment that spoke of them is gone afterwards, also
// when Open fails, which it does with ErrEnvironment.
func Open() (*Store, error) {
	pid := os.Getpid()
	entries, err := fromSystemd(os.Getenv, pid)
	table, terr := tableOf(os.Getenv, pid)
	m, merr := newManager(os.Getenv)
	for _, name := range variables {
		_ = os.Unsetenv(name)
	}
	if err := errors.Join(err, terr, merr); err != nil {
		return nil, err
	}
	if table >= 0 {
		if err := inherited(entry{table, "their table"}); err != nil {
			return nil, err
		}
		ours, err := readTable(table)
		if err != nil {
			return nil, err
		}
		entries = append(entries, ours...)
	}
	// Everything first, so that nothing of it reaches a program that is started.
	for _, e := range entries {
		err = errors.Join(err, inherited(e))
	}
	if err != nil {
		return nil, err
	}
	s := &Store{manager: m, held: map[string]*fdpass.Handle{}}
	s.take(entries)
	return s, nil
}

// inherited makes a descriptor close-on-exec. One that is so already was not inherited
// but opened by this program, and is not ours to take.
func inherited(e entry) error {
	flags, err := unix.FcntlInt(uintptr(e.fd), unix.F_GETFD, 0)
	if err == nil && flags&unix.FD_CLOEXEC != 0 {
		err = unix.EBADF
	}
	if err != nil {
		return fmt.Errorf("%w: descriptor %d (%s) is not open: %w", ErrEnvironment, e.fd, e.name, err)
	}
	unix.CloseOnExec(e.fd)
	return nil
}

// take makes the descriptors the Store's. Of those that share a name none is kept.
func (s *Store) take(entries []entry) {
	times := map[string]int{}
	for _, e := range entries {
		times[e.name]++
	}
	for _, e := range entries {
		h := fdpass.NewHandle(e.fd)
		if times[e.name] == 1 {
			s.held[e.name] = h
			continue
		}
		_ = h.Close()
		if !slices.Contains(s.dropped, e.name) {
			s.dropped = append(s.dropped, e.name)
			_ = s.manager.remove(e.name) // a failure costs an open file, until the next start
		}
	}
}

// Put keeps a duplicate of h under a name, in the place of what had it. An error that
// wraps ErrManager says that it is kept here, and that the service manager does not know.
func (s *Store) Put(name string, h *fdpass.Handle) error {
	return s.put(name, h, s.manager)
}

// PutLocal is Put of what only the next program gets, by Exec, and not the service
// manager: what is to end with this process.
func (s *Store) PutLocal(name string, h *fdpass.Handle) error {
	return s.put(name, h, nil)
}

func (s *Store) put(name string, h *fdpass.Handle, to *manager) error {
	if err := checkName(name); err != nil {
		return err
	}
	own, err := h.Dup()
	if err != nil {
		return fmt.Errorf("keep descriptor %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.remove(name)
	s.held[name] = own
	return errors.Join(err, to.store(name, own))
}

// Get returns a duplicate of what has a name; the caller closes it.
func (s *Store) Get(name string) (*fdpass.Handle, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.held[name]
	if !ok {
		return nil, false
	}
	h, err := h.Dup()
	return h, err == nil
}

// Remove forgets a name, here and in the service manager's store. A name that is not
// there is no error.
func (s *Store) Remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(name)
}

func (s *Store) remove(name string) error {
	h, ok := s.held[name]
	if !ok {
		return nil
	}
	delete(s.held, name)
	return errors.Join(s.manager.remove(name), h.Close())
}

// Names returns all names, sorted.
func (s *Store) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.held))
}

// Dropped returns the names under which more than one descriptor was handed over.
func (s *Store) Dropped() []string { return slices.Clone(s.dropped) }

// Sweep removes the names that belong to owner, that is owner itself and what begins
// with it and a dot, and that keep refuses. keep must not use the Store.
func (s *Store) Sweep(owner string, keep func(name string) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.held)) {
		if ownedBy(name, owner) && !keep(name) {
			errs = append(errs, s.remove(name))
		}
	}
	return errors.Join(errs...)
}

// Close closes what is held here. The service manager keeps its own.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.held {
		_ = h.Close()
	}
	s.held = map[string]*fdpass.Handle{}
	return s.manager.close()
}
