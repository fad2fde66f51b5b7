package main

import (
	"encoding/json"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestABoundIsKeptOrBroken(t *testing.T) {
	var r result
	r.told("told", 1e9, "", "")
	r.most("most", 2, "MiB", 2, "")
	r.least("least", 0.9, "", 0.9, "")
	if !r.good() {
		t.Errorf("at their bounds: %+v", r.Checks)
	}
	for _, c := range []check{
		{Value: 2.01, Bound: 2, Most: true},
		{Value: 0.89, Bound: 0.9, Least: true},
		{Value: math.NaN(), Bound: 0, Most: true},
		{Value: math.NaN(), Bound: 0, Least: true},
	} {
		if c.good() || !strings.Contains(c.line(), "BROKEN") {
			t.Errorf("%+v counts as kept", c)
		}
	}
	if c := (check{Value: 0.89, Bound: 0.9, Least: true, Told: true}); !c.good() || strings.Contains(c.line(), "BROKEN") {
		t.Errorf("%+v decides, though it is only told", c)
	}
	if bad := (&result{Error: "x"}); bad.good() {
		t.Error("a row that could not be carried out counts as good")
	}
	if _, err := json.Marshal(report{Rows: []result{r}}); err != nil {
		t.Error(err)
	}
}

func TestFiguresHaveThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.01234: "0.0123", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 20000: "20000", 2: "2"} {
		if got := number(v); got != want {
			t.Errorf("%v is printed as %s, want %s", v, got, want)
		}
	}
}

func TestPairsGoOnWhileTheBoundIsMissed(t *testing.T) {
	run := func(ratios ...float64) (rounds int, ratio float64) {
		_, _, ratio, err := pairs(2, 0.9, func() (float64, error) {
			rounds++
			return ratios[min(rounds, len(ratios))-1], nil
		}, func() (float64, error) { return 1, nil })
		if err != nil {
			t.Fatal(err)
		}
		return rounds, ratio
	}
	if n, ratio := run(1); n != 2 || ratio != 1 {
		t.Errorf("kept at once: %d rounds, %v", n, ratio)
	}
	if n, ratio := run(0.5, 0.5, 1, 1, 1); n != 5 || ratio != 1 {
		t.Errorf("disturbed at first: %d rounds, %v", n, ratio)
	}
	if n, ratio := run(0.8); n != 6 || ratio != 0.8 {
		t.Errorf("never kept: %d rounds, %v", n, ratio)
	}
}

func TestTheKernelsFilesAreRead(t *testing.T) {
	const status = "Name:\tx\nVmRSS:\t   1234 kB\nThreads:\t7\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t2\n"
	if got := field(status, "VmRSS:"); got != 1234 {
		t.Errorf("VmRSS %d", got)
	}
	if got := switches(status); got != 152 {
		t.Errorf("%d switches", got)
	}
	if got := onProcessor("1580633 1448168 16\n"); got != 1580633 {
		t.Errorf("%d ns on a processor", got)
	}
	got, err := childrenTime("42 (a ) b) S 1 1 1 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5")
	if err != nil || got != 700*time.Millisecond {
		t.Errorf("children's time %v (%v)", got, err)
	}
	if _, err := childrenTime("42 (x) S 1"); err == nil {
		t.Error("a line that is too short is read")
	}
	u, err := lookAt(os.Getpid(), true)
	if err != nil || u.RSS < 1<<20 || u.PSS < 1<<20 || u.Threads < 1 || u.FDs < 3 || u.CPU <= 0 || u.Switches < 1 {
		t.Errorf("this process is told to be %+v (%v)", u, err)
	}
}

func TestWakeUpsAreAddedUp(t *testing.T) {
	before := []Usage{{PID: 1, Switches: 10}, {PID: 2, Switches: 5}, {PID: 3, Program: "footbridge-shim", Switches: 1}}
	after := []Usage{{PID: 1, Switches: 30}, {PID: 2, Switches: 5}, {PID: 3, Program: "footbridge-shim", Switches: 2}}
	names := map[int]string{1: "keeper", 2: "worker"}
	if rate, who := wakeUps(before, after, names, 10*time.Second); rate != 2.1 || who != "in 10s: keeper 20, shim 1" {
		t.Errorf("%v, %q", rate, who)
	}
	if rate, who := wakeUps(before, before, names, time.Second); rate != 0 || who != "in 1s: nobody" {
		t.Errorf("%v, %q", rate, who)
	}
}

// What is documented are the names of the rows.
func TestRowsAreNamed(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows {
		if !regexp.MustCompile(`^[a-z]+$`).MatchString(r.name) || r.about == "" || seen[r.name] {
			t.Errorf("row %q: %q", r.name, r.about)
		}
		seen[r.name] = true
	}
}
