package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// difference is one thing that footbridge says otherwise than Docker.
type difference struct {
	scenario, speaker, step, what string
}

// String is the line that differences.txt is matched against.
func (d difference) String() string {
	return fmt.Sprintf("%s | %s | %s | %s", d.scenario, d.speaker, d.step, d.what)
}

// everybody is the speaker of what all of them say otherwise than Docker.
const everybody = "all"

// merge puts the same difference of several speakers into one, whose speaker is all.
func merge(lists [][]difference) []difference {
	var out []difference
	for i, list := range lists {
		for _, d := range list {
			same := func(o difference) bool {
				return o.speaker != d.speaker && o.speaker != everybody && o.step == d.step && o.what == d.what
			}
			if at := slices.IndexFunc(out, same); i > 0 && at >= 0 {
				out[at].speaker = everybody
			} else {
				out = append(out, d)
			}
		}
	}
	return out
}

// compare says how the answers of a speaker differ from Docker's.
func compare(sc scenario, speaker string, docker, ours []Answer) []difference {
	var list []difference
	var text strings.Builder
	for _, s := range sc.steps {
		text.WriteString(s.line + "\n")
	}
	for i, st := range sc.steps {
		for _, what := range compareStep(st, docker[i], ours[i], text.String()) {
			list = append(list, difference{sc.name, speaker, st.line, what})
		}
	}
	return list
}

func compareStep(st step, docker, ours Answer, text string) []string {
	var list []string
	if docker.Code != ours.Code {
		list = append(list, fmt.Sprintf("exit status %d, docker %d (%s)", ours.Code, docker.Code,
			firstLine(normaliseErrors(ours.Stderr+docker.Stderr, text))))
	}
	if st.mark == markUntil && docker.Code != 0 {
		// Else all that follows could be the same because nothing works.
		list = append(list, fmt.Sprintf("never succeeded with docker (%s)", firstLine(docker.Stderr+docker.Stdout)))
	}
	if st.mark == markQuiet || st.mark == markUntil {
		return list
	}
	if st.mark == markJSON && docker.Code == 0 && ours.Code == 0 {
		list = append(list, compareJSON(docker.Stdout, ours.Stdout, text)...)
	} else if st.mark != markWords {
		list = append(list, compareLines("output", st.mark, normalise(docker.Stdout, text), normalise(ours.Stdout, text))...)
	}
	// Docker's words must be among ours, which say more: what to do.
	if d, o := normaliseErrors(docker.Stderr, text), normaliseErrors(ours.Stderr, text); (d == "") != (o == "") || !strings.Contains(o, d) {
		list = append(list, fmt.Sprintf("errors %q, docker %q", o, d))
	}
	return list
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// compareLines tells the lines that only one has.
func compareLines(of string, m mark, docker, ours string) []string {
	if docker == ours {
		return nil
	}
	d, o := strings.Split(docker, "\n"), strings.Split(ours, "\n")
	if m == markSort {
		slices.Sort(d)
		slices.Sort(o)
		if slices.Equal(d, o) {
			return nil
		}
	}
	// Equal beginnings and ends say nothing.
	for len(d) > 0 && len(o) > 0 && d[0] == o[0] {
		d, o = d[1:], o[1:]
	}
	for len(d) > 0 && len(o) > 0 && d[len(d)-1] == o[len(o)-1] {
		d, o = d[:len(d)-1], o[:len(o)-1]
	}
	return []string{fmt.Sprintf("%s %q, docker %q", of, strings.Join(o, "\n"), strings.Join(d, "\n"))}
}

// compareJSON tells the values that differ, by their paths.
func compareJSON(docker, ours, text string) []string {
	var d, o any
	if err := json.Unmarshal([]byte(docker), &d); err != nil {
		return []string{"docker's output is no JSON: " + firstLine(docker)}
	}
	if err := json.Unmarshal([]byte(ours), &o); err != nil {
		return []string{"output is no JSON: " + firstLine(ours)}
	}
	var list []string
	walk("$", d, o, text, func(path, what string) { list = append(list, path+": "+what) })
	return list
}

// walk compares two values recursively.
func walk(path string, d, o any, text string, differ func(path, what string)) {
	switch d := d.(type) {
	case map[string]any:
		o, ok := o.(map[string]any)
		if !ok {
			break
		}
		d, o = normalKeys(d, text), normalKeys(o, text)
		for _, k := range slices.Sorted(maps.Keys(d)) {
			if value, ok := o[k]; ok {
				walk(path+"."+k, d[k], value, text, differ)
			} else {
				differ(path+"."+k, "missing, docker "+show(d[k], text))
			}
		}
		for _, k := range slices.Sorted(maps.Keys(o)) {
			if _, ok := d[k]; !ok {
				differ(path+"."+k, show(o[k], text)+", docker has none")
			}
		}
		return
	case []any:
		o, ok := o.([]any)
		if !ok {
			break
		}
		for i := range max(len(d), len(o)) {
			switch at := fmt.Sprintf("%s[%d]", path, i); {
			case i >= len(o):
				differ(at, "missing, docker "+show(d[i], text))
			case i >= len(d):
				differ(at, show(o[i], text)+", docker has none")
			default:
				walk(at, d[i], o[i], text, differ)
			}
		}
		return
	}
	if x, y := show(d, text), show(o, text); x != y {
		if strings.HasSuffix(path, ".Pid") && x != "0" && y != "0" {
			return
		}
		differ(path, y+", docker "+x)
	}
}

// normalKeys normalises the keys of an object: some are ids, which are numbered in the order of their values' names.
func normalKeys(m map[string]any, text string) map[string]any {
	nameOf := func(k string) string {
		value, _ := m[k].(map[string]any)
		name, _ := value["Name"].(string)
		return name
	}
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(strings.Compare(nameOf(a), nameOf(b)), strings.Compare(a, b))
	})
	out := make(map[string]any, len(m))
	for _, k := range keys {
		n := normalise(k, text)
		for i := 2; out[n] != nil; i++ {
			n = fmt.Sprintf("%s %d", normalise(k, text), i)
		}
		out[n] = m[k]
	}
	return out
}

// show is a value as JSON.
func show(v any, text string) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return normalise(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(b)), text)
}
