package lifecycle

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/tests/world"
)

// Check implements Stage.
func (d *daemon) Check(m *Model, _ view) (bad []string) {
	fail := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	// Listeners: exactly those of the running containers.
	left := d.listeners()
	maps.DeleteFunc(left, func(l string, _ bool) bool { return d.before[l] })
	shims := map[string]bool{}
	r := d.world.Run(world.Host, "pgrep", "-a", "-f", "^footbridge-shim")
	for line := range strings.Lines(r.Stdout) {
		if f := strings.Fields(line); len(f) > 2 {
			shims[f[2]] = true
		}
	}
	for _, c := range m.sorted() {
		for _, b := range c.Bound {
			if l := b.hostPort.String(); !left[l] {
				fail("nobody listens at %s, %s's port %v", l, c.Name, b)
			} else {
				delete(left, l)
			}
		}
		if c.running() != shims[c.ID] {
			fail("container %s is %s, and has a shim: %v", c.Name, c.Status, shims[c.ID])
		}
		delete(shims, c.ID)
	}
	for l := range left {
		fail("somebody listens at %s", l)
	}
	for id := range shims {
		fail("the shim of container %.12s is left", id)
	}
	bad = append(bad, checkFolders(m, d.runtimeDir(), filepath.Join(d.dir, "state", "footbridge"))...)
	if d.checks++; d.checks%insideEvery == 0 && len(bad) == 0 {
		bad = d.checkInside(context.Background(), m)
		if len(bad) > 0 {
			d.checks-- // asked again at once
		}
	}
	return bad
}

// insideEvery is how often all containers are looked into, which takes a process for each question.
const insideEvery = 20

// listeners are what listens on the host.
func (d *daemon) listeners() map[string]bool {
	out := map[string]bool{}
	for _, proto := range []string{"tcp", "udp"} {
		wanted := map[string]string{"tcp": "0A", "udp": "07"}[proto]
		r := d.world.Run(world.Host, "cat", "/proc/net/"+proto, "/proc/net/"+proto+"6")
		for line := range strings.Lines(r.Stdout) {
			f := strings.Fields(line)
			if len(f) < 4 || f[3] != wanted {
				continue
			}
			if at, ok := procAddress(f[1]); ok {
				out[hostPort{proto, at.Addr(), at.Port()}.String()] = true
			}
		}
	}
	return out
}

// procAddress reads an address of /proc/net: words of four bytes in the machine's order, and the port.
func procAddress(text string) (netip.AddrPort, bool) {
	address, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(address)
	n, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil {
		return netip.AddrPort{}, false
	}
	for i := 0; i+4 <= len(b); i += 4 {
		slices.Reverse(b[i : i+4])
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a, uint16(n)), ok
}

// checkInside looks into the containers: interfaces, and what names lead to.
func (d *daemon) checkInside(ctx context.Context, m *Model) (bad []string) {
	fail := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	for _, c := range m.sorted() {
		if !c.running() || c.Mode != "" {
			continue
		}
		out, err := d.exec(ctx, c, "sh", "-c", "tail -n +3 /proc/net/dev | wc -l")
		if err != nil || out != fmt.Sprint(len(c.Atts)+1) {
			fail("container %s is on %d networks and has %s interfaces, lo among them (%v)", c.Name, len(c.Atts), out, err)
		}
		for _, a := range c.Atts {
			n := m.net(a.NetID)
			if n.Predefined {
				continue
			}
			for _, other := range m.members(n.ID) {
				o := other.att(n.ID)
				if !o.V4.IsValid() || others(c, other) {
					continue
				}
				out, err := d.exec(ctx, c, "dig", "+short", "+tries=2", "+time=2", other.Name, "A")
				if err != nil || out != o.V4.String() {
					fail("in %s the name %s leads to %q (%v), should to %v", c.Name, other.Name, out, err, o.V4)
				}
			}
		}
	}
	return bad
}

// others: the two share more than one network, so a name has more than one address, in no order.
func others(a, b *Ctr) bool {
	shared := 0
	for _, at := range a.Atts {
		if b.att(at.NetID) != nil {
			shared++
		}
	}
	return shared > 1
}

// Clean implements Stage.
func (d *daemon) Clean(ctx context.Context) (bad []string) {
	if bad := removeAll(ctx, d.client); len(bad) > 0 {
		return bad
	}
	if d.holder != nil {
		d.holder.Kill()
		_, _ = d.holder.Wait() // killed, or gone before
		d.holder, d.namespaces = nil, nil
	}
	_, bad = settle(ctx, d, func(v view) (*Model, []string) { return NewModel().judge(v) })
	return bad
}

// Within bounds of a daemon that has done everything once before: what is not given back grows from time to time.
const (
	moreGoroutines  = 3
	moreDescriptors = 3
	moreMemory      = 32 << 20 // bytes; the collector's, not the program's
)

// Grown compares what the daemon uses with what it used before the same work.
func (d *daemon) Grown(ctx context.Context) (bad []string) {
	grown := func() []string {
		s, err := d.client.Status(ctx)
		if err != nil {
			return []string{err.Error()}
		}
		var bad []string
		for _, x := range []struct {
			who       string
			was, have api.ProcessStatus
		}{{"keeper", d.fresh.keeper, s.Keeper}, {"worker", d.fresh.worker, s.Worker.ProcessStatus}} {
			if x.have.Goroutines > x.was.Goroutines+moreGoroutines || x.have.Descriptors > x.was.Descriptors+moreDescriptors || x.have.Memory > x.was.Memory+moreMemory {
				bad = append(bad, fmt.Sprintf("%s: %d goroutines, %d descriptors, %d bytes; before %d, %d, %d", x.who,
					x.have.Goroutines, x.have.Descriptors, x.have.Memory, x.was.Goroutines, x.was.Descriptors, x.was.Memory))
			}
		}
		return bad
	}
	world.Poll(10*time.Second, func() bool { bad = grown(); return len(bad) == 0 })
	return bad
}

// Mark remembers what the daemon uses now.
func (d *daemon) Mark(ctx context.Context) error {
	s, err := d.client.Status(ctx)
	d.fresh = use2{s.Keeper, s.Worker.ProcessStatus}
	return err
}

// checkFolders looks for files of what is no more, and for files that were half made.
func checkFolders(m *Model, run, state string) (bad []string) {
	running, known := map[string]bool{}, map[string]bool{}
	for _, c := range m.Ctrs {
		known[c.ID] = true
		running[c.ID[:12]] = c.running()
	}
	for _, x := range []struct {
		dir  string
		with map[string]bool
	}{{filepath.Join(run, "c"), running}, {filepath.Join(state, "containers"), known}} {
		entries, err := os.ReadDir(x.dir)
		if err != nil {
			bad = append(bad, err.Error())
		}
		for _, e := range entries {
			if !x.with[e.Name()] {
				bad = append(bad, fmt.Sprintf("%s is left", filepath.Join(x.dir, e.Name())))
			}
		}
	}
	for _, d := range []string{run, state} {
		_ = filepath.WalkDir(d, func(path string, e os.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".new") && !strings.HasSuffix(path, ".bak.new") {
				bad = append(bad, fmt.Sprintf("%s was half made and is left", path))
			}
			return nil // what goes away meanwhile is not left
		})
	}
	return bad
}
