package main

import (
	"regexp"
	"strings"
)

// What the pages show of CI jobs is YAML of two kinds, of which only the commands matter here. This reads as much of the
// language as that takes: values in one line, and blocks behind "|".

var (
	runKey    = regexp.MustCompile(`^( *(?:- )?)run: *(.*)$`)
	scriptKey = regexp.MustCompile(`^( *)(before_script|script|after_script): *$`)
	listItem  = regexp.MustCompile(`^( *)- (.*)$`)
)

// runSteps returns the commands of each step of a job of GitHub's that always runs.
func runSteps(lines []string) []string {
	var steps []string
	for i := 0; i < len(lines); i++ {
		m := runKey.FindStringSubmatch(lines[i])
		if m == nil || i > 0 && strings.Contains(lines[i-1], "if: failure()") {
			continue
		}
		step, next := scalar(lines, i, len(m[1]), m[2])
		steps = append(steps, step)
		i = next - 1
	}
	return steps
}

// scriptLines returns the commands of a job of GitLab's: before_script, script and after_script, in this order.
func scriptLines(lines []string) []string {
	found := make(map[string][]string)
	for i := 0; i < len(lines); i++ {
		m := scriptKey.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		for i+1 < len(lines) {
			item := listItem.FindStringSubmatch(lines[i+1])
			if item == nil {
				break
			}
			command, next := scalar(lines, i+1, len(item[1]), item[2])
			found[m[2]] = append(found[m[2]], command)
			i = next - 1
		}
	}
	return append(append(found["before_script"], found["script"]...), found["after_script"]...)
}

// scalar reads a value that begins in line i, whose key stands behind so many characters, and says which line is the
// next.
func scalar(lines []string, i, indent int, value string) (string, int) {
	if value != "|" {
		return value, i + 1
	}
	var block []string
	margin := -1
	for i++; i < len(lines); i++ {
		depth := len(lines[i]) - len(strings.TrimLeft(lines[i], " "))
		if strings.TrimSpace(lines[i]) == "" {
			block = append(block, "")
			continue
		}
		if depth <= indent {
			break
		}
		if margin < 0 {
			margin = depth
		}
		block = append(block, lines[i][min(margin, depth):])
	}
	return strings.TrimRight(strings.Join(block, "\n"), "\n"), i
}

var quoted = regexp.MustCompile(`"([^"]*)"`)

// containerOptions are Docker's options of a page's container: those of "options:", or devices and security_opt of a
// runner's configuration.
func containerOptions(blocks []block) []string {
	var options []string
	for _, b := range blocks {
		for i, line := range b.lines {
			key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch {
			case b.kind == "yaml" && key == "options:" && i+1 < len(b.lines):
				options = append(options, strings.Fields(b.lines[i+1])...)
			case b.kind == "toml" && key == "devices":
				for _, m := range quoted.FindAllStringSubmatch(value, -1) {
					options = append(options, "--device", m[1])
				}
			case b.kind == "toml" && key == "security_opt":
				for _, m := range quoted.FindAllStringSubmatch(value, -1) {
					options = append(options, "--security-opt", m[1])
				}
			}
		}
	}
	return options
}
