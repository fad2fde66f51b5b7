package store

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The power may fail at any write, and what was not synced by then may be on disk
// or not, in parts, in any order. Whatever of it is, the file opens by itself, with
// the state of the last Save that returned, or the one that was under way.
//
// What the writes are is not assumed but recorded: another process makes a
// history of Saves, and its system calls are traced.
func TestPowerLossAtAnyWrite(t *testing.T) {
	const variable = "FOOTBRIDGE_TEST_POWER_LOSS"
	if dir := os.Getenv(variable); dir != "" {
		makeHistory(t, filepath.Join(dir, "state.db"))
		return
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	events := recordFileEvents(t, variable, dir)
	d := newDisk(t, filepath.Join(dir, "state.db"))
	for _, ev := range events {
		d.happen(ev)
	}
	if d.acked != historySteps || d.writes < 3*historySteps || d.syncs < 2*historySteps {
		t.Errorf("recorded %d saves, %d writes, %d syncs", d.acked, d.writes, d.syncs)
	}
	if now, err := os.ReadFile(d.path); err != nil || string(now) != string(d.durable) {
		t.Errorf("what was recorded is not what is on disk: %d and %d bytes, %v", len(d.durable), len(now), err)
	}
	t.Logf("%d writes, %d syncs: %d states of the disk opened", d.writes, d.syncs, d.tried)
}

const historySteps = 14

// historyState is the state after n steps: it grows over several pages, changes
// and shrinks.
func historyState(n int) map[string]record {
	m := map[string]record{}
	for i := 1; i <= n; i++ {
		for _, c := range historyStep(i) {
			if c.Value == nil {
				delete(m, c.Key)
			} else {
				m[c.Key] = c.Value.(record)
			}
		}
	}
	return m
}

func historyStep(i int) []Change {
	var out []Change
	switch {
	case i%5 == 0: // a part goes
		for j := range i {
			if j%2 == 0 {
				out = append(out, Delete(Containers, fmt.Sprintf("c%d-0", j)))
			}
		}
	default:
		for j := range i % 4 * 3 {
			out = append(out, Put(Containers, fmt.Sprintf("c%d-%d", i, j), record{Name: fmt.Sprint(i), Text: strings.Repeat(string(rune('a'+i)), 100+700*(i%3))}))
		}
		out = append(out, Put(Containers, fmt.Sprintf("c%d-0", max(i-2, 1)), record{Name: "changed", Text: fmt.Sprint(i)}))
	}
	return out
}

// makeHistory is the recorded process.
func makeHistory(t *testing.T, path string) {
	s, _, err := Open(path, Options{CopyAfter: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for i := range historySteps {
		if err := s.Save(historyStep(i + 1)...); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(3, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// disk is what a disk may hold of one file.
type disk struct {
	t       *testing.T
	path    string
	making  string // the name under which the file is made
	there   bool   // it has its name
	durable []byte // holds whatever happens
	pending []event
	acked   int // Saves that have returned
	rng     *rand.Rand
	try     string // where states are opened

	writes, syncs, tried int
}

func newDisk(t *testing.T, path string) *disk {
	return &disk{t: t, path: path, making: path + newSuffix, rng: rand.New(rand.NewPCG(1, 2)), try: filepath.Join(t.TempDir(), "state.db")}
}

// happen is one more event. The power fails after it, in all ways.
func (d *disk) happen(ev event) {
	d.t.Helper()
	switch {
	case ev.op == "mark":
		d.acked++
	case ev.op == "rename" && ev.file == d.making:
		if len(d.pending) > 0 {
			d.t.Fatalf("the new file got its name with %d writes not synced", len(d.pending))
		}
		d.there = true
	case ev.file != d.path && (ev.file != d.making || d.there):
		return // the copy's
	case ev.op == "write" && ev.off < 0:
		d.t.Fatal("a write at the file's position: the recording knows nothing of it")
	case ev.op == "sync":
		for _, p := range d.pending {
			d.durable = p.apply(d.durable, len(p.data))
		}
		d.pending = nil
		d.syncs++
	default:
		d.pending = append(d.pending, ev)
		d.writes++
	}
	if !d.there {
		return // nothing has a name yet: see TestPowerLossAtTheFirstStart
	}
	d.fail()
}

// apply returns the content after the first n bytes of a write, or a truncation.
func (ev event) apply(content []byte, n int) []byte {
	if ev.op == "truncate" {
		return append(slices.Clone(content), make([]byte, max(0, int(ev.size)-len(content)))...)[:ev.size]
	}
	out := slices.Clone(content)
	if end := int(ev.off) + n; end > len(out) {
		out = append(out, make([]byte, end-len(out))...)
	}
	copy(out[ev.off:], ev.data[:n])
	return out
}

// sector is what a disk writes at once.
const sector = 512

// fail opens what the disk may hold when the power fails now.
func (d *disk) fail() {
	d.t.Helper()
	const most = 24 // ways that are tried of many
	ways := 1 << min(len(d.pending), 16)
	for i := range min(ways, most) {
		which := uint64(i)
		if ways > most {
			which = d.rng.Uint64()
		}
		d.open(which, -1, 0)
	}
	for torn, ev := range d.pending {
		if ev.op != "write" {
			continue
		}
		for range 4 {
			part := sector * d.rng.IntN(1+len(ev.data)/sector)
			d.open(d.rng.Uint64(), torn, part)
		}
		// All others there or none, and all but the last sector, or the first alone.
		d.open(^uint64(0), torn, len(ev.data)-sector)
		d.open(0, torn, sector)
	}
}

// open opens the disk with those of the pending writes that have a bit in which,
// one of them cut after part bytes.
func (d *disk) open(which uint64, torn, part int) {
	d.t.Helper()
	content := d.durable
	for i, ev := range d.pending {
		switch {
		case i == torn:
			content = ev.apply(content, part)
		case which>>i&1 == 1:
			content = ev.apply(content, len(ev.data))
		}
	}
	if err := os.WriteFile(d.try, content, 0o600); err != nil {
		d.t.Fatal(err)
	}
	d.tried++
	// Not Open: the copy must not be needed for this.
	s, err := open(d.try, time.Second)
	if err != nil {
		d.t.Fatalf("after save %d, with %b of %d writes, write %d cut at %d: %v", d.acked, which, len(d.pending), torn, part, err)
	}
	got, err := Load[record](s, Containers)
	if err := errors.Join(err, s.db.Close()); err != nil {
		d.t.Fatal(err)
	}
	if !maps.Equal(got, historyState(d.acked)) && !maps.Equal(got, historyState(d.acked+1)) {
		d.t.Fatalf("after save %d, with %b of %d writes, write %d cut at %d: a state that never was, of %d records", d.acked, which, len(d.pending), torn, part, len(got))
	}
}

// Before it is whole a new file has another name: whatever is there under it, the
// next start makes it anew, and nothing is told of damage.
func TestPowerLossAtTheFirstStart(t *testing.T) {
	whole := sample(t)
	for n := 0; n <= len(whole); n += len(whole) / 16 {
		path := filepath.Join(t.TempDir(), "state.db")
		if err := os.WriteFile(path+newSuffix, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, path)
		if got := mustLoad(t, s, Containers); len(got) != 0 {
			t.Fatalf("with %d bytes: %d records", n, len(got))
		}
		if _, err := os.Stat(path + newSuffix); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("with %d bytes: %v", n, err)
		}
	}
}
