package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// copySuffix marks the copy of a state file that is used when the file is
	// damaged.
	copySuffix = ".bak"
	// newSuffix marks a file that is being made.
	newSuffix = ".new"
)

// copier keeps the copy up to date, a while after each change: many changes at
// once cost one copy, and no change waits for it. That it fails is no harm to
// anybody: the copy before stays, and the next change tries again.
type copier struct {
	store *Store
	after time.Duration

	making sync.Mutex // held while a copy is made

	mu      sync.Mutex
	timer   *time.Timer // nil: the copy is of the last change
	stopped bool
}

// start makes the copy of a file that was read to its end and found good.
func (c *copier) start(s *Store, after time.Duration) {
	c.store, c.after = s, after
	c.later()
}

func (c *copier) later() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer == nil && !c.stopped {
		c.timer = time.AfterFunc(c.after, c.make)
	}
}

func (c *copier) make() {
	c.making.Lock()
	defer c.making.Unlock()
	c.mu.Lock()
	due := c.timer != nil
	c.timer = nil // a change from here on is one more
	c.mu.Unlock()
	if due {
		_ = guarded(c.store.copyTo)
	}
}

// stop makes the copy if it is due, and waits for one under way.
func (c *copier) stop() {
	c.mu.Lock()
	c.stopped = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	c.make()
}

// copyTo writes a copy of the state as of the last Save, and lets it appear whole.
func (s *Store) copyTo() error {
	path := s.db.Path() + copySuffix
	fresh := path + newSuffix
	err := s.db.View(func(tx *bbolt.Tx) error {
		return writeNew(fresh, func(f *os.File) error {
			_, err := tx.WriteTo(f)
			return err
		})
	})
	if err != nil {
		return err
	}
	return publish(fresh, path)
}

// restore makes the state file fresh of a copy, and returns when that was made. A
// copy that cannot be read is an error, and leaves nothing behind.
func restore(path, fresh string, timeout time.Duration) (made time.Time, err error) {
	from, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return made, err
	}
	defer from.Close()
	st, err := from.Stat()
	if err != nil {
		return made, err
	}
	if !st.Mode().IsRegular() {
		return made, fmt.Errorf("%s is not a file", path)
	}
	err = writeNew(fresh, func(to *os.File) error {
		_, err := io.Copy(to, from)
		return err
	})
	if err != nil {
		return made, err
	}
	s, err := open(fresh, timeout)
	if err == nil {
		err = s.db.Close()
	}
	if err != nil {
		return made, errors.Join(err, removeIfThere(fresh))
	}
	return st.ModTime(), nil
}

// writeNew writes a file that is wholly on disk, or leaves none.
func writeNew(path string, write func(*os.File) error) error {
	if err := removeIfThere(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, removeIfThere(path))
	}
	return nil
}

// publish gives a file that is wholly on disk its name, for good.
func publish(fresh, path string) error {
	if err := os.Rename(fresh, path); err != nil {
		return errors.Join(err, removeIfThere(fresh))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// WriteFile makes a file appear with all of its content or not at all, also when
// the power fails: the file before is there until the new one is on disk.
func WriteFile(path string, content []byte) error {
	err := writeNew(path+newSuffix, func(f *os.File) error {
		_, err := f.Write(content)
		return err
	})
	if err != nil {
		return err
	}
	return publish(path+newSuffix, path)
}
