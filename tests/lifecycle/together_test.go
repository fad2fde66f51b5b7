package lifecycle

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
)

// How many clients ask at once, how often each, before everything has to be whole.
const (
	clients   = 6
	perClient = 40
	rounds    = 12
)

// Several clients at once, and ends of containers and of the daemon: nobody can say what there should be then, but
// what there is has no contradictions, agrees with what is below, and is found again by the next daemon.
func TestClientsAtOnce(t *testing.T) {
	first := seed(t)
	s, err := newMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mix := Mix{Weights: map[Kind]int{}}
	for k, n := range often {
		mix.Weights[k] = n
	}
	for _, k := range []Kind{Reopen, Worker, End, EndShim, HostBind, HostFree, NSMake, NSDrop} {
		mix.Weights[k] = 0 // done below, or without an API
	}
	for round := range uint64(rounds) {
		var all sync.WaitGroup
		for c := range uint64(clients) {
			ops := Generate(first+round*clients+c, perClient, mix)
			all.Go(func() {
				for i, op := range ops {
					err := ask(t.Context(), s.engine, op, s.namespace(0))
					if errdefs.IsInternal(err) {
						t.Errorf("seed %d, client %d, %v: %v", first, c, op, err)
					}
					if i%8 == 7 {
						s.endOne(i)
					}
				}
			})
		}
		all.Wait()
		when := fmt.Sprintf("seed %d, after round %d", first, round)
		before := s.whole(t, when)
		if _, err := s.Do(t.Context(), Op{Kind: Reopen}, before); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		before.reopen()
		if _, bad := settle(t.Context(), s, before.judge); len(bad) > 0 {
			t.Fatalf("%s, and a restart: %v\n%v", when, bad, s.log)
		}
	}
	if bad := s.Clean(t.Context()); len(bad) > 0 {
		t.Fatalf("seed %d: %v", first, bad)
	}
}

// endOne ends the command of some container.
func (s *memory) endOne(which int) {
	s.mu.Lock()
	var victim *process
	for _, p := range s.procs {
		if which--; which%3 == 0 {
			victim = p
		}
	}
	s.mu.Unlock()
	if victim != nil && !victim.status().StartedAt.IsZero() {
		victim.end(true, 3)
	}
}

// whole waits until what the API shows has no contradictions and agrees with what is below it, and returns that.
func (s *memory) whole(t *testing.T, when string) *Model {
	t.Helper()
	m, bad := settle(t.Context(), s, func(v view) (*Model, []string) { return modelOf(v), v.contradictions() })
	if len(bad) > 0 {
		t.Fatalf("%s: %v\n%v", when, bad, s.log)
	}
	return m
}

// modelOf is the model that has nothing to say against a view.
func modelOf(v view) *Model {
	m := NewModel()
	m.Nets = map[string]*Net{}
	for name, in := range v.Nets {
		n := &Net{Name: name, ID: in.ID, Predefined: name == "bridge", Shape: shape{internal: in.Internal, only6: true}}
		for _, c := range in.IPAM.Config {
			if c.Subnet.Addr().Is4() {
				n.V4, n.Shape.only6 = c.Subnet, false
			} else {
				n.V6, n.Shape.dual = c.Subnet, true
			}
		}
		m.Nets[name] = n
	}
	for name, in := range v.Ctrs {
		c := &Ctr{Name: name, ID: in.ID, AutoRm: in.HostConfig.AutoRemove, Status: string(in.State.Status), Bound: boundOf(in)}
		for _, s := range portSpecs {
			p, b := s.wish()
			if slices.Contains(in.HostConfig.PortBindings[p], b) {
				c.Ports = append(c.Ports, s)
			}
		}
		for _, a := range attsOf(in) {
			c.Atts = append(c.Atts, a)
		}
		m.Ctrs[name] = c
	}
	return m
}
