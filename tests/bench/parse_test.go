package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/footbridge-net/footbridge/tests/world"
)

func TestBusyTimeIsWithoutWaitingAndGuests(t *testing.T) {
	// user nice system idle iowait irq softirq steal guest guest_nice
	got, err := parseBusy("cpu  100 20 300 99999 7777 4 56 1000 88 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
	if err != nil || got != 4.8 {
		t.Errorf("busy for %v s (%v), want 4.8", got, err)
	}
	for _, text := range []string{"", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2", "cpu a b c d e f g h"} {
		if _, err := parseBusy(text); err == nil {
			t.Errorf("%q was taken for /proc/stat", text)
		}
	}
}

func TestSwitchesOfAllThreadsAreAddedUp(t *testing.T) {
	got, err := parseSwitches("Name:\tx\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t100\nName:\ty\nvoluntary_ctxt_switches:\t5\n")
	if err != nil || got != 12 {
		t.Errorf("%d switches (%v), want 12", got, err)
	}
	if _, err := parseSwitches("voluntary_ctxt_switches: many\n"); err == nil {
		t.Error("many was taken for a number")
	}
}

func TestTheProcessorsNameIsTheFirstOnes(t *testing.T) {
	if got := parseModel("processor\t: 0\nmodel name\t: Fast One\n\nprocessor\t: 1\nmodel name\t: Other\n"); got != "Fast One" {
		t.Errorf("the model is %q", got)
	}
	if got := parseModel("Features : fp\n"); got != "" {
		t.Errorf("the model is %q where none is said", got)
	}
}

func TestAnIperfReportIsWhatTheReceiverGot(t *testing.T) {
	got, err := parseIperf(`{"start":{},"end":{"sum_sent":{"bytes":9,"bits_per_second":9e9},
		"sum_received":{"bytes":2.5e9,"bits_per_second":2e10},"sender_tcp_congestion":"cubic"}}`)
	if err != nil || got != (transfer{gbps: 20, bytes: 2.5e9, congestion: "cubic"}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := parseIperf(`{"error":"error - the server is busy running a test. try again later"}`); !errors.Is(err, errBusy) {
		t.Errorf("a busy server: %v", err)
	}
	for text, want := range map[string]string{
		"":                              "no JSON",
		`{"error":"unable to connect"}`: "unable to connect",
		`{"end":{"sum_received":{"bits_per_second":0}}}`: "nothing has arrived",
	} {
		if _, err := parseIperf(text); err == nil || errors.Is(err, errBusy) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", text, err, want)
		}
	}
}

func TestAnIperfReportOfDatagramsIsWhatTheReceiverGot(t *testing.T) {
	got, err := parseIperfUDP(`{"end":{"sum":{"seconds":2,"packets":1000,"lost_packets":100,"lost_percent":10}}}`)
	if err != nil || got != (datagrams{rate: 450, sent: 500, lost: 0.1}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := parseIperfUDP(`{"error":"the server is busy"}`); !errors.Is(err, errBusy) {
		t.Errorf("a busy server: %v", err)
	}
	for _, text := range []string{"", "{}", `{"error":"no route"}`, `{"end":{"sum":{"seconds":0,"packets":5}}}`} {
		if _, err := parseIperfUDP(text); err == nil || errors.Is(err, errBusy) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAProbeThatGotNothingIsAnError(t *testing.T) {
	got, err := parseProbe(`{"kind":"rr","ops":10,"seconds":2,"rate":5,"p50_us":100.5,"p90_us":1,"p99_us":200,"max_us":3,"errors":1}`)
	if err != nil || got.Rate != 5 || got.P50 != 100.5 || got.P99 != 200 || got.Errors != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"Killed": "no JSON",
		`{"kind":"rr","ops":0,"errors":7,"error":"connection refused"}`: "connection refused",
	} {
		if _, err := parseProbe(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", text, err, want)
		}
	}
}

func TestTheHighestRateIsBetweenTheLastThatWentAndTheFirstThatDidNot(t *testing.T) {
	carries := func(most float64) func(float64) (trial, error) {
		return func(rate float64) (trial, error) { return trial{rate, rate <= most, true}, nil }
	}
	for _, c := range []struct {
		most  float64
		steps int
		want  float64
	}{
		{90, 0, 80}, // 10 20 40 80 (160)
		{90, 3, 90}, // (120) (100) 90
		{100, 3, 100},
		{170, 2, 160}, // 10 ... 160 (320) (240) (200)
		{7, 3, 6.25},  // (10) 5 (7.5) 6.25
		{0, 3, 0},
	} {
		got, err := highest(10, c.steps, carries(c.most))
		if err != nil || got != c.want {
			t.Errorf("of at most %v in %d steps: %v (%v), want %v", c.most, c.steps, got, err, c.want)
		}
	}
	// The sender is the limit.
	got, err := highest(10, 3, func(rate float64) (trial, error) {
		return trial{min(rate, 33), true, rate <= 33}, nil
	})
	if err != nil || got != 33 {
		t.Errorf("of a sender that makes 33: %v (%v)", got, err)
	}
	broken := errors.New("broken")
	if _, err := highest(10, 3, func(float64) (trial, error) { return trial{}, broken }); !errors.Is(err, broken) {
		t.Errorf("an error is lost: %v", err)
	}
}

func TestOutputKeepsTheBeginning(t *testing.T) {
	o := &output{}
	for range 3 * outputLimit / 10 {
		if n, err := o.Write([]byte("complaint\n")); n != 10 || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
	}
	if got := o.String(); len(got) > outputLimit || !strings.HasPrefix(got, "complaint\n") {
		t.Errorf("%d bytes are kept", len(got))
	}
}

func TestResidentMemoryOfSeveralProcessesIsAddedUp(t *testing.T) {
	got, err := parseResident("Name:\ta\nVmRSS:\t    1000 kB\nRssAnon:\t 5 kB\nName:\tb\nVmRSS:\t     24 kB\n")
	if err != nil || got != 1024*1024 {
		t.Errorf("%v bytes (%v)", got, err)
	}
	for _, text := range []string{"", "VmRSS:\tmuch\n"} {
		if _, err := parseResident(text); err == nil {
			t.Errorf("%q was taken for a status", text)
		}
	}
}

func TestTimesAreOneALine(t *testing.T) {
	got, err := timesOf(world.Result{Stdout: "3.5\n1\n2\n"})
	if err != nil || got.Value != 2 || got.P99 != 3500 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, r := range []world.Result{{}, {Stdout: "soon\n"}, {Stdout: "1\n", Code: 1}} {
		if _, err := timesOf(r); err == nil {
			t.Errorf("%+v was taken for times", r)
		}
	}
}
