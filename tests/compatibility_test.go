package tests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// compatibilityVariable tells the tests what checkCompatibility has found.
const compatibilityVariable = "FOOTBRIDGE_COMPATIBILITY_PROBLEMS"

func TestTheComparisonWithDockerIsTrue(t *testing.T) {
	if problems := os.Getenv(compatibilityVariable); problems != "" {
		t.Error(problems)
	}
}

// sectionAlone is the section of docs/compatibility.md with the scripts that show what Docker has no word for: a list,
// where the others have tables.
const sectionAlone = "Without a counterpart"

// checkCompatibility holds docs/compatibility.md to the scripts that are there.
func checkCompatibility(root string) error {
	text, err := os.ReadFile(filepath.Join(root, "docs", "compatibility.md"))
	if err != nil {
		return err
	}
	paths, err := filepath.Glob(filepath.Join(root, "tests", "scripts", "*.txtar"))
	if err != nil {
		return err
	}
	var scripts []string
	for _, path := range paths {
		scripts = append(scripts, strings.TrimSuffix(filepath.Base(path), ".txtar"))
	}
	return judgeCompatibility(string(text), scripts)
}

// judgeCompatibility says in what the comparison is not true: each row says whether it is as in Docker and names, in their
// order, scripts that exist, or says that something is not there and why; and every script is named.
func judgeCompatibility(text string, scripts []string) error {
	var problems []error
	complain := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	named := make(map[string]bool)
	check := func(where string, names []string) {
		if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
			complain("%s: its scripts are not sorted, or named twice", where)
		}
		for _, name := range names {
			if !slices.Contains(scripts, name) {
				complain("%s names %q, which is no script", where, name)
			}
			named[name] = true
		}
	}
	var alone []string
	for _, section := range sectionsOf(text) {
		if section == sectionAlone {
			_, list, _ := strings.Cut(text, "\n## "+section+"\n")
			for line := range strings.Lines(list) {
				if item, ok := strings.CutPrefix(line, "- "); ok {
					alone = append(alone, quoted(item)...)
				}
			}
			continue
		}
		rows := tableOf(text, section)
		if len(rows) == 0 {
			complain("there is no table below %q", section)
		}
		for _, cells := range rows {
			if len(cells) != 3 {
				complain("%s: %q has %d cells, not 3", section, cells[0], len(cells))
				continue
			}
			verdict, names := cells[1], quoted(cells[2])
			reason, absent := strings.CutPrefix(verdict, "not there:")
			_, different := strings.CutPrefix(verdict, "different: ")
			switch {
			case absent && strings.TrimSpace(reason) == "":
				complain("%s: %q is not there, and nothing says why", section, cells[0])
			case !absent && !different && !strings.HasPrefix(verdict, "same"):
				complain("%s: %q says neither same, nor different, nor not there, with the reason", section, cells[0])
			case !absent && len(names) == 0:
				complain("%s: %q names no script", section, cells[0])
			}
			check(fmt.Sprintf("%s: %q", section, cells[0]), names)
		}
	}
	for _, name := range alone {
		if named[name] {
			complain("%s: %q has a counterpart, a row names it", sectionAlone, name)
		}
	}
	check(sectionAlone, alone)
	for _, name := range scripts {
		if !named[name] {
			complain("the script %q is named nowhere", name)
		}
	}
	return errors.Join(problems...)
}

// sectionsOf returns the headings of the second rank.
func sectionsOf(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		if section, ok := strings.CutPrefix(line, "## "); ok {
			list = append(list, strings.TrimSpace(section))
		}
	}
	return list
}

func TestTheComparisonsCheckNoticesWhatIsWrong(t *testing.T) {
	const good = `# Compared with Docker

## Networks

| what | as in Docker | shown by |
|---|---|---|
| lists | same | ` + "`a`, `b`" + ` |
| MACs | different: of the address | ` + "`c`" + ` |
| overlay | not there: it needs root | |

## Without a counterpart

- ` + "`d`" + `
- ` + "`e`" + `
`
	scripts := []string{"a", "b", "c", "d", "e"}
	if err := judgeCompatibility(good, scripts); err != nil {
		t.Errorf("a true one: %v", err)
	}
	for name, c := range map[string]struct{ old, new, want string }{
		"a script that is not there":       {"`c`", "`x`", `"x", which is no script`},
		"a script that is named nowhere":   {"- `e`\n", "", `"e" is named nowhere`},
		"scripts out of order":             {"`a`, `b`", "`b`, `a`", "not sorted"},
		"a list out of order":              {"- `d`\n- `e`\n", "- `e`\n- `d`\n", "not sorted"},
		"a script named twice":             {"`a`, `b`", "`a`, `a`, `b`", "named twice"},
		"a row without a script":           {"`c`", "", `"MACs" names no script`},
		"a row without a verdict":          {"different: of the address", "of the address", `"MACs" says neither`},
		"a difference without a reason":    {"different: of the address", "different", `"MACs" says neither`},
		"something missing without reason": {"not there: it needs root", "not there:", `"overlay" is not there, and nothing says why`},
		"a section without a table":        {"## Networks", "## Names\n\n## Networks", `no table below "Names"`},
		"a counterpart on both sides":      {"- `d`", "- `c`\n- `d`", `"c" has a counterpart`},
		"a row of other cells":             {"| lists | same |", "| lists | same | |", `"lists" has 4 cells`},
	} {
		err := judgeCompatibility(strings.Replace(good, c.old, c.new, 1), scripts)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}
