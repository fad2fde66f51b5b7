package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed scenarios/*.txt
var scenarioFiles embed.FS

// scenario is a sequence of steps on a clean machine.
type scenario struct {
	name  string // group: title
	steps []step
}

// step is one line of a scenario.
type step struct {
	line string
	mark mark
	verb string   // docker, host, client or internet
	args []string // without the verb
}

// mark says how a step's outcome is compared.
type mark string

const (
	markWhole mark = ""       // exit status, output and errors
	markQuiet mark = "quiet"  // the exit status only
	markJSON  mark = "json"   // the output is JSON, compared value by value
	markSort  mark = "sort"   // lines in any order
	markUntil mark = "until"  // repeated until it succeeds; only that is compared
	markWords mark = "errors" // exit status and errors: the output is another matter
)

var marks = map[mark]bool{markQuiet: true, markJSON: true, markSort: true, markUntil: true, markWords: true}

var verbs = map[string]bool{"docker": true, "host": true, "client": true, "internet": true}

// loadScenarios reads all files.
func loadScenarios(files fs.FS) ([]scenario, error) {
	var list []scenario
	names, err := fs.Glob(files, "scenarios/*.txt")
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		group := strings.TrimSuffix(strings.TrimPrefix(name, "scenarios/"), ".txt")
		more, err := parseScenarios(group, string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, s := range more {
			if seen[s.name] {
				return nil, fmt.Errorf("%s: there are two scenarios %q", name, s.name)
			}
			seen[s.name] = true
		}
		list = append(list, more...)
	}
	return list, nil
}

// parseScenarios reads one file: "# title" begins a scenario, every other line is a step.
func parseScenarios(group, text string) ([]scenario, error) {
	var list []scenario
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "#"); ok {
			list = append(list, scenario{name: group + ": " + strings.TrimSpace(title)})
			continue
		}
		if line == "" {
			continue
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("line %d: a step before the first title", n)
		}
		s, err := parseStep(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		last := &list[len(list)-1]
		last.steps = append(last.steps, s)
	}
	return list, nil
}

func parseStep(line string) (step, error) {
	words, err := splitWords(line)
	if err != nil {
		return step{}, err
	}
	s := step{line: line}
	if len(words) > 0 && marks[mark(words[0])] {
		s.mark, words = mark(words[0]), words[1:]
	}
	if len(words) < 2 || !verbs[words[0]] {
		return step{}, fmt.Errorf("%q: no command after docker, host, client or internet", line)
	}
	s.verb, s.args = words[0], words[1:]
	return s, nil
}

// splitWords splits a line as a shell does, with quotes and without anything else.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	open := false // a word has begun
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, open = r, true
		case quote == 0 && r == ' ':
			if open {
				words = append(words, word.String())
				word.Reset()
			}
			open = false
		default:
			word.WriteRune(r)
			open = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed: " + line)
	}
	if open {
		words = append(words, word.String())
	}
	return words, nil
}
