package main

import (
	"fmt"
	"regexp"
)

// target is what is expected of footbridge in the rows whose title matches.
type target struct {
	rows  string
	check check
}

// check looks at a row; ok is false where there is nothing to be judged.
type check func(r *report, row *rowResult) (v verdict, ok bool)

// verdict is one expectation and what became of it.
type verdict struct {
	Want  string  `json:"want"`
	Ratio float64 `json:"ratio,omitempty"` // that is wanted, to the row's best peer
	Got   float64 `json:"got"`
	Met   bool    `json:"met"`
}

const (
	small = `, MTU 1500$`
	large = `, MTU 65520$`
	// kinds of load that a target holds for besides one stream
	anyFamily = `(, IPv6)?`
)

// targets is the one place where it is said how fast footbridge has to be. Ratios are those of the rows' best peer, if
// none is named.
var targets = []target{
	{`^container <-> container` + anyFamily + large, atLeast(0.55, "")},
	{`^container <-> container` + anyFamily + small, atLeast(0.5, "")},
	{`^container <-> container, 4 streams`, atLeast(0.6, "")},
	{`^container -> host` + anyFamily + large, atLeast(1.25, "")},
	{`^container -> host` + anyFamily + small, atLeast(9, "")},
	{`^host -> container` + anyFamily + large, atLeast(0.9, "")},
	{`^host -> container` + anyFamily + small, atLeast(3, "")},
	{`^published port, (client -> container|container -> client)` + large, atLeast(1.6, slirpName)},
	{`^published port, (client -> container|container -> client)` + small, atLeast(3, slirpName)},
	{`^published port, (host's loopback -> container|container -> host's loopback)` + anyFamily + `, MTU`, atLeast(0.9, pastaName)},
	{`, (4|8) streams, MTU|, 4 containers, MTU`, notBelowOneStream},

	{`^(TCP request/response|UDP echo), container <-> container`, atLeast(0.5, "")},
	{`^connect\+request\+close, .*, container <-> container`, atLeast(0.55, "")},
	{`^(TCP request/response|UDP echo|connect\+request\+close, .*), container <-> container`, p99AtMostTimesPeer(2, kernelName)},
	{`^(TCP request/response|UDP echo|connect\+request\+close, .*), container -> host`, atLeast(1, "")},
	{`^TCP request/response, container -> host`, p99AtMostTimesP50(2)},
	{`^UDP bulk, (container -> host|host -> container)`, atLeast(1.5, "")},

	{`^name lookup`, valueAtLeast(50_000)},
	{`^name lookup`, p99AtMost(1000)},

	{`^attach, `, valueAtMost(15)},
	{`^memory, daemon`, valueAtMost(40)},
	{`^memory, each idle container`, valueAtMost(0.5)},
	{`^memory, each idle NATed flow`, valueAtMost(30)},
	{`^wake-ups`, valueAtMost(0)},
}

// judge applies all targets.
func (r *report) judge() {
	for _, row := range r.Rows {
		row.Verdicts = nil
		for _, t := range targets {
			if !regexp.MustCompile(t.rows).MatchString(row.Title) {
				continue
			}
			if v, ok := t.check(r, row); ok {
				row.Verdicts = append(row.Verdicts, v)
			}
		}
	}
}

// atLeast compares with a peer, or with the best where none is named.
func atLeast(ratio float64, peer string) check {
	return func(_ *report, row *rowResult) (verdict, bool) {
		got, v := row.Ratio.Median, verdict{Want: fmt.Sprintf("≥ %g x", ratio), Ratio: ratio}
		if peer != "" {
			got = row.ratioTo(peer).Median
			v.Want += " " + peer
			if peer != row.Best {
				v.Ratio = 0
			}
		}
		v.Got, v.Met = got, got >= ratio
		return v, got > 0
	}
}

// noise is how far two medians of the same may lie apart from one run to the next.
const noise = 0.05

// notBelowOneStream compares the total of several streams or containers with one stream of one container.
func notBelowOneStream(r *report, row *rowResult) (verdict, bool) {
	base := regexp.MustCompile(`, \d+ (streams|containers)`).ReplaceAllString(row.Title, "")
	for _, other := range r.Rows {
		if other.Title != base {
			continue
		}
		got := summarize(pairs(row.values(footbridgeName), other.values(footbridgeName))).Median
		return verdict{Want: "≥ 1 x one stream", Got: got, Met: got >= 1-noise}, got > 0
	}
	return verdict{}, false
}

func p99AtMostTimesP50(factor float64) check {
	return func(_ *report, row *rowResult) (verdict, bool) {
		c := row.cell(footbridgeName)
		if c == nil || c.P50 == 0 {
			return verdict{}, false
		}
		got := c.P99 / c.P50
		return verdict{Want: fmt.Sprintf("p99 ≤ %g x p50", factor), Got: got, Met: got <= factor}, true
	}
}

func p99AtMostTimesPeer(factor float64, peer string) check {
	return func(_ *report, row *rowResult) (verdict, bool) {
		ours, theirs := row.cell(footbridgeName), row.cell(peer)
		if ours == nil || theirs == nil || ours.P99 == 0 || theirs.P99 == 0 {
			return verdict{}, false
		}
		got := ours.P99 / theirs.P99
		return verdict{Want: fmt.Sprintf("p99 ≤ %g x %s's", factor, peer), Got: got, Met: got <= factor}, true
	}
}

func p99AtMost(us float64) check {
	return func(_ *report, row *rowResult) (verdict, bool) {
		c := row.cell(footbridgeName)
		if c == nil || c.P99 == 0 {
			return verdict{}, false
		}
		return verdict{Want: fmt.Sprintf("p99 ≤ %g µs", us), Got: c.P99, Met: c.P99 <= us}, true
	}
}

// valueAtLeast compares with a fixed figure, in the row's unit.
func valueAtLeast(value float64) check {
	return func(_ *report, row *rowResult) (verdict, bool) {
		c := row.cell(footbridgeName)
		if c == nil || len(c.Samples) == 0 {
			return verdict{}, false
		}
		return verdict{Want: "≥ " + figure(value) + " " + row.Unit, Got: c.Value.Median, Met: c.Value.Median >= value}, true
	}
}

// valueAtMost compares with a fixed figure, in the row's unit.
func valueAtMost(value float64) check {
	return func(_ *report, row *rowResult) (verdict, bool) {
		c := row.cell(footbridgeName)
		if c == nil || len(c.Samples) == 0 {
			return verdict{}, false
		}
		return verdict{Want: "≤ " + figure(value) + " " + row.Unit, Got: c.Value.Median, Met: c.Value.Median <= value}, true
	}
}
