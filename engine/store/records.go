package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"go.etcd.io/bbolt"
)

// Change is one record to write, or to delete when Value is nil.
type Change struct {
	Bucket Bucket
	Key    string
	Value  any // encoded as JSON
}

// Put returns the change that writes value.
func Put(b Bucket, key string, value any) Change { return Change{b, key, value} }

// Delete returns the change that deletes key; deleting what is not there is no
// error.
func Delete(b Bucket, key string) Change { return Change{Bucket: b, Key: key} }

// Save makes all changes in one transaction, on disk when it returns. With an
// error (a full disk, for instance) none of them is made.
func (s *Store) Save(changes ...Change) error {
	encoded := make([][]byte, len(changes))
	for i, c := range changes {
		if c.Value == nil {
			continue
		}
		v, err := json.Marshal(c.Value)
		if err != nil {
			return fmt.Errorf("save %s %s: %w", c.Bucket, c.Key, err)
		}
		encoded[i] = v
	}
	err := guarded(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			for i, c := range changes {
				b := tx.Bucket([]byte(c.Bucket))
				if b == nil {
					return fmt.Errorf("no bucket %s", c.Bucket)
				}
				var err error
				if encoded[i] == nil {
					err = b.Delete([]byte(c.Key))
				} else {
					err = b.Put([]byte(c.Key), encoded[i])
				}
				if err != nil {
					return fmt.Errorf("%s %s: %w", c.Bucket, c.Key, err)
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("save state in %s: %w%s", s.db.Path(), err, remedy(err))
	}
	s.copy.later()
	return nil
}

// remedy says what to do about an error of writing, where that is known. bbolt
// does not wrap all errors of the system, but tells them.
func remedy(err error) string {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, errno) || strings.Contains(err.Error(), errno.Error()) {
			return "; nothing was changed: free space on its file system and try again"
		}
	}
	return ""
}

// Load returns the records of a bucket by key, each decoded by T's JSON. A
// record that does not decode is an error that names it.
func Load[T any](s *Store, b Bucket) (map[string]T, error) {
	out := make(map[string]T)
	err := guarded(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket([]byte(b))
			if bucket == nil {
				return fmt.Errorf("no bucket %s", b)
			}
			return bucket.ForEach(func(k, v []byte) error {
				var t T
				if err := json.Unmarshal(v, &t); err != nil {
					return fmt.Errorf("record %s %q: %w", b, k, err)
				}
				out[string(k)] = t
				return nil
			})
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read state from %s: %w", s.db.Path(), err)
	}
	return out, nil
}

// Close gives the file back. Saves under way end first, and the copy is made if it
// is not of the last one.
func (s *Store) Close() error {
	s.copy.stop()
	return s.db.Close()
}
