package lifecycle

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Stage is something to try operations on.
type Stage interface {
	// Do does an operation. struck says that its fault happened; the error is the API's.
	Do(ctx context.Context, op Op, before *Model) (struck bool, err error)
	// Docker answers for what is there now.
	Docker() Docker
	// Check looks below the API and says what is not as the model has it.
	Check(m *Model, v view) []string
	// Clean removes everything and says what is left of it.
	Clean(ctx context.Context) []string
	// Close ends the stage.
	Close()
}

// Failure says which operation of a sequence went wrong, and what was wrong then.
type Failure struct {
	Index    int
	Op       Op
	Problems []string
}

func (f *Failure) Error() string {
	return fmt.Sprintf("operation %d, %v:\n\t%s", f.Index, f.Op, strings.Join(f.Problems, "\n\t"))
}

// patience is how long things may take that happen behind the daemon's back: what a fault hindered is tried again
// after a tenth of a second at first.
const patience = 4 * time.Second

// Run does the operations on a stage, from a fresh install, and compares after each.
func Run(ctx context.Context, s Stage, ops []Op) *Failure {
	m := NewModel()
	m, bad := settle(ctx, s, func(v view) (*Model, []string) { return m.judge(v) })
	if len(bad) > 0 {
		return &Failure{Index: -1, Problems: bad}
	}
	for i, op := range ops {
		class, after := m.Expect(op)
		before := m
		struck, err := s.Do(ctx, op, before)
		got := classOf(err)
		m, bad = settle(ctx, s, func(v view) (*Model, []string) {
			if struck && (err != nil || op.Crash) {
				return resync(before, after, op, v)
			}
			return after.judge(v)
		})
		if !struck && got != class && (class != anyError || err == nil) {
			bad = append([]string{fmt.Sprintf("answered %q (%v), should be %q", got, err, class)}, bad...)
		}
		if len(bad) > 0 {
			return &Failure{i, op, append(bad, fmt.Sprintf("(fault struck: %v, answer: %v)", struck, err))}
		}
	}
	if bad := s.Clean(ctx); len(bad) > 0 {
		return &Failure{Index: len(ops), Problems: bad}
	}
	return nil
}

// settle asks until there is nothing to say against what is there.
func settle(ctx context.Context, s Stage, judge func(view) (*Model, []string)) (*Model, []string) {
	deadline := time.Now().Add(patience)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		var m *Model
		v, err := look(ctx, s.Docker())
		bad := []string{fmt.Sprintf("it cannot be asked: %v", err)}
		if err == nil {
			if m, bad = judge(v); len(bad) == 0 {
				bad = s.Check(m, v)
			}
		}
		if len(bad) == 0 || time.Now().After(deadline) || ctx.Err() != nil {
			return m, bad
		}
		time.Sleep(pause)
	}
}
