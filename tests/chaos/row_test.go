package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/tests/actors"
	"github.com/footbridge-net/footbridge/tests/load"
)

func TestPercentiles(t *testing.T) {
	var values []time.Duration
	for i := 100; i > 0; i-- {
		values = append(values, time.Duration(i))
	}
	for p, want := range map[int]time.Duration{50: 50, 99: 99, 100: 100} {
		if got := percentile(values, p); got != want {
			t.Errorf("p%d of 1..100 is %d, want %d", p, got, want)
		}
	}
	if got := percentile([]time.Duration{7}, 99); got != 7 {
		t.Errorf("p99 of one value is %d", got)
	}
}

func TestARowSaysWhatWasLost(t *testing.T) {
	r := &row{fault: fault{name: "a fault"}, tried: 3, recovered: []time.Duration{time.Millisecond}}
	if line := r.line(); !regexp.MustCompile(`^a fault +3 +0 +1ms +1ms +1ms +1s +ok$`).MatchString(line) {
		t.Errorf("the row is %q", line)
	}
	r.lose("%s", "a file")
	if line := r.line(); !strings.HasSuffix(line, "LOST") || len(r.lost) != 1 {
		t.Errorf("with something lost the row is %q", line)
	}
}

// What judge is told, it tells the row; the stage is not asked.
func TestAStreamIsJudged(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		fault  fault
		report load.Report
		lost   bool
	}{
		"fine":                          {fault{}, load.Report{}, false},
		"ended, to the outside":         {fault{}, load.Report{Job: load.Job{Again: true}, Breaks: []load.Break{{At: 1}}}, false},
		"ended, though nothing was hit": {fault{unseen: anywhere, delay: time.Second}, load.Report{Job: load.Job{Again: true}, Breaks: []load.Break{{At: 1}}}, true},
		"wrong":                         {fault{}, load.Report{Corrupt: "a byte"}, true},
		"a short gap":                   {fault{}, load.Report{Gaps: []load.Gap{{Begin: 0, End: 2200 * ms}}}, false},
		"hung":                          {fault{}, load.Report{Job: load.Job{Again: true}, Gaps: []load.Gap{{Begin: 0, End: 2400 * ms}}}, true},
	} {
		r := new(row)
		r.recovered = []time.Duration{0}
		c.report.Job.Kind = load.Stream
		stage := &chaos{stage: &load.Stage{Hub: &load.Hub{Hub: new(actors.Hub)}}}
		everybody = nil
		reports := map[string]load.Report{"a/b": c.report}
		stage.judgeLasting(c.fault, r, reports, 0)
		stage.judgeTimes(c.fault, r, reports, 0, 100*ms, 200*ms)
		if (len(r.lost) > 0) != c.lost {
			t.Errorf("%s: lost %v", name, r.lost)
		}
	}
}
