package main

import (
	"fmt"

	"github.com/footbridge-net/footbridge/tests/world"
)

// load is how much goes over a path at the same time.
type load struct {
	family  family
	streams int // of each container
	boxes   int // containers
}

// one stream of one container, over IPv4: what the other loads are compared with.
var oneStream = load{ip4, 1, 1}

func (l load) String() string {
	switch {
	case l.boxes > 1:
		return fmt.Sprintf("%d containers", l.boxes)
	case l.streams > 1:
		return fmt.Sprintf("%d streams", l.streams)
	case l.family != ip4:
		return l.family.String()
	}
	return ""
}

// path is a way of the data.
type path struct {
	name      string
	systems   []string
	reverse   bool // who was connected to sends
	published bool
	// job is the client that has to do with container i of n.
	job func(b *bench, s system, mtu, i, n int, f family) (job, error)
}

// Systems by what they offer. RootlessKit's containers reach the outside by slirp4netns, which is there itself.
//
// What a container sends at once overflows the queue of pasta's device, of 500 frames, and then much less arrives. Nobody
// has a longer one who does not know of it: it is shown, beside what users of pasta have.
var (
	outside   = []string{footbridgeName, slirpName, pastaName, gvisorName}
	published = []string{footbridgeName, slirpName, pastaName, rootlesskitName, gvisorName}
	between   = []string{footbridgeName, kernelName}
	upwards   = []string{footbridgeName, slirpName, pastaName, longPastaName, gvisorName}
)

var paths = []path{
	{"container <-> container", between, false, false, toNeighbour},
	{"container -> host", upwards, false, false, toHost},
	{"host -> container", outside, true, false, toHost},
	{"published port, client -> container", published, false, true, toPublished(world.Client)},
	{"published port, container -> client", published, true, true, toPublished(world.Client)},
	{"published port, host's loopback -> container", published, false, true, toPublished(world.Host)},
	{"published port, container -> host's loopback", published, true, true, toPublished(world.Host)},
}

// bulkRows vary one thing at a time: all MTUs with one stream, and more streams, more containers and IPv6 at the
// smallest and at the largest.
func bulkRows() []row {
	var rows []row
	for _, p := range paths {
		for _, mtu := range mtus {
			loads := []load{oneStream}
			if mtu == mtus[0] || mtu == largeMTU {
				loads = append(loads, load{ip4, 4, 1}, load{ip4, 8, 1}, load{ip4, 1, maxBoxes}, load{ip6, 1, 1})
			}
			for _, l := range loads {
				rows = append(rows, bulkRow(p, mtu, l))
			}
		}
	}
	return rows
}

func bulkRow(p path, mtu int, l load) row {
	name := p.name
	if what := l.String(); what != "" {
		name += ", " + what
	}
	return row{
		group: p.name, name: name, mtu: mtu, unit: gbps, systems: p.systems,
		quick: l == oneStream && (mtu == mtus[0] || mtu == largeMTU),
		measure: func(b *bench, s system) (sample, error) {
			var jobs []job
			for i := range l.boxes {
				j, err := p.job(b, s, mtu, i, l.boxes, l.family)
				if err != nil {
					return sample{}, err
				}
				j.streams, j.reverse = l.streams, p.reverse
				jobs = append(jobs, j)
			}
			t, cpu, err := measured(func() (transfer, error) { return b.iperf(jobs...) })
			if err != nil {
				return sample{}, err
			}
			return sample{Value: t.gbps, CPU: cpu / (t.bytes / 1e9), Congestion: t.congestion, Aside: jobs[0].aside}, nil
		},
	}
}

// toNeighbour: each container sends to the next, the last one to the first. One alone sends to the second.
func toNeighbour(b *bench, s system, mtu, i, n int, f family) (job, error) {
	from, err := b.box(s, mtu, i)
	if err != nil {
		return job{}, err
	}
	to, err := b.box(s, mtu, (i+1)%max(n, 2))
	if err != nil {
		return job{}, err
	}
	if !to.address[f].IsValid() {
		return job{}, fmt.Errorf("%w: containers have no %v addresses of their own", errCannot, f)
	}
	return job{place: from.place, before: from.before, host: to.address[f].String(), port: iperfPort, probe: probePort, server: to.iperf}, nil
}

