package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/footbridge-net/footbridge/internal/buildinfo"
)

var someBuild = buildinfo.Info{Version: "1.2.3", Time: "2026-01-02T23:04:05+02:00"}

// asRead is a page's text as it is read.
func asRead(page string) string {
	return strings.NewReplacer(`\-`, "-", `\(aq`, "'", `\(ga`, "`", `\(ha`, "^", `\(ti`, "~", `\&`, "", `\fB`, "", `\fI`, "", `\fR`, "", `\e`, `\`).Replace(page)
}

// Whatever the help shows has a page, and stands in it.
func TestEveryCommandHasAManualPage(t *testing.T) {
	root := newRoot(newWorld(t).cli)
	pages := manPages(root, someBuild)
	seen := map[string]bool{}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		name := manName(cmd) + ".1"
		seen[name] = true
		page, ok := pages[name]
		if !ok {
			t.Errorf("%s has no page", cmd.CommandPath())
			return
		}
		if target, linked := strings.CutPrefix(page, ".so man1/"); linked {
			page = pages[strings.TrimSuffix(target, "\n")]
		}
		text := asRead(page)
		for _, want := range []string{cmd.Short, `"2026-01-02" "footbridge 1.2.3"`, ".SH SYNOPSIS"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q", name, want)
			}
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			tag := regexp.MustCompile(`(?m)^(-., )?--` + regexp.QuoteMeta(f.Name) + `( |$)`)
			if shown := tag.MatchString(text); shown == f.Hidden && f.Name != "help" {
				t.Errorf("%s: --%s is shown: %v, hidden: %v", name, f.Name, shown, f.Hidden)
			}
		})
		for _, sub := range shownCommands(cmd) {
			walk(sub)
		}
	}
	walk(root)
	for name := range pages {
		if !seen[name] {
			t.Errorf("%s is of no command that the help shows", name)
		}
	}
	if page := pages["footbridge-container-run.1"]; page != ".so man1/footbridge-run.1\n" {
		t.Errorf("container run: %q", page)
	}
	if page := pages["footbridge-container-ls.1"]; strings.HasPrefix(page, ".so") {
		t.Errorf("container ls is no page of its own: %q", page)
	}
	if strings.Contains(pages["footbridge.1"], "man-pages") {
		t.Error("the first page names what the help does not")
	}
}

// A line of a help text is never a command of roff's.
func TestManualPagesShowTextsAsTheyAre(t *testing.T) {
	cmd := &cobra.Command{Use: "x [OPTIONS]", Short: `it's \fB`, Run: func(*cobra.Command, []string) {},
		Long:    "One\nparagraph.\n\n.so /etc/passwd\n\n  $ type -this 'way'\n  .SH here\n\n\ttab ~ ^ `",
		Example: "  x --y\n  .x"}
	cmd.Flags().StringP("kind", "k", "a-b", "What it\nis `word`")
	page := manPage(cmd, buildinfo.Info{Version: "1"})
	for _, want := range []string{
		`x \- it\(aqs \efB`, "\nOne\nparagraph.\n", "\n.PP\n\\&.so /etc/passwd\n", "\n.nf\n$ type \\-this \\(aqway\\(aq\n\\&.SH here\n.fi\n",
		"  tab \\(ti \\(ha \\(ga\n", "\nx \\-\\-y\n\\&.x\n", "\\fB\\-k, \\-\\-kind\\fR \\fIword\\fR\nWhat it is word (default \"a\\-b\")\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("there is no %q in\n%s", want, page)
		}
	}
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, ".SH") && strings.Contains(line, "here") || strings.HasPrefix(line, ".so") {
			t.Errorf("a text became a command: %q", line)
		}
	}
}

func TestManPagesAreWrittenIntoAFolder(t *testing.T) {
	w := newWorld(t)
	w.expect(t, 0, "man-pages", w.folder)
	list, err := filepath.Glob(filepath.Join(w.folder, "footbridge*.1"))
	if err != nil || len(list) < 40 {
		t.Errorf("%d pages, %v", len(list), err)
	}
	w.expect(t, exitFailure, "man-pages", filepath.Join(w.folder, "nowhere"))
	if _, err := os.Stat(w.getenv("XDG_RUNTIME_DIR")); err == nil {
		t.Error("writing pages has started a daemon")
	}
}
