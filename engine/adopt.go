package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/engine/store"
)

// copyName is the file in a running container's runtime directory with its
// definition: the state file can be damaged or lost, and the container lives.
const copyName = "config.json"

// maxCopy bounds what is read of one; a definition has some kilobytes.
const maxCopy = 4 << 20

// definitions are a container's, and its networks'.
type definitions struct {
	Container *ContainerDef
	Networks  []*NetworkDef
}

// stray is a container that lives, and that nothing is known of.
type stray struct {
	dir   string
	cause error
}

// keepCopy writes the definitions of a running container to its runtime
// directory. That there is none is no harm as long as the state file is well.
func (e *Engine) keepCopy(def *ContainerDef) {
	if !def.running() {
		return
	}
	d := definitions{Container: def}
	e.mu.Lock()
	for _, a := range def.Attachments {
		if n := e.networks[a.NetworkID]; n != nil {
			n := n.def
			d.Networks = append(d.Networks, &n)
		}
	}
	e.mu.Unlock()
	b, err := json.Marshal(d)
	if err == nil {
		err = store.WriteFile(filepath.Join(e.runtimeDir(def.ID), copyName), b)
	}
	if err != nil {
		e.log.Warn("copy of a container's definition not written", "container", def.Name, "error", err)
	}
}

// readCopy reads what keepCopy wrote for the container of dir.
func readCopy(dir string) (*definitions, error) {
	name := filepath.Join(dir, copyName)
	b, err := readOwn(name, maxCopy)
	if err != nil {
		return nil, err
	}
	var d definitions
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c := d.Container
	if c == nil || !validID(c.ID) || short(c.ID) != filepath.Base(dir) || !validName(c.Name) || !c.running() ||
		slices.ContainsFunc(d.Networks, func(n *NetworkDef) bool { return n == nil || !validID(n.ID) || !validName(n.Name) }) {
		return nil, fmt.Errorf("%s is not the definition of this container", name)
	}
	return &d, nil
}

func validID(id string) bool {
	return len(id) == 64 && strings.Trim(id, "0123456789abcdef") == ""
}

// adoptAll looks through the runtime folder for containers without a record: the
// state file was damaged, removed or replaced by an older one. Those that live
// are known again by the copies of their definitions; where that cannot be they
// are left alone and told of. What is left of others is cleared away. It runs
// before anything else is known to be missing.
func (e *Engine) adoptAll() {
	if e.damage != nil {
		e.preferCopies()
	}
	known := map[string]bool{}
	for _, c := range e.allContainers() {
		known[short(c.def.ID)] = true
	}
	folder := filepath.Join(e.opts.RuntimeDir, "c")
	entries, err := os.ReadDir(folder)
	if err != nil {
		e.log.Warn("containers without a record not looked for", "error", err)
	}
	entries = slices.DeleteFunc(entries, func(entry os.DirEntry) bool { return known[entry.Name()] })
	dead := make([]bool, len(entries))
	causes := make([]error, len(entries))
	inParallel(entries, func(i int, entry os.DirEntry) {
		dead[i], causes[i] = e.clearDead(filepath.Join(folder, entry.Name()))
	})
	for i, entry := range entries {
		if dead[i] {
			continue
		}
		// One that does not answer is known again all the same: it is asked until
		// it does, as any other.
		dir := filepath.Join(folder, entry.Name())
		def, err := e.adopt(dir)
		if err == nil {
			e.log.Warn("container without a record taken over", "container", def.Name, "id", def.ID)
			e.notices = append(e.notices, fmt.Sprintf("container %s (%s) runs and had no record in the state file: it was taken over", def.Name, short(def.ID)))
			continue
		}
		s := &stray{dir, errors.Join(err, causes[i])}
		e.strays = append(e.strays, s)
		w := s.warning()
		e.log.Error(w.Text, "remedy", w.Remedy)
	}
}

// preferCopies brings the records that an older state file has of containers up to
// date by the copies in their runtime directories, which are of their last change.
func (e *Engine) preferCopies() {
	for _, c := range e.allContainers() {
		id := c.def.ID
		e.mu.Lock()
		e.strike(c)
		e.mu.Unlock()
		if _, err := e.adopt(e.runtimeDir(id)); err != nil {
			e.mu.Lock()
			e.enroll(c)
			e.mu.Unlock()
		}
	}
}

// clearDead removes the runtime directory of a container that certainly does not
// live. An error means that the container does not say whether it does.
func (e *Engine) clearDead(dir string) (dead bool, err error) {
	ctx, cancel := context.WithTimeout(e.ctx, firstLook)
	defer cancel()
	if def := foreignIn(dir); def != nil {
		_, err := e.findForeign(def)
		if errors.Is(err, errEnded) {
			return true, os.RemoveAll(dir)
		}
		return false, err
	}
	p, err := e.opts.Runtime.Connect(ctx, dir)
	if err == nil {
		var state shim.State
		state, err = p.State(ctx)
		if err != nil || state.Status == shim.Running {
			_ = p.Close() // it lives on
		} else if err = p.Remove(ctx); err == nil { // it never started, or has ended
			err = errEnded
		}
	}
	if err != nil && !errors.Is(err, errEnded) {
		err = e.judge(traceIn(dir), err)
	}
	if !errors.Is(err, errEnded) {
		return false, err
	}
	if err := os.RemoveAll(dir); err != nil {
		e.log.Warn("leftovers not removed", "error", err)
	}
	return true, nil
}

