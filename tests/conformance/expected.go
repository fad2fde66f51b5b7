package main

import (
	_ "embed"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

//go:embed differences.txt
var differencesFile string

// expectation is a known difference.
type expectation struct {
	pattern  *regexp.Regexp
	text     string // as it stands in the file
	reason   string
	below    int // holds for API 1.N with N below this; 0: for all
	atLeast  int // holds for API 1.N from this on
	seen     int
	lineRead int
}

// holds says whether it is about a Docker of this API version, 1.minor.
func (e *expectation) holds(minor int) bool {
	return minor >= e.atLeast && (e.below == 0 || minor < e.below)
}

// parseExpectations reads differences.txt: patterns at the beginning of lines, and below them, indented, the reason for
// all of these. In a pattern * stands for anything. A pattern that begins with "api<1.48 " or "api>=1.48 " is about such
// versions of Docker only. Lines that begin with # are comments.
func parseExpectations(text string) ([]*expectation, error) {
	var list []*expectation
	var open []*expectation // that wait for their reason
	reasoned := false
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, " \r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			if len(open) > 0 && !reasoned {
				return nil, fmt.Errorf("differences.txt, line %d: %q has no reason", n, open[0].text)
			}
			open, reasoned = nil, false
		case line[0] == ' ' || line[0] == '\t':
			if len(open) == 0 {
				return nil, fmt.Errorf("differences.txt, line %d: a reason of nothing", n)
			}
			reasoned = true
			for _, e := range open {
				e.reason = strings.TrimSpace(e.reason + " " + strings.TrimSpace(line))
			}
		default:
			if reasoned {
				open, reasoned = nil, false
			}
			e, err := parseExpectation(line)
			if err != nil {
				return nil, fmt.Errorf("differences.txt, line %d: %w", n, err)
			}
			e.lineRead = n
			list, open = append(list, e), append(open, e)
		}
	}
	if len(open) > 0 && !reasoned {
		return nil, fmt.Errorf("differences.txt: %q has no reason", open[0].text)
	}
	return list, nil
}

func parseExpectation(line string) (*expectation, error) {
	e := &expectation{text: line}
	for prefix, bound := range map[string]*int{"api<1.": &e.below, "api>=1.": &e.atLeast} {
		rest, ok := strings.CutPrefix(line, prefix)
		if !ok {
			continue
		}
		version, pattern, _ := strings.Cut(rest, " ")
		minor, err := strconv.Atoi(version)
		if err != nil {
			return nil, fmt.Errorf("%q: the version is not 1.N", line)
		}
		*bound, line = minor, strings.TrimSpace(pattern)
	}
	quoted := strings.ReplaceAll(regexp.QuoteMeta(line), `\*`, `.*`)
	pattern, err := regexp.Compile(`(?s)^` + quoted + `$`)
	if err != nil {
		return nil, err
	}
	e.pattern = pattern
	return e, nil
}

// explain returns the first expectation of a difference, nil where there is none. All that match are noted as seen.
func explain(list []*expectation, d difference, minor int) *expectation {
	var first *expectation
	for _, e := range list {
		if e.holds(minor) && e.pattern.MatchString(d.String()) {
			e.seen++
			if first == nil {
				first = e
			}
		}
	}
	return first
}
