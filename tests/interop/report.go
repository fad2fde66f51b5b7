package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// report is the table.
type report struct {
	begin time.Time
	parts []partResult
}

// partResult is a program's rows.
type partResult struct {
	Name     string       `json:"name"`
	Versions []string     `json:"versions,omitempty"`
	Cells    []cellResult `json:"cells"`
}

// The results of a cell.
const (
	resultOK      = "ok"
	resultFailed  = "FAILED"
	resultLeftOut = "left out"
)

// cellResult is one row.
type cellResult struct {
	Feature string  `json:"feature"`
	Result  string  `json:"result"`
	Reason  string  `json:"reason,omitempty"` // why it failed or was left out
	Seconds float64 `json:"seconds"`
	journal string
}

func (c *cellResult) set(err error, took time.Duration, journal string) {
	c.Seconds, c.journal, c.Result = took.Seconds(), journal, resultOK
	var out leftOutError
	switch {
	case errors.As(err, &out):
		c.Result, c.Reason = resultLeftOut, out.reason
	case err != nil:
		c.Result, c.Reason = resultFailed, err.Error()
	}
}

// excuse takes over what has gone well the second time.
func (r *partResult) excuse(second partResult) {
	for i := range r.Cells {
		for _, c := range second.Cells {
			if c.Feature == r.Cells[i].Feature && c.Result == resultOK {
				c.Reason, c.journal = "at the second try; at first: "+r.Cells[i].Reason, r.Cells[i].journal
				r.Cells[i] = c
			}
		}
	}
}

// print writes what failed with everything known about it, then the table, and returns the exit status.
func (r *report) print(to io.Writer) int {
	width := 0
	count := make(map[string]int)
	for _, p := range r.parts {
		for _, c := range p.Cells {
			width = max(width, len(c.Feature))
			count[c.Result]++
			if c.Result == resultFailed || c.journal != "" {
				fmt.Fprintf(to, "\n=== %s/%s: %s %s\n%s", p.Name, c.Feature, c.Result, c.Reason, c.journal)
			}
		}
	}
	for _, p := range r.parts {
		fmt.Fprintf(to, "\n%s\n", strings.TrimSuffix(p.Name+": "+strings.Join(p.Versions, ", "), ": "))
		for _, c := range p.Cells {
			line := c.Result
			if c.Reason != "" {
				first, _, _ := strings.Cut(c.Reason, "\n")
				line += ": " + first
			}
			fmt.Fprintf(to, "  %-*s %5.1fs %s\n", width, c.Feature, c.Seconds, line)
		}
	}
	fmt.Fprintf(to, "\n%d ok, %d failed, %d left out, in %v\n", count[resultOK], count[resultFailed], count[resultLeftOut],
		time.Since(r.begin).Round(time.Second))
	if count[resultFailed] > 0 {
		return 1
	}
	return 0
}

// writeJSON writes the table for programs.
func (r *report) writeJSON(path string) error {
	text, err := json.MarshalIndent(r.parts, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