// adopt makes the container of dir known by the copy of its definition, or says
// why it cannot be.
func (e *Engine) adopt(dir string) (*ContainerDef, error) {
	d, err := readCopy(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("there is no copy of its definition")
	}
	if err != nil {
		return nil, err
	}
	def := d.Container
	e.mu.Lock() // also while the disk is waited for: nobody is served yet
	defer e.mu.Unlock()
	var added []*netw
	for _, n := range d.Networks {
		id, err := e.counterpart(n)
		if err != nil {
			return nil, err
		}
		if id == "" {
			id = n.ID
			made, err := newNetwork(n)
			if err != nil {
				return nil, fmt.Errorf("its network %s: %w", n.Name, err)
			}
			added = append(added, made)
		}
		if a := def.attachment(n.ID); a != nil {
			a.NetworkID, a.Network = id, n.Name
		}
	}
	if e.named(def.Name) != nil {
		def.Name += "_" + short(def.ID)
	}
	changes := []store.Change{store.Put(store.Containers, def.ID, def)}
	for _, n := range added {
		changes = append(changes, store.Put(store.Networks, n.def.ID, n.def))
	}
	if err := e.store.Save(changes...); err != nil {
		return nil, err
	}
	for _, n := range added {
		e.networks[n.def.ID] = n
	}
	e.enroll(&ctr{def: def})
	return def, nil
}

// counterpart returns the id of the network that is def, "" if there is none
// and it can be added. An error says what stands in the way; e.mu is held.
func (e *Engine) counterpart(def *NetworkDef) (string, error) {
	if _, ok := e.networks[def.ID]; ok {
		return def.ID, nil
	}
	for _, n := range e.networks {
		same := slices.EqualFunc(n.def.Subnets, def.Subnets, func(a, b SubnetDef) bool { return a.Prefix == b.Prefix && a.Gateway == b.Gateway })
		if n.def.Name == def.Name && same && n.def.Internal == def.Internal {
			return n.def.ID, nil
		}
		if n.def.Name == def.Name {
			return "", fmt.Errorf("there is another network %s now than the one it was on", def.Name)
		}
		for _, s := range n.def.Subnets {
			for _, t := range def.Subnets {
				if s.Prefix.Overlaps(t.Prefix) {
					return "", fmt.Errorf("its network %s (%v) overlaps network %s (%v)", def.Name, t.Prefix, n.def.Name, s.Prefix)
				}
			}
		}
	}
	return "", nil
}

func (s *stray) warning() api.Warning {
	id := filepath.Base(s.dir)
	return api.Warning{
		Text: fmt.Sprintf("container %s lives without a record and could not be taken over (%v): it is left alone, and has no network", id, s.cause),
		// By the shim, which is called after its container and takes it along.
		Remedy: fmt.Sprintf("end it with: pkill -f '^footbridge-shim %s'", id),
	}
}

// damageNotice tells of a state file that was set aside.
func damageNotice(d *store.Damage, stateDir string) string {
	const most = 300 // of a cause that may list every page
	cause := strings.Join(strings.Fields(d.Cause.Error()), " ")
	if len(cause) > most {
		cause = cause[:most] + "..."
	}
	lost := "networks and containers that did not run are forgotten"
	if !d.Restored.IsZero() {
		lost = fmt.Sprintf("its copy of %s is used: what changed after that and did not run is as it was then", d.Restored.Local().Format(time.RFC3339))
	}
	return fmt.Sprintf("%s: it is kept as %s, and %s; logs are kept in %s", cause, d.Path, lost, filepath.Join(stateDir, "containers"))
}

// Notices are what the user should be told once about this engine's start.
func (e *Engine) Notices() []string {
	out := slices.Clone(e.notices)
	for _, s := range e.strays {
		w := s.warning()
		out = append(out, w.Text+": "+w.Remedy)
	}
	return out
}

// warnings are what the user should do something about, now.
func (e *Engine) warnings() []api.Warning {
	out := slices.Concat(Leftovers(e.opts.StateDir), e.waiting, e.flawWarnings())
	alive := make([]bool, len(e.strays))
	inParallel(e.strays, func(i int, s *stray) { alive[i] = e.lives(s.dir) })
	for i, s := range e.strays {
		if alive[i] {
			out = append(out, s.warning())
		}
	}
	return out
}

// Leftovers tells of damaged state files that were set aside in a state folder.
func Leftovers(stateDir string) []api.Warning {
	files, err := filepath.Glob(filepath.Join(globLiteral(stateDir), stateFile+".damaged-*"))
	if err != nil {
		return nil // a bad pattern only
	}
	var out []api.Warning
	for _, f := range files {
		out = append(out, api.Warning{
			Text:   fmt.Sprintf("a damaged state file was set aside as %s: networks and containers that did not run then may be forgotten, or be as they were some time before; logs are kept in %s", f, filepath.Join(stateDir, "containers")),
			Remedy: "look whether something is missing and make it again; then remove that file",
		})
	}
	return out
}

// globLiteral makes a path a pattern for itself.
func globLiteral(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// removedSuffix marks the log folder of a container that is being removed, so
// that a removal that was cut off is told from a lost record.
const removedSuffix = ".removed"

// sweepLogs ends removals that were cut off. Log folders of containers that
// nothing is known of are kept: the state file may be what is wrong.
func (e *Engine) sweepLogs() {
	folder := filepath.Join(e.opts.StateDir, "containers")
	marked, err := filepath.Glob(filepath.Join(globLiteral(folder), "*"+removedSuffix))
	if err != nil {
		return // a bad pattern only
	}
	for _, path := range marked {
		err := os.ErrExist
		if whole := strings.TrimSuffix(path, removedSuffix); e.containers[filepath.Base(whole)] != nil {
			err = os.Rename(path, whole) // the record was not removed any more
		}
		if err != nil {
			err = os.RemoveAll(path)
		}
		if err != nil {
			e.log.Warn("logs of a removed container are left", "error", err)
		}
	}
}
