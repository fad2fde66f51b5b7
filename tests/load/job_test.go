package load

import (
	"testing"
	"time"
)

const ms = time.Millisecond

func attempts(list ...Attempt) Report { return Report{Attempts: list} }

func TestRecoveryIsTheFirstRowOfAnswers(t *testing.T) {
	good := func(begin, end time.Duration) Attempt { return Attempt{Begin: begin, End: end} }
	bad := func(begin, end time.Duration) Attempt { return Attempt{Begin: begin, End: end, Problem: "refused"} }
	open := func(begin time.Duration) Attempt { return Attempt{Begin: begin} }
	for name, c := range map[string]struct {
		report Report
		want   time.Duration // after 100 ms; negative: not at all
	}{
		"at once":                     {attempts(good(100*ms, 101*ms), good(105*ms, 106*ms), good(110*ms, 111*ms)), 11 * ms},
		"nothing yet":                 {attempts(), -1},
		"too short a row":             {attempts(good(100*ms, 101*ms), good(105*ms, 106*ms)), -1},
		"answers from before":         {attempts(good(90*ms, 91*ms), good(95*ms, 96*ms), good(99*ms, 100*ms), open(101*ms)), -1},
		"what waited is answered":     {attempts(good(100*ms, 400*ms), good(105*ms, 401*ms), good(110*ms, 402*ms)), 302 * ms},
		"a straggler does not count":  {attempts(open(100*ms), good(105*ms, 300*ms), good(110*ms, 301*ms), good(115*ms, 302*ms)), 202 * ms},
		"the last one before the end": {attempts(good(100*ms, 101*ms), bad(105*ms, 106*ms), good(110*ms, 210*ms), good(115*ms, 211*ms), good(120*ms, 212*ms)), 112 * ms},
		"refused ones in between":     {attempts(good(100*ms, 101*ms), good(105*ms, 106*ms), bad(110*ms, 111*ms), good(115*ms, 116*ms), good(120*ms, 121*ms)), -1},
	} {
		got, ok := c.report.Recovered(100 * ms)
		if ok != (c.want >= 0) || ok && got != c.want {
			t.Errorf("%s: recovered after %v (%v), want %v", name, got, ok, c.want)
		}
	}
}

func TestAReportTellsFailuresAndSuccesses(t *testing.T) {
	r := attempts(Attempt{Begin: 10 * ms, End: 11 * ms}, Attempt{Begin: 20 * ms, End: 90 * ms}, Attempt{Begin: 30 * ms, End: 31 * ms, Problem: "no"}, Attempt{Begin: 40 * ms})
	if n := len(r.Failures(0)); n != 1 {
		t.Errorf("%d failures, want 1", n)
	}
	if n := len(r.Failures(31 * ms)); n != 0 {
		t.Errorf("%d failures after the last one, want 0: what has not ended has not failed", n)
	}
	if n := len(r.Successes(0)); n != 2 {
		t.Errorf("%d successes, want 2", n)
	}
	if got := r.Slowest(0); got != 70*ms {
		t.Errorf("the slowest took %v, want 70ms", got)
	}
	r.Gaps = []Gap{{10 * ms, 110 * ms}, {200 * ms, 260 * ms}}
	if got := r.LongestGap(150 * ms); got != 60*ms {
		t.Errorf("the longest gap since 150 ms is %v, want 60ms", got)
	}
}

func TestAnAccountForgetsWhatIsOld(t *testing.T) {
	a := new(account)
	for i := range 10000 {
		number := a.begin(time.Duration(i) * 20 * ms)
		if number != uint64(i) {
			t.Fatalf("attempt %d has number %d", i, number)
		}
	}
	if n := len(a.attempts); n > 2*batch {
		t.Errorf("%d attempts are remembered", n)
	}
	if a.end(1, 0, "") {
		t.Error("an attempt that was forgotten has ended")
	}
	if !a.end(9999, time.Hour, "late") || a.end(9999, time.Hour, "twice") {
		t.Error("an attempt ends other than once")
	}
	if r := a.report(Job{}, 0); r.Total != 10000 || r.Failed != 1 || r.Latest != "late" {
		t.Errorf("of 10000 attempts %d, of one failure %d (%q) are told", r.Total, r.Failed, r.Latest)
	}
}

func TestAStreamThatStandsStillHasAGap(t *testing.T) {
	a := new(account)
	now := Now()
	a.read(now-time.Second, 8)
	a.read(now-999*ms, 8)
	a.read(now-500*ms, 8)
	r := a.report(Job{}, 0)
	if len(r.Gaps) != 2 || r.LongestGap(now-2*time.Second) < 499*ms || r.Gaps[0].End-r.Gaps[0].Begin != 499*ms {
		t.Errorf("gaps %v, want one of 499 ms and one that still lasts", r.Gaps)
	}
	a.broke(Now(), "reset")
	if r = a.report(Job{}, 0); len(r.Breaks) != 1 || len(r.Gaps) != 2 {
		t.Errorf("after the end of the stream: breaks %v, gaps %v", r.Breaks, r.Gaps)
	}
}
