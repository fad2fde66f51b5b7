package lifecycle

import (
	"fmt"
	"math/rand/v2"
)

// How much there is of everything: so little that operations meet.
const (
	someContainers = 8
	someNetworks   = 6
)

// Mix says which operations a sequence is made of.
type Mix struct {
	// Faults are the steps of each operation during which one may happen; every FaultEvery-th operation has one.
	Faults     map[Kind][]string
	FaultEvery int
	Deadly     bool // every fault ends the daemon; else each third
	Weights    map[Kind]int
}

// often says how often operations are chosen, relative to each other.
var often = map[Kind]int{
	NetCreate: 20, NetRemove: 6, NetPrune: 1, Connect: 40, Disconnect: 25,
	Create: 50, Start: 70, Stop: 12, Kill: 8, Restart: 12, Rename: 8, Remove: 12, Prune: 2, Exec: 4,
	Publish: 20, Unpublish: 10,
	End: 12, EndShim: 6, Reopen: 12, Worker: 2, HostBind: 5, HostFree: 6, NSMake: 4, NSDrop: 2,
}

// kinds are the operations in a fixed order, for the sake of the seed.
var kinds = []Kind{
	NetCreate, NetRemove, NetPrune, Connect, Disconnect, Create, Start, Stop, Kill, Restart, Rename, Remove, Prune, Exec, Publish, Unpublish,
	End, EndShim, Reopen, Worker, HostBind, HostFree, NSMake, NSDrop,
}

// Generate returns the operations of a seed.
func Generate(seed uint64, count int, mix Mix) []Op {
	r := rand.New(rand.NewPCG(seed, 0x1f007))
	weights := mix.Weights
	if weights == nil {
		weights = often
	}
	total := 0
	for _, k := range kinds {
		total += weights[k]
	}
	ops := make([]Op, 0, count)
	m := NewModel()
	for i := range count {
		n := r.IntN(total)
		var kind Kind
		for _, k := range kinds {
			if n -= weights[k]; n < 0 {
				kind = k
				break
			}
		}
		// Mostly something that is not refused, as far as can be told beforehand.
		op := mix.generate(r, kind)
		for tries := r.IntN(someTries); tries > 0; tries-- {
			if class, _ := m.Expect(op); class == ok {
				break
			}
			op = mix.generate(r, kind)
		}
		_, m = m.Expect(op)
		m.guess(i)
		ops = append(ops, op)
	}
	return ops
}

// someTries is how often something else is chosen instead of what would be refused, at most.
const someTries = 40

// guess gives ids to what a stage has not given any.
func (m *Model) guess(serial int) {
	for _, n := range m.Nets {
		if n.ID == "" {
			n.ID = fmt.Sprint(n.Name, "-", serial)
		}
	}
	for _, c := range m.Ctrs {
		if c.ID == "" {
			c.ID = fmt.Sprint(c.Name, "-", serial)
		}
	}
}

func (mix Mix) generate(r *rand.Rand, kind Kind) Op {
	op := Op{Kind: kind, C: r.IntN(someContainers)}
	network := func() int { return min(r.IntN(someNetworks+2), someNetworks-1) }
	endpoint := func() {
		if r.IntN(4) == 0 {
			op.Static = []int{1, 2, 3, 4, 7, 9}[r.IntN(6)]
			op.Shape = 1 + r.IntN(2)
		}
		if r.IntN(4) == 0 {
			op.Alias = 1 + r.IntN(2)
		}
	}
	switch kind {
	case NetCreate:
		op.C, op.N, op.Shape = 0, []int{network()}, r.IntN(len(shapes))
	case NetRemove:
		op.C, op.N = 0, []int{network()}
	case Connect:
		op.N = []int{network()}
		endpoint()
	case Disconnect:
		op.N = []int{network()}
	case Create:
		op.Flag = r.IntN(4) == 0
		switch r.IntN(12) {
		case 0:
			op.Mode = "host"
		case 1:
			op.Mode = "none"
		case 2:
			op.Mode, op.Other = "container", r.IntN(someContainers)
		case 3:
			op.Mode = "ns"
		default:
			for range 1 + r.IntN(3)*r.IntN(2) {
				op.N = append(op.N, network())
			}
			endpoint()
			for range r.IntN(4) * r.IntN(2) {
				op.Ports = append(op.Ports, r.IntN(len(portSpecs)))
			}
		}
	case Remove:
		op.Flag = r.IntN(2) == 0
	case Rename:
		op.Other = r.IntN(someContainers)
	case Publish, Unpublish:
		for range 1 + r.IntN(3)*r.IntN(2) {
			op.Ports = append(op.Ports, r.IntN(len(portSpecs)))
		}
	case HostBind, HostFree:
		op.C, op.Ports = 0, []int{int(fixedPorts[r.IntN(len(fixedPorts))])}
	case NetPrune, Prune, Reopen, Worker, NSMake, NSDrop:
		op.C = 0
	}
	if faults := mix.Faults[kind]; len(faults) > 0 && mix.FaultEvery > 0 && r.IntN(mix.FaultEvery) == 0 {
		op.Fault, op.Nth = faults[r.IntN(len(faults))], 1+r.IntN(2)*r.IntN(3)
		op.Crash = r.IntN(3) == 0 || mix.Deadly
	}
	return op
}
