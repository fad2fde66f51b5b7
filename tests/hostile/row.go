package main

import (
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"strings"
	"time"
)

// row is one attack of the table.
type row struct {
	group string
	name  string
	run   func(s *stage, r *result) error
}

// result is what became of a row.
type result struct {
	tried    int
	letIn    []string          // what got where it should not
	broken   []string          // bounds that did not hold, things that were lost
	counted  map[string]uint64 // drops of the attacker's port, by reason
	effect   *effect           // on the neighbours; nil where that is not measured
	note     string
	err      error // the row could not be carried out
	duration time.Duration
}

func (r *result) in(format string, args ...any) {
	r.letIn = append(r.letIn, fmt.Sprintf(format, args...))
}
func (r *result) bad(format string, args ...any) {
	r.broken = append(r.broken, fmt.Sprintf(format, args...))
}

// remark adds to the last column.
func (r *result) remark(format string, args ...any) {
	if r.note != "" {
		r.note += "; "
	}
	r.note += fmt.Sprintf(format, args...)
}

// count adds drops by reason.
func (r *result) count(counts map[string]uint64) {
	if r.counted == nil {
		r.counted = make(map[string]uint64)
	}
	for reason, n := range counts {
		r.counted[reason] += n
	}
}

func (r *result) good() bool { return r.err == nil && len(r.letIn) == 0 && len(r.broken) == 0 }

// verdict is one word.
func (r *result) verdict() string {
	switch {
	case r.err != nil:
		return "ERROR"
	case len(r.letIn) > 0:
		return "LET IN"
	case len(r.broken) > 0:
		return "BROKEN"
	}
	return "ok"
}

// details are the lines below a row that is not good.
func (r *result) details() []string {
	const most = 12
	lines := append(slices.Clone(r.letIn), r.broken...)
	if r.err != nil {
		lines = append(lines, r.err.Error())
	}
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("and %d more", len(lines)-most))
	}
	return lines
}

// lastCell is what neighbours felt, what was dropped, by reason, and remarks.
func (r *result) lastCell() string {
	var words []string
	for _, reason := range slices.Sorted(maps.Keys(r.counted)) {
		words = append(words, fmt.Sprintf("%s %d", reason, r.counted[reason]))
	}
	text := strings.Join(words, ", ")
	if r.effect != nil {
		text = strings.TrimSuffix(r.effect.text()+"; "+text, "; ")
	}
	if r.note != "" {
		text = strings.TrimPrefix(text+"; "+r.note, "; ")
	}
	return text
}

// random gives the numbers of a seed.
func random(seed int64) *rand.Rand { return rand.New(rand.NewSource(seed)) }