// toHost: each container connects to a server of its own on the host.
func toHost(b *bench, s system, mtu, i, _ int, f family) (job, error) {
	from, err := b.box(s, mtu, i)
	if err != nil {
		return job{}, err
	}
	if why := from.cannot[f]; why != "" {
		return job{}, fmt.Errorf("%w: %s", errCannot, why)
	}
	j := job{place: from.place, before: from.before, host: f.host(), port: iperfPort + i, probe: probePort, server: b.host[i]}
	if s.name() == longPastaName {
		j.aside = "the queue was made longer by hand"
	}
	return j, nil
}

// toPublished: clients on one machine, each connected to another container's port.
func toPublished(from world.Place) func(b *bench, s system, mtu, i, n int, f family) (job, error) {
	return func(b *bench, s system, mtu, i, _ int, f family) (job, error) {
		to, err := b.box(s, mtu, i)
		if err != nil {
			return job{}, err
		}
		if to.port[f] == 0 {
			return job{}, fmt.Errorf("%w: no port is published for %v", errCannot, f)
		}
		j := job{place: from, host: f.host(), port: to.port[f], probe: to.port[f] + probeOffset, server: to.iperf}
		if from == world.Host {
			j.host = f.loopback()
			return j, nil
		}
		kept, err := b.keeps(to, f)
		if !kept {
			j.aside = "it loses the client's address"
		}
		return j, err
	}
}

// udpRows: how many datagrams of 1400 bytes arrive in a second, at the highest rate at which hardly one is lost.
func udpRows() []row {
	var rows []row
	for _, p := range paths {
		if p.published {
			continue // TCP only
		}
		rows = append(rows, row{
			group: p.name, name: "UDP bulk, " + p.name, mtu: mtus[0], unit: perSecond, systems: p.systems,
			measure: func(b *bench, s system) (sample, error) {
				j, err := p.job(b, s, mtus[0], 0, 1, ip4)
				if err != nil {
					return sample{}, err
				}
				j.streams, j.reverse = 1, p.reverse
				rate, err := highest(udpStart, udpSteps, func(rate float64) (trial, error) {
					d, err := b.iperfUDP(j, rate)
					if err == nil && d.lost > lossAllowed {
						// Whatever else the machine does for a moment loses more than one of a thousand.
						d, err = b.iperfUDP(j, rate)
					}
					return trial{d.rate, d.lost <= lossAllowed, d.sent >= rate*0.95}, err
				})
				return sample{Value: rate, Aside: j.aside}, err
			},
		})
	}
	return rows
}

const (
	udpStart = 10_000 // datagrams a second, which every system carries
	udpSteps = 3      // of halving what lies between the last two rates: an eighth of an octave, 9 %
	// A receiver that is kept waiting for 2 ms finds its socket, which holds some hundred datagrams, overflown: even on a
	// loopback one of a thousand is lost from 40,000 a second on, so that such a bound measures pauses, not paths.
	lossAllowed = 0.005
)

// trial is what became of a rate.
type trial struct {
	arrived float64
	carried bool // without loss
	reached bool // by the sender, which can be the limit itself
}

// highest doubles a rate until it is not carried any more, and then looks for the border between the last two in steps. It
// returns what arrived at the best of those that were carried.
func highest(start float64, steps int, try func(rate float64) (trial, error)) (float64, error) {
	var best, low, high float64
	for rate := start; ; {
		t, err := try(rate)
		if err != nil {
			return 0, err
		}
		if t.carried {
			best, low = max(best, t.arrived), rate
		} else {
			high = rate
		}
		switch {
		case t.carried && !t.reached:
			return best, nil // nobody asks for more
		case high == 0:
			rate = 2 * low
		case steps == 0:
			return best, nil
		default:
			rate = (low + high) / 2
			steps--
		}
	}
}
