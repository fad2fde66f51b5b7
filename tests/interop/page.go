package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Pages of the documentation are run as they stand: their blocks marked "console" are a session of the user's in bash.
//
//	$ command              what is typed; lines that begin with "> " go on with it
//	output                 what it must say then; "..." in a line stands for anything, alone for any lines
//
// A command that is followed by no output may say what it likes. All commands must succeed, but for those whose output
// is shown and begins with "footbridge: ": these must fail.

// block is a fenced part of a page.
type block struct {
	kind    string // behind the fence's three backquotes
	section string // the heading above it
	line    int    // of its first line
	lines   []string
}

// step is a command of a page with what it must say.
type step struct {
	line    int
	command string
	output  []string // nil: anything
}

// fails says whether the command is shown to fail.
func (s step) fails() bool {
	return len(s.output) > 0 && strings.HasPrefix(s.output[0], "footbridge: ")
}

// parsePage finds the fenced blocks of a page.
func parsePage(text string) []block {
	var blocks []block
	var open *block
	section, margin := "", ""
	for i, line := range strings.Split(text, "\n") {
		inner := strings.TrimLeft(line, " ")
		switch {
		case open != nil && strings.HasPrefix(inner, "```"):
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.lines = append(open.lines, strings.TrimPrefix(line, margin))
		case strings.HasPrefix(inner, "```"):
			margin = line[:len(line)-len(inner)]
			open = &block{kind: strings.TrimPrefix(inner, "```"), section: section, line: i + 2}
		case strings.HasPrefix(line, "#"):
			section = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
	}
	return blocks
}

// steps reads the commands of a console block.
func (b block) steps() ([]step, error) {
	var list []step
	for i, line := range b.lines {
		switch command, typed := strings.CutPrefix(line, "$ "); {
		case typed:
			list = append(list, step{line: b.line + i, command: command})
		case len(list) == 0:
			return nil, fmt.Errorf("line %d: output before the first command", b.line+i)
		default:
			last := &list[len(list)-1]
			if more, ok := strings.CutPrefix(line, "> "); ok && last.output == nil {
				last.command += "\n" + more
				continue
			}
			last.output = append(last.output, line)
		}
	}
	return list, nil
}

// The marks between which a command's output stands, in what the session says.
const (
	markBegin = "\x1e"
	markEnd   = "\x1f"
)

// sessionScript is the steps as one script for bash.
func sessionScript(steps []step) string {
	var b strings.Builder
	b.WriteString("exec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n")
	for i, s := range steps {
		fmt.Fprintf(&b, "printf '\\036%d\\n'\n%s\nprintf '\\037%%d\\n' $?\n", i, s.command)
	}
	return b.String()
}

var (
	outcomePattern = regexp.MustCompile(`(?s)` + markBegin + `(\d+)\n(.*?)` + markEnd + `(\d+)\n`)
	anything       = regexp.MustCompile(regexp.QuoteMeta(regexp.QuoteMeta("...")))
)

// judge compares what a session said with what the steps show.
func judge(steps []step, said string) error {
	found := outcomePattern.FindAllStringSubmatch(said, -1)
	for i, s := range steps {
		if i >= len(found) || found[i][1] != strconv.Itoa(i) {
			return fmt.Errorf("line %d: %s: was not run to its end", s.line, s.command)
		}
		out, failed := found[i][2], found[i][3] != "0"
		if failed != s.fails() {
			return fmt.Errorf("line %d: %s: exit status %s: %s", s.line, s.command, found[i][3], lastLine(out))
		}
		if s.output != nil && !matches(s.output, out) {
			return fmt.Errorf("line %d: %s: said\n%swhere the page shows\n%s", s.line, s.command, indent(out), indent(strings.Join(s.output, "\n")))
		}
	}
	return nil
}

// matches compares a command's output with what a page shows.
func matches(shown []string, said string) bool {
	var b strings.Builder
	b.WriteString(`(?s)^`)
	for _, line := range shown {
		if line == "..." {
			b.WriteString(`(.*\n)?`)
			continue
		}
		b.WriteString(anything.ReplaceAllLiteralString(regexp.QuoteMeta(strings.TrimRight(line, " ")), `[^\n]*`) + ` *\n`)
	}
	b.WriteString(`$`)
	if said != "" && !strings.HasSuffix(said, "\n") {
		said += "\n"
	}
	return regexp.MustCompile(b.String()).MatchString(strings.ReplaceAll(said, "\t", " "))
}

// readPage reads a page of docs/, from the source tree in which this program was built.
func (s *stage) readPage(name string) string {
	text, err := os.ReadFile(filepath.Join(docsFolder(), name))
	if err != nil {
		s.fail("reading the page: %w", err)
	}
	return string(text)
}

// page runs the console blocks of a page of docs/, or of one of its sections, in a new folder. Variables and jobs go on
// from block to block.
func (s *stage) page(name, section string) error {
	var steps []step
	for _, b := range parsePage(s.readPage(name)) {
		if b.kind != "console" || section != "" && b.section != section {
			continue
		}
		more, err := b.steps()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		steps = append(steps, more...)
	}
	if len(steps) == 0 {
		return fmt.Errorf("%s shows no commands under %q", name, section)
	}
	dir := s.folder("page-" + strings.TrimSuffix(name, ".md") + "-" + strings.ReplaceAll(section, " ", "-"))
	script := s.write(filepath.Join(dir, ".session"), sessionScript(steps), 0o644)
	r := s.user.in(dir).try("bash", script)
	if err := judge(steps, r.All()+"\n"); err != nil {
		return fmt.Errorf("docs/%s, %w", name, err)
	}
	return nil
}

// docsFolder is where the pages are: in the source tree, from whose top, or from whose package, this program is started.
func docsFolder() string {
	for _, dir := range []string{"docs", "../../docs"} {
		if _, err := os.Stat(filepath.Join(dir, "integrations.md")); err == nil {
			return dir
		}
	}
	return "docs"
}
