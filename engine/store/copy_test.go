package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A damaged file is replaced by its copy, which is of the last Save before Close,
// and says so.
func TestDamagedFileIsReplacedByItsCopy(t *testing.T) {
	data := sample(t)
	for name, spoil := range map[string]func([]byte) []byte{
		"text":      func([]byte) []byte { return []byte(strings.Repeat("this is no database\n", 4000)) },
		"empty":     func([]byte) []byte { return nil },
		"cut":       func(b []byte) []byte { return b[:len(b)/2] },
		"no header": func(b []byte) []byte { return append(make([]byte, 2*os.Getpagesize()), b[2*os.Getpagesize():]...) },
		"no leaves": func(b []byte) []byte {
			return append(b[:2*os.Getpagesize():2*os.Getpagesize()], bytes.Repeat([]byte{0xff}, len(b)-2*os.Getpagesize())...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			s := mustOpen(t, path)
			if err := s.Save(Put(Networks, "last", record{Name: "last"})); err != nil {
				t.Fatal(err)
			}
			want := mustLoad(t, s, Containers)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			spoiled := spoil(whole)
			if err := os.WriteFile(path, spoiled, 0o600); err != nil {
				t.Fatal(err)
			}
			s, d, err := Open(path, Options{})
			if err != nil || d == nil || time.Since(d.Restored) > time.Minute {
				t.Fatalf("%+v, %v", d, err)
			}
			defer s.Close()
			if got := mustLoad(t, s, Networks); got["last"].Name != "last" {
				t.Errorf("networks %v", got)
			}
			if got := mustLoad(t, s, Containers); !maps.Equal(got, want) || len(got) == 0 {
				t.Errorf("%d containers, want %d", len(got), len(want))
			}
			if kept, err := os.ReadFile(d.Path); err != nil || !bytes.Equal(kept, spoiled) {
				t.Errorf("the damaged file was not kept as it was: %v", err)
			}
			onlyFiles(t, filepath.Dir(path), "state.db", "state.db.bak", filepath.Base(d.Path))
		})
	}
}

func onlyFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	if fmt.Sprint(have) != fmt.Sprint(want) {
		t.Errorf("files %v, want %v", have, want)
	}
}

// Where the copy is of no use either, it is an empty file, as without one.
func TestCopyThatIsOfNoUse(t *testing.T) {
	junk := []byte(strings.Repeat("junk", 9000))
	for name, spoil := range map[string]func(path string) error{
		"damaged":   func(path string) error { return os.WriteFile(path, junk, 0o600) },
		"empty":     func(path string) error { return os.Truncate(path, 0) },
		"missing":   os.Remove,
		"a folder":  func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"a pipe":    func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) },
		"a symlink": func(path string) error { return errors.Join(os.Rename(path, path+".x"), os.Symlink(path+".x", path)) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			s := mustOpen(t, path)
			if err := errors.Join(s.Save(Put(Networks, "n", record{})), s.Close(), spoil(path+copySuffix), os.WriteFile(path, junk, 0o600)); err != nil {
				t.Fatal(err)
			}
			s, d, err := Open(path, Options{})
			if err != nil || d == nil || !d.Restored.IsZero() {
				t.Fatalf("%+v, %v", d, err)
			}
			defer s.Close()
			if got := mustLoad(t, s, Networks); len(got) != 0 {
				t.Errorf("networks %v", got)
			}
		})
	}
}

// The copy follows changes without being asked, and lags by no more than it was
// told.
func TestCopyFollowsChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s, _, err := Open(path, Options{CopyAfter: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 5 {
		key := fmt.Sprint(i)
		if err := s.Save(Put(Networks, key, record{Name: key})); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); ; {
			fresh := filepath.Join(t.TempDir(), "copy")
			if _, err := restore(path+copySuffix, fresh, time.Second); err == nil {
				c := mustOpen(t, fresh)
				got := mustLoad(t, c, Networks)
				_ = c.Close()
				if got[key].Name == key {
					break
				}
			}
			if time.Now().After(deadline) {
				t.Fatalf("change %d is not in the copy", i)
			}
		}
	}
}

// What cannot be copied is saved all the same.
func TestCopyThatCannotBeMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.MkdirAll(path+copySuffix+newSuffix+"/x", 0o700); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, path)
	if err := errors.Join(s.Save(Put(Networks, "n", record{Name: "n"})), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, path)
	if got := mustLoad(t, s, Networks); got["n"].Name != "n" {
		t.Errorf("networks %v", got)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, text := range []string{"one", "two, longer", ""} {
		if err := WriteFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != text {
			t.Errorf("%q, %v", b, err)
		}
	}
	// What somebody put in the way is not followed.
	target := filepath.Join(t.TempDir(), "target")
	if err := errors.Join(os.WriteFile(target, []byte("kept"), 0o600), os.Symlink(target, path+newSuffix)); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("three")); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(target); string(b) != "kept" {
		t.Errorf("wrote through a symlink: %q", b)
	}
	onlyFiles(t, dir, "f")
}
