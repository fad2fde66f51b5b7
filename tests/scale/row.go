package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// row is one kind of "much" and what is measured there.
type row struct {
	name  string
	about string
	run   func(s *stage, r *result) error
}

// rows are in the order of the table.
var rows = []row{
	{"crowd", "many containers on many networks of one daemon", crowd},
	{"flows", "many idle connections at once, of each kind", manyFlows},
	{"burst", "memory after a burst of traffic", burst},
	{"idle", "wake-ups without traffic", idle},
	{"path", "a long way with losses, and one with a large window", longPath},
	{"deaf", "beside those who do not read, or read slowly", deaf},
	{"shout", "beside many who broadcast", shouting},
	{"spin", "connections and sockets that nobody serves", spin},
	{"streams", "several streams and several containers at once", streams},
}

// check is one figure and its bound.
type check struct {
	What  string
	Value float64
	Unit  string
	Bound float64 // 0 with neither Most nor Least: only told
	Least bool    // Value must be at least Bound
	Most  bool    // at most
	Told  bool    `json:",omitempty"` // the bound is shown, and does not decide
	Note  string  `json:",omitempty"`
}

// good reports whether c has kept its bound, or has none that decides.
func (c check) good() bool { return c.Told || c.kept() }

func (c check) kept() bool {
	switch {
	case math.IsNaN(c.Value):
		return !c.Least && !c.Most
	case c.Least:
		return c.Value >= c.Bound
	case c.Most:
		return c.Value <= c.Bound
	}
	return true
}

// result is what became of a row.
type result struct {
	Name    string
	Checks  []check
	Error   string `json:",omitempty"` // the row could not be carried out to its end
	Seconds float64
}

func (r *result) good() bool {
	return r.Error == "" && !slices.ContainsFunc(r.Checks, func(c check) bool { return !c.good() })
}

// told, most and least add figures; note is a format.
func (r *result) told(what string, value float64, unit, note string, args ...any) {
	r.add(check{What: what, Value: value, Unit: unit, Note: fmt.Sprintf(note, args...)})
}

func (r *result) most(what string, value float64, unit string, bound float64, note string, args ...any) {
	r.add(check{What: what, Value: value, Unit: unit, Bound: bound, Most: true, Note: fmt.Sprintf(note, args...)})
}

func (r *result) least(what string, value float64, unit string, bound float64, note string, args ...any) {
	r.add(check{What: what, Value: value, Unit: unit, Bound: bound, Least: true, Note: fmt.Sprintf(note, args...)})
}

// rate and takes add figures that the machine's speed and its other users have a part in: a ratio of two rates, or a time.
// The short form, whose few rounds a busy machine decides, tells them only.
func (r *result) rate(what string, value, bound float64, note string, args ...any) {
	r.add(check{What: what, Value: value, Bound: bound, Least: true, Told: *short, Note: fmt.Sprintf(note, args...)})
}

func (r *result) takes(what string, value float64, unit string, bound float64, note string, args ...any) {
	r.add(check{What: what, Value: value, Unit: unit, Bound: bound, Most: true, Told: *short, Note: fmt.Sprintf(note, args...)})
}

func (r *result) add(c check) {
	r.Checks = append(r.Checks, c)
	if *verbose {
		fmt.Println("   ", c.line())
	}
}

func (c check) line() string {
	bound, verdict := "", ""
	switch {
	case c.Least:
		bound = ">= " + number(c.Bound)
	case c.Most:
		bound = "<= " + number(c.Bound)
	}
	switch {
	case !c.good():
		verdict = "BROKEN"
	case !c.kept():
		verdict = "(not)"
	case bound != "":
		verdict = "ok"
	}
	return fmt.Sprintf("%-66s %10s %-9s %-10s %-6s  %s", c.What, number(c.Value), c.Unit, bound, verdict, c.Note)
}

func (r *result) print(w io.Writer, about string) {
	fmt.Fprintf(w, "\n%s: %s (%.1f s)\n", r.Name, about, r.Seconds)
	for _, c := range r.Checks {
		fmt.Fprintln(w, " ", c.line())
	}
	if r.Error != "" {
		fmt.Fprintln(w, "  !! ", r.Error)
	}
}

// printBroken repeats what is not good, for the end of a long table.
func (r *result) printBroken(w io.Writer) {
	for _, c := range r.Checks {
		if !c.good() {
			fmt.Fprintln(w, r.Name+":", c.line())
		}
	}
	if r.Error != "" {
		fmt.Fprintln(w, r.Name+":", r.Error)
	}
}

// number words a figure with three digits that count.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "-"
	case a >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// median of values; NaN without any.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n > 0 {
		return (sorted[(n-1)/2] + sorted[n/2]) / 2
	}
	return math.NaN()
}

// pairs does two things in turns and returns the medians of both and of their ratios. Rounds are repeated, up to three
// times as many, as long as the median of the ratios is under the bound: one of a busy machine is, one that holds is not.
func pairs(rounds int, bound float64, one, other func() (float64, error)) (a, b, ratio float64, err error) {
	var as, bs, ratios []float64
	for i := 0; i < rounds || i < 3*rounds && median(ratios) < bound; i++ {
		var x, y float64
		order := []func() error{
			func() (err error) { x, err = one(); return },
			func() (err error) { y, err = other(); return },
		}
		if i%2 == 1 { // neither always meets the warmer machine
			slices.Reverse(order)
		}
		for _, f := range order {
			if err := f(); err != nil {
				return 0, 0, 0, err
			}
		}
		if *verbose {
			fmt.Printf("      round %d: %s / %s = %s\n", i+1, number(x), number(y), number(x/y))
		}
		as, bs, ratios = append(as, x), append(bs, y), append(ratios, x/y)
	}
	return median(as), median(bs), median(ratios), nil
}

// pick is one value for the full form and another for the short one.
func pick[T any](full, shorter T) T {
	if *short {
		return shorter
	}
	return full
}

// ms are milliseconds, for tables.
func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
