package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

// run measures in a world of its own and leaves the report in the file that -report names.
func run() int {
	rows, err := chosen()
	if err == nil {
		err = runRows(rows)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func runRows(rows []row) error {
	w, err := world.Start(world.Options{Footbridge: world.Binary(), Share: append(world.SharedFolders(), givenFolders()...)})
	if err != nil {
		return err
	}
	defer w.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b, err := newBench(w, *duration, filepath.Join(world.Stage(), filepath.Base(self)))
	if err != nil {
		return fmt.Errorf("setting the stage: %w", err)
	}
	r, present := b.describe()
	r.Seconds, r.Rounds = duration.Seconds(), *rounds
	fmt.Printf("%s, %d processors (%s), default congestion control %s\n", r.Kernel, r.Processors, r.Model, r.Default)
	for _, s := range r.Systems {
		fmt.Printf("  %-20s %s\n", s.Name, s.Version+s.Absent)
	}
	begin := time.Now()
	for round := range *rounds {
		for i, row := range rows {
			var members []system
			for _, name := range row.systems {
				if present[name] {
					members = append(members, systemNamed(name))
				}
			}
			result := r.row(rowResult{Title: row.title(), Group: row.group, Unit: row.unit, Lower: row.lower})
			// Who goes first changes from row to row and from round to round: nobody always meets the warmer machine.
			for k := range members {
				b.measure(row, members[(i+round+k)%len(members)], result, round)
			}
			fmt.Printf("%6.1fs round %d  %s\n", time.Since(begin).Seconds(), round+1, result.line(round))
			// After each row, for whoever ends this before its time.
			if err := os.WriteFile(*internal, r.json(), 0o666); err != nil {
				return fmt.Errorf("keeping the report: %w", err)
			}
		}
	}
	return nil
}

// measure adds a sample of one system, or why there is none. What has failed once is not tried again: it would take its
// time in each round.
func (b *bench) measure(row row, s system, result *rowResult, round int) {
	c := result.add(s.name())
	if c.Error != "" || c.Cannot != "" {
		return
	}
	got, err := row.measure(b, s)
	switch {
	case errors.Is(err, errCannot):
		c.Cannot = strings.TrimPrefix(err.Error(), errCannot.Error()+": ")
	case err != nil:
		c.Error = err.Error()
	default:
		got.Round = round
		c.Samples = append(c.Samples, got)
	}
}

// describe says what is measured and where; present are the systems that are there.
func (b *bench) describe() (r *report, present map[string]bool) {
	r = &report{
		Began:      time.Now().UTC().Format(time.DateTime),
		Kernel:     strings.TrimSpace(b.w.Run(world.Host, "uname", "-sr").Stdout),
		Processors: runtime.NumCPU(),
		Default:    b.w.CongestionControl(world.Host),
	}
	r.Iperf, _ = b.version("iperf3")
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		r.Model = parseModel(string(text))
	}
	present = make(map[string]bool)
	for _, s := range systems {
		version, err := s.find(b)
		found := systemResult{Name: s.name(), Version: version}
		if err != nil {
			found.Absent = err.Error()
		}
		present[s.name()] = err == nil
		r.Systems = append(r.Systems, found)
	}
	return r, present
}

// parseModel finds the name of the first processor in /proc/cpuinfo; not all architectures say it.
func parseModel(text string) string {
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// line is what is printed while the rows go by.
func (r *rowResult) line(round int) string {
	var cells []string
	for _, c := range r.Cells {
		text := "cannot"
		if c.Error != "" {
			text = "FAILED"
		}
		for _, s := range c.Samples {
			if s.Round == round {
				text = figure(s.Value)
			}
		}
		cells = append(cells, c.System+" "+text)
	}
	return fmt.Sprintf("%s, %s: %s", r.Title, r.Unit, strings.Join(cells, ", "))
}
