package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// report is a whole run, as -json writes it.
type report struct {
	Began      string         `json:"began"`
	Kernel     string         `json:"kernel"`
	Processors int            `json:"processors"`
	Model      string         `json:"processor_model,omitempty"`
	Default    string         `json:"default_congestion_control"`
	Congestion []string       `json:"congestion_control"` // of the senders
	Iperf      string         `json:"iperf3"`
	Seconds    float64        `json:"seconds"` // of one measurement
	Rounds     int            `json:"rounds"`
	Systems    []systemResult `json:"systems"`
	Rows       []*rowResult   `json:"rows"`
}

// systemResult says which version of a system was measured, or why none was.
type systemResult struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Absent  string `json:"absent,omitempty"`
}

// rowResult is a row with all that was measured. What can be computed from the samples is there for readers of the file.
type rowResult struct {
	Title    string    `json:"row"`
	Group    string    `json:"group,omitempty"`
	Unit     string    `json:"unit"`
	Lower    bool      `json:"less_is_better,omitempty"`
	Cells    []*cell   `json:"systems"`
	Best     string    `json:"best_peer,omitempty"`
	Ratio    summary   `json:"ratio"` // to the best peer, of the pairs of the rounds
	Verdicts []verdict `json:"targets,omitempty"`
}

// cell is one system in one row.
type cell struct {
	System  string   `json:"system"`
	Samples []sample `json:"samples,omitempty"`
	Value   summary  `json:"value"`
	CPU     float64  `json:"cpu,omitempty"` // medians
	P50     float64  `json:"p50_us,omitempty"`
	P99     float64  `json:"p99_us,omitempty"`
	Aside   string   `json:"aside,omitempty"`  // why it is not compared with
	Cannot  string   `json:"cannot,omitempty"` // the system does not have this
	Error   string   `json:"error,omitempty"`  // it failed
}

// row returns the result with the same title, and adds one like the given where there is none.
func (r *report) row(like rowResult) *rowResult {
	for _, row := range r.Rows {
		if row.Title == like.Title {
			return row
		}
	}
	row := &rowResult{Title: like.Title, Group: like.Group, Unit: like.Unit, Lower: like.Lower}
	r.Rows = append(r.Rows, row)
	return row
}

// cell returns a system's part of the row; nil where it has none.
func (r *rowResult) cell(system string) *cell {
	for _, c := range r.Cells {
		if c.System == system {
			return c
		}
	}
	return nil
}

// add returns a system's part of the row, which it makes where there is none.
func (r *rowResult) add(system string) *cell {
	if c := r.cell(system); c != nil {
		return c
	}
	c := &cell{System: system}
	r.Cells = append(r.Cells, c)
	return c
}

// values of a system by round.
func (r *rowResult) values(system string) map[int]float64 {
	values := make(map[int]float64)
	if c := r.cell(system); c != nil {
		for _, s := range c.Samples {
			values[s.Round] = s.Value
		}
	}
	return values
}

// ratioTo is how many times faster footbridge is than a peer. Where less is better it is the peer's value that is divided.
func (r *rowResult) ratioTo(peer string) summary {
	ours, theirs := r.values(footbridgeName), r.values(peer)
	if r.Lower {
		ours, theirs = theirs, ours
	}
	return summarize(pairs(ours, theirs))
}

// compute fills in what follows from the samples.
func (r *report) compute() {
	congestion := make(map[string]bool)
	for _, row := range r.Rows {
		row.Best, row.Ratio = "", summary{}
		var best float64
		slices.SortFunc(row.Cells, func(a, b *cell) int { return order(a.System) - order(b.System) })
		for _, c := range row.Cells {
			c.compute()
			for _, s := range c.Samples {
				if s.Congestion != "" {
					congestion[s.Congestion] = true
				}
			}
			v := c.Value.Median
			if row.Lower && v > 0 {
				v = 1 / v
			}
			if c.System != footbridgeName && c.Aside == "" && v > best {
				row.Best, best = c.System, v
			}
		}
		if row.Best != "" {
			row.Ratio = row.ratioTo(row.Best)
		}
	}
	r.Congestion = r.Congestion[:0]
	for name := range congestion {
		r.Congestion = append(r.Congestion, name)
	}
	slices.Sort(r.Congestion)
	r.judge()
}

func (c *cell) compute() {
	var values, cpu, p50, p99 []float64
	for _, s := range c.Samples {
		c.Aside = s.Aside
		values, cpu, p50, p99 = append(values, s.Value), append(cpu, s.CPU), append(p50, s.P50), append(p99, s.P99)
	}
	c.Value, c.CPU, c.P50, c.P99 = summarize(values), median(cpu), median(p50), median(p99)
}

// order is a system's place in tables.
func order(name string) int {
	return slices.IndexFunc(systems, func(s system) bool { return s.name() == name })
}

// merge adds another run's samples as further rounds, so that a long run may be made in pieces.
func (r *report) merge(other *report) error {
	if other.Kernel != r.Kernel || other.Processors != r.Processors || other.Model != r.Model {
		return fmt.Errorf("a run on %s, %d x %s, and one on %s, %d x %s: only runs of one machine can be put together",
			r.Kernel, r.Processors, r.Model, other.Kernel, other.Processors, other.Model)
	}
	for _, from := range other.Rows {
		to := r.row(*from)
		begin := 0
		for _, c := range to.Cells {
			for _, s := range c.Samples {
				begin = max(begin, s.Round+1)
			}
		}
		for _, c := range from.Cells {
			into := to.add(c.System)
			for _, s := range c.Samples {
				s.Round += begin
				into.Samples = append(into.Samples, s)
			}
			into.Cannot, into.Error = c.Cannot, c.Error
		}
	}
	r.Rounds = max(r.Rounds, other.Rounds)
	return nil
}

// failures lists what failed of footbridge, and of its peers, which is for others to mend.
func (r *report) failures() (ours, theirs []string) {
	for _, row := range r.Rows {
		for _, c := range row.Cells {
			switch text := fmt.Sprintf("%s, %s: %s", row.Title, c.System, abridged(c.Error, 500)); {
			case c.Error == "":
			case c.System == footbridgeName:
				ours = append(ours, text)
			default:
				theirs = append(theirs, text)
			}
		}
	}
	return ours, theirs
}

// read and write are -json's.
func readReport(text []byte) (*report, error) {
	r := &report{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("this is no report of a run: %w", err)
	}
	return r, nil
}

func (r *report) json() []byte {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		panic(fmt.Sprintf("bench: a report that cannot be written: %v", err)) // NaN, which no median of samples is
	}
	return append(text, '\n')
}

// figure writes a number with three digits that count, and thousands apart.
func figure(v float64) string {
	abs := math.Abs(v)
	switch {
	case abs >= 1000:
		text := fmt.Sprintf("%.0f", v)
		if abs >= 10_000 {
			text = fmt.Sprintf("%.0f", math.Round(v/100)*100)
		}
		return thousands(text)
	case abs >= 100:
		return fmt.Sprintf("%.0f", v)
	case abs >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func thousands(digits string) string {
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
