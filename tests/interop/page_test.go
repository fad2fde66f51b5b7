package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const samplePage = "# Title\n\n```console\n$ one\nout\n$ two \\\n>   more\n```\n## Second\n- item\n\n  ```console\n  $ three\n  footbridge: no\n  ```\n```yaml\nrun: x\n```\n"

func TestBlocksOfAPageAreFoundUnderTheirHeadings(t *testing.T) {
	blocks := parsePage(samplePage)
	var got []string
	for _, b := range blocks {
		got = append(got, b.section+"/"+b.kind+"/"+strings.Join(b.lines, "|"))
	}
	want := []string{"Title/console/$ one|out|$ two \\|>   more", "Second/console/$ three|footbridge: no", "Second/yaml/run: x"}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if blocks[0].line != 4 || blocks[1].line != 13 {
		t.Errorf("the blocks begin in lines %d and %d, want 4 and 13", blocks[0].line, blocks[1].line)
	}
}

func TestASessionIsReadAsCommandsAndOutput(t *testing.T) {
	steps, err := parsePage(samplePage)[0].steps()
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != 2 || steps[0].command != "one" || !slices.Equal(steps[0].output, []string{"out"}) ||
		steps[1].command != "two \\\n  more" || steps[1].output != nil || steps[1].line != 6 {
		t.Errorf("read %+v", steps)
	}
	if _, err := (block{kind: "console", lines: []string{"out"}}).steps(); err == nil {
		t.Error("output before any command is taken")
	}
}

func TestWhatASessionSaysIsJudged(t *testing.T) {
	shown := []step{
		{line: 1, command: "a"}, {line: 2, command: "b", output: []string{"x ... z"}}, {line: 3, command: "c", output: []string{"footbridge: ..."}},
	}
	say := func(a, b, c string) string {
		return "\x1e0\n" + a + "\x1f0\n\x1e1\n" + b + "\x1f0\n\x1e2\n" + c
	}
	for _, c := range []struct{ name, said, want string }{
		{"all as shown", say("anything\n", "x y z\n", "footbridge: no\n\x1f1\n"), ""},
		{"a last line without its end", say("", "x  z", "footbridge: no\n\x1f1\n"), ""},
		{"other output", say("", "x y\n", "footbridge: no\n\x1f1\n"), "line 2"},
		{"more output", say("", "x y z\nz\n", "footbridge: no\n\x1f1\n"), "line 2"},
		{"a failure", "\x1e0\nbad\n\x1f3\n", "line 1: a: exit status 3: bad"},
		{"not refused", say("", "x y z\n", "footbridge: no\n\x1f0\n"), "line 3"},
		{"ended early", "\x1e0\n\x1f0\n\x1e1\n", "line 2: b: was not run to its end"},
	} {
		err := judge(shown, c.said)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestOutputMayBeShownInPart(t *testing.T) {
	for _, c := range []struct {
		shown, said string
		want        bool
	}{
		{"a\n...\nb", "a\nb\n", true},
		{"a\n...\nb", "a\n1\n2\nb\n", true},
		{"a\n...", "a\n1\n", true},
		{"a...", "abc\n", true},
		{"a...", "a\nb\n", false},
		{"a.c", "abc\n", false},
		{"", "", false},
		{"a", "a  \n", true},
	} {
		if got := matches(strings.Split(c.shown, "\n"), c.said); got != c.want {
			t.Errorf("%q shown as %q: %v, want %v", c.said, c.shown, got, c.want)
		}
	}
}

// What is typed on the pages can be read; that it does what it shows is a matter of the cells.
func TestThePagesCanBeRead(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(docsFolder(), "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, name := range []string{"bubblewrap.md", "unshare.md", "systemd-run.md", "ci.md"} {
		text, err := os.ReadFile(filepath.Join(docsFolder(), name))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, b := range parsePage(string(text)) {
			if b.kind != "console" {
				continue
			}
			if _, err := b.steps(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestCommandsOfCIJobsAreRead(t *testing.T) {
	github := strings.Split(`jobs:
  a:
    container:
      options: >-
        --device /dev/net/tun --security-opt seccomp=unconfined
    steps:
      - uses: x
      - run: one
      - name: n
        run: |
          two
            deeper

          three
      - name: only then
        if: failure()
        run: not this
      - run: four`, "\n")
	if got, want := runSteps(github), []string{"one", "two\n  deeper\n\nthree", "four"}; !slices.Equal(got, want) {
		t.Errorf("GitHub's steps are %q, want %q", got, want)
	}
	gitlab := strings.Split("job:\n  after_script:\n    - last\n  before_script:\n    - first\n  script:\n    - one: two\n    - |\n      three\n      four\n    - five\nother: x", "\n")
	if got, want := scriptLines(gitlab), []string{"first", "one: two", "three\nfour", "five", "last"}; !slices.Equal(got, want) {
		t.Errorf("GitLab's lines are %q, want %q", got, want)
	}
	options := containerOptions([]block{{kind: "yaml", lines: github}, {kind: "toml", lines: []string{
		`    devices = ["/dev/a", "/dev/b"]`, `    security_opt = ["x=y"]`}}})
	want := strings.Fields("--device /dev/net/tun --security-opt seccomp=unconfined --device /dev/a --device /dev/b --security-opt x=y")
	if !slices.Equal(options, want) {
		t.Errorf("the containers' options are %q, want %q", options, want)
	}
}

// Whoever copies a session from integrations.md gets what it shows, since a cell runs it.
func TestEverySessionOfTheIntegrationsIsRunByACell(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(docsFolder(), "integrations.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("part_*.go")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, name := range files {
		part, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(part)
	}
	for _, b := range parsePage(string(text)) {
		if call := `s.page("integrations.md", "` + b.section + `")`; b.kind == "console" && !strings.Contains(source.String(), call) {
			t.Errorf("docs/integrations.md, line %d: no cell runs the session under %q: %s", b.line, b.section, call)
		}
	}
}
