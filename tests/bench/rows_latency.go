package main

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/footbridge-net/footbridge/tests/bench/probe"
	"github.com/footbridge-net/footbridge/tests/world"
)

// question is a kind of the probe's measurements, and how it is asked.
type question struct {
	name string
	args []string
}

var questions = []question{
	{"TCP request/response", []string{"rr"}},
	{"connect+request+close, 1 at a time", []string{"crr"}},
	{"connect+request+close, 8 at a time", []string{"crr", "-parallel", "8"}},
	{"UDP echo", []string{"udprr"}},
}

// latencyRows are at the MTU at which the peers were measured before; a request of one byte does not feel it, but
// programs that keep a buffer for each frame do.
func latencyRows() []row {
	var rows []row
	for _, p := range paths {
		asked, families := questions, []family{ip4, ip6}
		switch {
		case p.reverse:
			continue // the same the other way round
		case p.published:
			asked, families = questions[:3], families[:1] // TCP only is published
		}
		// Nothing small overflows a queue.
		members := slices.DeleteFunc(slices.Clone(p.systems), func(name string) bool { return name == longPastaName })
		for _, q := range asked {
			for _, f := range families {
				name := q.name + ", " + p.name
				if f != ip4 {
					name += ", " + f.String()
				}
				rows = append(rows, row{
					group: p.name, name: name, mtu: largeMTU, unit: perSecond, quick: f == ip4 && !p.published, systems: members,
					measure: func(b *bench, s system) (sample, error) {
						j, err := p.job(b, s, largeMTU, 0, 1, f)
						if err != nil {
							return sample{}, err
						}
						to := net.JoinHostPort(j.host, strconv.Itoa(j.probe))
						got, err := b.probe(&box{place: j.place, before: j.before}, append(slices.Clone(q.args), "-to", to)...)
						got.Aside = j.aside
						return got, err
					},
				})
			}
		}
	}
	return rows
}

// nameRows ask the name server of a network for the name of a container.
func nameRows() []row {
	const underWay = 16 // as many as a busy resolver has; at 50,000 a second each takes 0.3 ms
	return []row{{
		group: "names", name: "name lookup, container names", unit: perSecond, quick: true, systems: []string{footbridgeName},
		measure: func(b *bench, s system) (sample, error) {
			from, err := b.box(s, largeMTU, 0)
			if err != nil {
				return sample{}, err
			}
			if _, err := b.box(s, largeMTU, 1); err != nil {
				return sample{}, err
			}
			server, err := b.do(world.Host, "footbridge network inspect -f '{{(index .IPAM.Config 0).Gateway}}' %s", footbridgeNet(largeMTU))
			if err != nil {
				return sample{}, err
			}
			return b.probe(from, "dns", "-to", net.JoinHostPort(server, "53"), "-name", footbridgeNet(largeMTU)+"-1",
				"-parallel", strconv.Itoa(underWay))
		},
	}}
}

// probe measures with the probe at some place.
func (b *bench) probe(at *box, args ...string) (sample, error) {
	command := append(slices.Clone(at.before), "timeout", strconv.Itoa(int((b.seconds + overtime).Seconds())), b.program, "probe")
	command = append(append(command, args...), "-time", b.seconds.String())
	r, cpu, err := measured(func() (world.Result, error) {
		r := b.w.Run(at.place, command...)
		return r, r.Err
	})
	var found probe.Result
	if err == nil {
		found, err = parseProbe(r.Stdout)
	}
	if err != nil {
		return sample{}, fmt.Errorf("%s: exit status %d: %w%s", strings.Join(command, " "), r.Code, err, suffix(r.Stderr))
	}
	s := sample{Value: found.Rate, CPU: cpu * 1e6 / float64(found.Ops), P50: found.P50, P99: found.P99}
	if found.Errors > 0 {
		s.Note = fmt.Sprintf("%d of %d failed: %s", found.Errors, found.Ops+found.Errors, found.Problem)
	}
	return s, nil
}

// parseProbe reads what a measurement of the probe's printed. One in which nothing worked is an error.
func parseProbe(text string) (probe.Result, error) {
	var r probe.Result
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return r, fmt.Errorf("the probe said no JSON: %w: %.200s", err, text)
	}
	if r.Ops == 0 || r.Rate <= 0 {
		return r, fmt.Errorf("nothing worked (%d errors%s)", r.Errors, suffix(r.Problem))
	}
	return r, nil
}
