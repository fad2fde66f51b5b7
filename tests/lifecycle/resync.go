package lifecycle

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
)

// resync makes the model agree with what an operation left that a fault, or the end of the daemon, came into. before
// and after are the models without it and with it. What the operation is not about must be as it was.
func resync(before, after *Model, op Op, v view) (*Model, []string) {
	if op.Crash || op.Kind == Reopen {
		before, after = before.Clone(), after.Clone()
		before.reopen()
		after.reopen()
	}
	m := after.Clone()
	m.Nets, m.Ctrs = map[string]*Net{}, map[string]*Ctr{}
	var bad []string
	for _, name := range union(before.Nets, after.Nets, v.Nets) {
		was, will := before.Nets[name], after.Nets[name]
		in, there := v.Nets[name]
		if !there {
			if was != nil && will != nil {
				bad = append(bad, fmt.Sprintf("network %s is missing", name))
			}
			continue
		}
		var why []string
		for _, want := range []*Net{was, will} {
			if want == nil || m.Nets[name] != nil {
				continue
			}
			n, worse := matchNet(want, in)
			if why = append(why, worse...); len(worse) == 0 {
				m.Nets[name] = n
			}
		}
		if m.Nets[name] == nil {
			bad = append(append(bad, fmt.Sprintf("network %s is neither as before nor as after", name)), why...)
		}
	}
	for _, name := range union(before.Ctrs, after.Ctrs, v.Ctrs) {
		was, will := before.Ctrs[name], after.Ctrs[name]
		in, there := v.Ctrs[name]
		if !there {
			// A container with --rm whose start was cut off goes; of two names one is gone.
			if was != nil && will != nil && !op.cutOff(was) {
				bad = append(bad, fmt.Sprintf("container %s is missing", name))
			}
			continue
		}
		c, why := resyncCtr(m, was, will, op, in)
		if c == nil {
			bad = append(append(bad, fmt.Sprintf("container %s is neither as before nor as after", name)), why...)
			continue
		}
		m.Ctrs[name] = c
	}
	return m, append(bad, v.contradictions()...)
}

// cutOff: the operation may have ended in the middle of removing the container.
func (op Op) cutOff(c *Ctr) bool { return op.about(c.Name) && c.AutoRm }

// about says whether the operation may change a container.
func (op Op) about(name string) bool {
	switch op.Kind {
	case NetCreate, NetRemove, NetPrune, HostBind, HostFree, NSMake, NSDrop, Worker, Reopen, Prune, Exec:
		return false
	}
	return name == ctrName(op.C) || op.Kind == Rename && name == ctrName(op.Other)
}

func resyncCtr(m *Model, was, will *Ctr, op Op, in container.InspectResponse) (*Ctr, []string) {
	var why []string
	for _, want := range []*Ctr{was, will} {
		if want == nil {
			continue
		}
		c, bad := matchCtr(m, want, in)
		if why = append(why, bad...); len(bad) == 0 {
			return c, nil
		}
	}
	if !op.about(strings.TrimPrefix(in.Name, "/")) {
		return nil, why
	}
	// In between: ended and not started again, connected and not published, or only led to networks that came instead.
	for _, want := range []*Ctr{was, will} {
		if want == nil {
			continue
		}
		c := *want
		c.Atts = slices.Clone(want.Atts)
		m.follow(&c)
		c.Status = string(in.State.Status)
		if have := boundOf(in); c.running() {
			c.Bound = have
		} else {
			c.Out, c.Bound = false, nil
		}
		for i, a := range c.Atts {
			c.Atts[i] = Att{NetID: a.NetID, Net: a.Net, Static: a.Static, Alias: a.Alias}
		}
		learned, bad := matchCtr(m, &c, in)
		if why = append(why, bad...); len(bad) == 0 && c.whole(m) {
			return learned, nil
		}
	}
	return nil, why
}

// whole: what is bound is all that was asked for, or nothing.
func (c *Ctr) whole(m *Model) bool {
	wanted := 0
	for _, s := range c.Ports {
		wanted += len(s.hosts())
	}
	switch {
	case !c.running():
		return len(c.Bound) == 0
	case len(c.Bound) == 0:
		c.Out = false
		return true
	}
	c.Out = m.outward(c)
	return c.Out && len(c.Bound) == wanted
}

func union[A, B, C any](a map[string]A, b map[string]B, c map[string]C) []string {
	all := map[string]bool{}
	for k := range a {
		all[k] = true
	}
	for k := range b {
		all[k] = true
	}
	for k := range c {
		all[k] = true
	}
	return slices.Sorted(maps.Keys(all))
}
