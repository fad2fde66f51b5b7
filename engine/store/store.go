package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Bucket is a kind of record.
type Bucket string

// The buckets of a state file.
const (
	Networks   Bucket = "networks"
	Containers Bucket = "containers"
)

// Version of the layout and of the records in it. A file of a higher version is
// refused, since writing to it would lose what this version cannot read.
const Version = 1

var (
	meta       = []byte("meta")
	versionKey = []byte("version")
)

// Errors of Open.
var (
	// ErrBusy: another process holds the file.
	ErrBusy = errors.New("state file is in use by another process")
	// ErrNewer: a later version of footbridge wrote the file.
	ErrNewer = errors.New("state file was written by a newer version")
)

// errDamaged: the file is not, or no longer, a readable state file.
var errDamaged = errors.New("state file is damaged")

// Options of Open.
type Options struct {
	Timeout   time.Duration    // how long to wait for another process's lock; 0 = 2 s
	CopyAfter time.Duration    // how long after a change the copy is made; 0 = 5 s
	Now       func() time.Time // for the name of a file that is set aside; nil = time.Now
}

// Store is an open state file.
type Store struct {
	db   *bbolt.DB
	copy copier
}

// Damage says that Open found an unreadable file and set it aside.
type Damage struct {
	Path  string // where the old file is now
	Cause error
	// Restored is when the copy was made that has taken its place; zero when there
	// was none that could be used, and an empty file has.
	Restored time.Time
}

// Open opens the state file at path and creates it if there is none. A damaged
// file is renamed and replaced by the last good copy, or else by an empty one; the
// returned Damage then says where it went. The error wraps ErrBusy, ErrNewer or
// the error of the system.
func Open(path string, o Options) (*Store, *Damage, error) {
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.CopyAfter == 0 {
		o.CopyAfter = 5 * time.Second
	}
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		if err := create(path+newSuffix, o.Timeout); err != nil {
			return nil, nil, err
		}
		if err := publish(path+newSuffix, path); err != nil {
			return nil, nil, fmt.Errorf("create state file: %w", err)
		}
	}
	s, err := open(path, o.Timeout)
	var d *Damage
	if errors.Is(err, errDamaged) {
		d = &Damage{Cause: err}
		if err := d.replace(path, o); err != nil {
			return nil, nil, fmt.Errorf("%w, and it could not be set aside: %w", d.Cause, err)
		}
		s, err = open(path, o.Timeout)
	}
	if err != nil {
		return nil, d, err
	}
	s.copy.start(s, o.CopyAfter)
	return s, d, nil
}

// replace sets the file at path aside and puts the last good copy, or an empty
// file, in its place. Whenever it is cut off, there is a file at path.
func (d *Damage) replace(path string, o Options) error {
	fresh := path + newSuffix
	var err error
	if d.Restored, err = restore(path+copySuffix, fresh, o.Timeout); err != nil {
		if err := create(fresh, o.Timeout); err != nil {
			return err
		}
	}
	if d.Path, err = setAside(path, o.Now()); err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	return publish(fresh, path)
}

// setAside gives the file one more name, which nothing has, or another one where
// the file system knows no hard links.
func setAside(path string, now time.Time) (string, error) {
	base := path + ".damaged-" + now.UTC().Format("20060102T150405Z")
	for i := range 1000 {
		name := base
		if i > 0 {
			name = fmt.Sprintf("%s-%d", base, i)
		}
		// Not a rename: that would silently replace an earlier damaged file of
		// the same second.
		err := os.Link(path, name)
		switch {
		case err == nil:
			return name, nil
		case !errors.Is(err, os.ErrExist):
			return name, os.Rename(path, name)
		}
	}
	return "", fmt.Errorf("%s: %w", base, os.ErrExist)
}

// create makes an empty state file that is wholly on disk.
func create(path string, timeout time.Duration) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("create state file: %w", err)
	}
	s, err := open(path, timeout)
	if err == nil {
		err = s.db.Close()
	}
	if err != nil {
		return errors.Join(err, removeIfThere(path))
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func open(path string, timeout time.Duration) (_ *Store, err error) {
	var file *os.File
	var db *bbolt.DB
	defer func() {
		if err == nil {
			return
		}
		if db != nil {
			err = errors.Join(err, guarded(db.Close))
		}
		if file != nil {
			_ = file.Close() // gives the lock back where bbolt panicked half-way
		}
	}()
	// A new file is never seen empty: it is made under another name.
	if st, err := os.Lstat(path); err == nil && st.Mode().IsRegular() && st.Size() == 0 {
		return nil, fmt.Errorf("%s: %w: it is empty", path, errDamaged)
	}
	err = guarded(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: timeout,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				f, err := os.OpenFile(name, flag|syscall.O_NOFOLLOW, mode)
				file = f
				return f, err
			},
		})
		return err
	})
	switch errno := syscall.Errno(0); {
	case errors.Is(err, berrors.ErrTimeout):
		if pid := Holder(path); pid != 0 {
			return nil, fmt.Errorf("%s: %w (pid %d); end it (`footbridge daemon stop`) or wait", path, ErrBusy, pid)
		}
		return nil, fmt.Errorf("%s: %w; end it (`footbridge daemon stop`) or wait", path, ErrBusy)
	case errors.As(err, &errno):
		return nil, fmt.Errorf("open state file: %w", err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %w", path, errDamaged, err)
	}
	if err := guarded(func() error { return verify(db, file) }); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, errDamaged, err)
	}
	s := &Store{db: db}
	return s, s.prepare(path)
}

// verify reads every page once, so that damage shows now and not in the middle
// of a later start.
func verify(db *bbolt.DB, file *os.File) error {
	return db.View(func(tx *bbolt.Tx) error {
		st, err := file.Stat()
		if err != nil {
			return err
		}
		// A page beyond the end of the file is a SIGBUS on the mapping, and
		// Check runs in a goroutine in which that cannot be caught.
		if st.Size() < tx.Size() {
			return fmt.Errorf("%d bytes are missing at its end", tx.Size()-st.Size())
		}
		var all []error
		for err := range tx.Check() {
			all = append(all, err)
		}
		if len(all) > 0 {
			return errors.Join(all...)
		}
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				if string(name) != string(meta) && !json.Valid(v) {
					return fmt.Errorf("record %s/%q is not JSON", name, k)
				}
				return nil
			})
		})
	})
}

// prepare makes the buckets of a new file and checks the version of an old one.
func (s *Store) prepare(path string) error {
	var version uint64
	err := s.db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(meta); b != nil {
			if v := b.Get(versionKey); len(v) == 8 {
				version = binary.BigEndian.Uint64(v)
			}
		}
		return nil
	})
	if err != nil || version == Version {
		return err
	}
	if version > Version {
		return fmt.Errorf("%s: %w (its layout is %d, this one knows %d): use that version, or move the file away to start afresh",
			path, ErrNewer, version, Version)
	}
	err = s.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{meta, []byte(Networks), []byte(Containers)} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(meta).Put(versionKey, binary.BigEndian.AppendUint64(nil, Version))
	})
	if err != nil {
		return fmt.Errorf("create state file %s: %w", path, err)
	}
	return nil
}

// guarded turns a panic of f, and a fault on the mapped file, into an error:
// bbolt panics where it meets a page that cannot be.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return f()
}
