package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

type record struct{ Name, Text string }

func mustOpen(t *testing.T, path string) *Store {
	t.Helper()
	s, d, err := Open(path, Options{Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if d != nil {
		t.Fatalf("set aside: %v", d.Cause)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func mustLoad(t *testing.T, s *Store, b Bucket) map[string]record {
	t.Helper()
	m, err := Load[record](s, b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSaveSurvivesReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := mustOpen(t, path)
	if err := s.Save(Put(Networks, "n1", record{Name: "a"}), Put(Containers, "c1", record{Name: "b"}), Put(Containers, "c2", record{})); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(Delete(Containers, "c2"), Delete(Containers, "never"), Put(Networks, "n1", record{Name: "z"})); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, path)
	if got, want := mustLoad(t, s, Networks), (map[string]record{"n1": {Name: "z"}}); !maps.Equal(got, want) {
		t.Errorf("networks %v, want %v", got, want)
	}
	if got, want := mustLoad(t, s, Containers), (map[string]record{"c1": {Name: "b"}}); !maps.Equal(got, want) {
		t.Errorf("containers %v, want %v", got, want)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", st.Mode(), err)
	}
}

func TestSaveIsAllOrNothing(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "state.db"))
	if err := s.Save(Put(Networks, "n1", record{}), Put(Networks, "", record{})); err == nil {
		t.Fatal("an empty key was accepted")
	}
	if err := s.Save(Put(Networks, "n2", record{}), Put(Networks, "n3", func() {})); err == nil {
		t.Fatal("a function was accepted")
	}
	if got := mustLoad(t, s, Networks); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestFileInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	mustOpen(t, path)
	_, d, err := Open(path, Options{Timeout: 20 * time.Millisecond})
	if !errors.Is(err, ErrBusy) || d != nil {
		t.Errorf("second Open: %v, %v, want ErrBusy", err, d)
	}
}

func TestNewerFileIsRefusedAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := mustOpen(t, path)
	err := s.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(meta).Put(versionKey, binary.BigEndian.AppendUint64(nil, Version+1))
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	_, d, err := Open(path, Options{})
	if !errors.Is(err, ErrNewer) || d != nil {
		t.Fatalf("Open: %v, %v, want ErrNewer", err, d)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("the file was changed")
	}
}

func TestUnreadableFileIsNoDamage(t *testing.T) {
	dir := t.TempDir()
	if _, d, err := Open(filepath.Join(dir, "no", "such", "folder", "state.db"), Options{}); !errors.Is(err, os.ErrNotExist) || d != nil {
		t.Errorf("in a folder that is not there: %v, %v", err, d)
	}
	link := filepath.Join(dir, "link.db")
	if err := os.Symlink(filepath.Join(dir, "target"), link); err != nil {
		t.Fatal(err)
	}
	if _, d, err := Open(link, Options{}); !errors.Is(err, syscall.ELOOP) || d != nil {
		t.Errorf("through a symlink: %v, %v", err, d)
	}
}

// sample returns the bytes of a file with a history: records written, changed
// and deleted, so that free pages and several leaf pages exist.
func sample(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	s := mustOpen(t, path)
	for i := range 60 {
		r := record{Name: fmt.Sprint("c", i), Text: strings.Repeat("x", 400)}
		if err := s.Save(Put(Containers, fmt.Sprintf("%064d", i), r)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		if err := s.Save(Delete(Containers, fmt.Sprintf("%064d", i*3))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// opens puts data on disk, opens it and checks what must hold whatever the
// damage: no crash, a usable store, the old bytes kept when it was set aside.
func opens(t *testing.T, what string, data []byte) (damaged bool) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "state.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s, d, err := Open(path, Options{Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer func() { _ = s.Close() }()
	if err := s.Save(Put(Networks, "after", record{Name: "after"})); err != nil {
		t.Fatalf("%s: Save after opening: %v", what, err)
	}
	if _, err := Load[record](s, Containers); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if d == nil {
		return false
	}
	if kept, err := os.ReadFile(d.Path); err != nil || string(kept) != string(data) {
		t.Fatalf("%s: the damaged file was not kept as it was: %v", what, err)
	}
	if !strings.Contains(d.Path, "state.db.damaged-") {
		t.Fatalf("%s: set aside as %s", what, d.Path)
	}
	return true
}

func TestTruncatedFileOpensOrIsSetAside(t *testing.T) {
	data := sample(t)
	damaged := 0
	for n := 0; n < len(data); n += 1531 { // odd, so that cuts fall everywhere in a page
		if opens(t, fmt.Sprintf("cut at %d of %d", n, len(data)), data[:n]) {
			damaged++
		}
	}
	if damaged == 0 {
		t.Error("no cut was noticed")
	}
}

func TestOverwrittenFileOpensOrIsSetAside(t *testing.T) {
	data := sample(t)
	page := os.Getpagesize()
	damaged := 0
	for at := 0; at+64 <= len(data); at += page / 2 {
		for _, fill := range []byte{0x00, 0xff} {
			b := []byte(string(data))
			for i := range 64 {
				b[at+i] = fill
			}
			if opens(t, fmt.Sprintf("%#x at %d", fill, at), b) {
				damaged++
			}
		}
	}
	if damaged == 0 {
		t.Error("no damage was noticed")
	}
	if !opens(t, "text", []byte(strings.Repeat("this is no database\n", 4000))) {
		t.Error("a text file was taken for a database")
	}
}

// An empty file was once a full one: a new one gets its first pages at once.
func TestEmptyFileIsSetAside(t *testing.T) {
	if !opens(t, "empty", nil) {
		t.Error("an empty file was taken for a new one")
	}
}

func TestEachDamagedFileIsKept(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.db")
	now := func() time.Time { return time.Unix(0, 0) }
	seen := map[string]bool{}
	for i := range 3 {
		if err := os.WriteFile(path, []byte(strings.Repeat("junk", 4000+i)), 0o600); err != nil {
			t.Fatal(err)
		}
		s, d, err := Open(path, Options{Now: now})
		if err != nil || d == nil {
			t.Fatalf("Open: %v, %v", d, err)
		}
		_ = s.Close()
		seen[d.Path] = true
	}
	for p := range seen {
		if _, err := os.Stat(p); err != nil {
			t.Error(err)
		}
	}
	if len(seen) != 3 {
		t.Errorf("files set aside: %v, want three", seen)
	}
}

// A process that may write no more (RLIMIT_FSIZE stands for the full disk) gets
// an error, and the file holds what it held before.
func TestFullDisk(t *testing.T) {
	const env = "FOOTBRIDGE_TEST_FULL_DISK"
	if path := os.Getenv(env); path != "" {
		signal.Ignore(syscall.SIGXFSZ)
		s := mustOpen(t, path)
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		lim := unix.Rlimit{Cur: uint64(st.Size()), Max: uint64(st.Size())}
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &lim); err != nil {
			t.Fatal(err)
		}
		err = s.Save(Put(Networks, "small", record{}), Put(Networks, "big", record{Text: strings.Repeat("x", 4<<20)}))
		if err == nil || !strings.Contains(err.Error(), syscall.EFBIG.Error()) {
			t.Fatalf("Save: %v, want %q", err, syscall.EFBIG)
		}
		if got := mustLoad(t, s, Networks); len(got) != 1 || got["kept"].Name != "kept" {
			t.Fatalf("after the failed Save: %v", got)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "state.db")
	s := mustOpen(t, path)
	if err := errors.Join(s.Save(Put(Networks, "kept", record{Name: "kept"})), s.Close()); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$")
	cmd.Env = append(os.Environ(), env+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s = mustOpen(t, path)
	if got := mustLoad(t, s, Networks); len(got) != 1 || got["kept"].Name != "kept" {
		t.Errorf("on disk: %v", got)
	}
}
