package main

import (
	"errors"
	"fmt"
	"strings"
)

// Marks of the part of a page that belongs to this program.
const (
	beginMark = "<!-- bench: begin. Made by `make bench`; what is changed by hand is lost -->\n"
	endMark   = "<!-- bench: end -->\n"
)

// insert puts the tables between the marks of a page; an empty page becomes the marks and the tables.
func insert(page, tables string) (string, error) {
	if page == "" {
		return beginMark + "\n" + tables + "\n" + endMark, nil
	}
	before, rest, found := strings.Cut(page, beginMark)
	_, after, ended := strings.Cut(rest, endMark)
	if !found || !ended {
		return "", errors.New("the page has no marks between which the tables could go: " + strings.TrimSpace(beginMark) + " and " + strings.TrimSpace(endMark))
	}
	return before + beginMark + "\n" + tables + "\n" + endMark + after, nil
}

// markdown is all tables, with what they were measured on.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d processors", r.Kernel, r.Processors)
	if r.Model != "" {
		fmt.Fprintf(&b, " (%s)", r.Model)
	}
	fmt.Fprintf(&b, ", %s; %g s each, median of %d interleaved %s (smallest to largest). Congestion control of the senders: %s (the machine's default is %s).\n\n",
		r.Iperf, r.Seconds, r.Rounds, plural(r.Rounds, "round"), strings.Join(r.Congestion, ", "), r.Default)
	for _, s := range r.Systems {
		switch {
		case s.Absent != "":
			fmt.Fprintf(&b, "- %s: not measured, %s\n", s.Name, s.Absent)
		case strings.HasPrefix(s.Version, s.Name):
			fmt.Fprintf(&b, "- %s\n", s.Version)
		default:
			fmt.Fprintf(&b, "- %s: %s\n", s.Name, s.Version)
		}
	}
	r.table(&b, "Gbit/s", "s/GB", false, func(row *rowResult) bool { return row.Unit == gbps })
	r.table(&b, "A second", "µs each", true, func(row *rowResult) bool { return row.Unit == perSecond && row.Group != costGroup })
	r.table(&b, "Cost", "", false, func(row *rowResult) bool { return row.Group == costGroup })
	return b.String()
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// table writes the rows that are chosen. cpu is the unit of the processors' time, "" for none.
func (r *report) table(b *strings.Builder, title, cpu string, latency bool, choose func(*rowResult) bool) {
	columns := []string{title, "footbridge", "peers", "ratio to the best", "target"}
	if cpu != "" {
		columns = append(columns, "processors' time, "+cpu)
	}
	if latency {
		columns = append(columns, "p50 / p99, µs")
	}
	head := "\n| " + strings.Join(columns, " | ") + " |\n|---|" + strings.Repeat("---:|", 1) + strings.Repeat("---|", len(columns)-2) + "\n"
	for _, row := range r.Rows {
		if !choose(row) {
			continue
		}
		b.WriteString(head)
		head = ""
		cells := []string{row.Title, row.ours(), row.peers(), row.ratio(), row.verdicts()}
		if row.Group == costGroup {
			cells[0] += ", " + row.Unit
		}
		if cpu != "" {
			cells = append(cells, row.each(func(c *cell) string {
				if c.CPU == 0 {
					return ""
				}
				return figure(c.CPU)
			}))
		}
		if latency {
			cells = append(cells, row.each(func(c *cell) string {
				if c.P50 == 0 {
					return ""
				}
				return figure(c.P50) + " / " + figure(c.P99)
			}))
		}
		for i, text := range cells {
			cells[i] = strings.ReplaceAll(text, "|", `\|`)
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
}

func (r *rowResult) ours() string {
	if c := r.cell(footbridgeName); c != nil {
		return "**" + c.text() + "**"
	}
	return ""
}

func (r *rowResult) peers() string {
	var list []string
	for _, c := range r.Cells {
		if c.System != footbridgeName {
			text := c.System + " " + c.text()
			if c.Aside != "" {
				text = "(" + text + ": " + c.Aside + ")"
			}
			list = append(list, text)
		}
	}
	return strings.Join(list, "; ")
}

// text is a value with its spread, or why there is none.
func (c *cell) text() string {
	switch {
	case c.Error != "":
		return "failed: " + abridged(c.Error, 120)
	case c.Cannot != "":
		return "–"
	case len(c.Samples) > 1:
		return fmt.Sprintf("%s (%s to %s)", figure(c.Value.Median), figure(c.Value.Min), figure(c.Value.Max))
	}
	return figure(c.Value.Median)
}

// abridged is the end of an error, where its cause is.
func abridged(text string, enough int) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > enough {
		return "… " + string(runes[len(runes)-enough:])
	}
	return text
}

func (r *rowResult) ratio() string {
	switch {
	case r.Ratio.Median == 0:
		return ""
	case r.Ratio.Min == r.Ratio.Max:
		return figure(r.Ratio.Median)
	}
	return fmt.Sprintf("%s (%s to %s)", figure(r.Ratio.Median), figure(r.Ratio.Min), figure(r.Ratio.Max))
}

func (r *rowResult) verdicts() string {
	var list []string
	for _, v := range r.Verdicts {
		said := "met"
		if !v.Met {
			said = "**not met**"
		}
		list = append(list, fmt.Sprintf("%s: %s, %s", v.Want, figure(v.Got), said))
	}
	return strings.Join(list, "; ")
}

// each is something of footbridge and of the best peer.
func (r *rowResult) each(what func(*cell) string) string {
	var list []string
	if c := r.cell(footbridgeName); c != nil && what(c) != "" {
		list = append(list, what(c))
	}
	if c := r.cell(r.Best); c != nil && what(c) != "" {
		list = append(list, r.Best+" "+what(c))
	}
	return strings.Join(list, "; ")
}
