package lifecycle

import (
	"slices"
	"strings"
)

// Shrink drops operations from a failing sequence as long as it goes on failing, trying at most so many times. fails
// runs a sequence from the start and returns how many operations it needed to fail, 0 when it did not.
func Shrink(ops []Op, tries int, fails func([]Op) int) []Op {
	try := func(candidate []Op) bool {
		if tries <= 0 {
			return false
		}
		tries--
		n := fails(candidate)
		if n > 0 {
			ops = slices.Clone(candidate[:min(n, len(candidate))])
		}
		return n > 0
	}
	// Ever smaller pieces, from the end, since the last operations are what it is about.
	for size := (len(ops) + 1) / 2; size > 0 && tries > 0; {
		dropped := false
		for end := len(ops); end > 0 && tries > 0; end -= size {
			end = min(end, len(ops))
			begin := max(end-size, 0)
			if try(slices.Concat(ops[:begin], ops[end:])) {
				dropped = true
			}
		}
		if size == 1 && !dropped {
			break
		}
		size = max(size/2, 1)
	}
	// A fault that is not needed hides what is.
	for i := range ops {
		if i < len(ops) && ops[i].Fault != "" {
			simpler := slices.Clone(ops)
			simpler[i].Fault, simpler[i].Nth, simpler[i].Crash = "", 0, false
			try(simpler)
		}
	}
	return ops
}

// Alike says whether two failures are of one cause, as far as that can be told: the same operation, and the first thing
// wrong in the same words, whatever the names and numbers in it.
func (f *Failure) Alike(g *Failure) bool {
	words := func(f *Failure) []string {
		if len(f.Problems) == 0 {
			return nil
		}
		return slices.DeleteFunc(strings.Fields(f.Problems[0]), func(w string) bool { return strings.ContainsAny(w, "0123456789") })
	}
	return f.Op.Kind == g.Op.Kind && slices.Equal(words(f), words(g))
}
