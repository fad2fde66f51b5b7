package tests

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/footbridge-net/footbridge/"

// layers lists the top folders from the highest to the lowest. A package imports only from layers below its own, or
// from its own folder.
var layers = []string{"tests", "cmd", "engine", "api", "stack", "forwarder", "portfwd", "dns", "tap", "internal"}

// strangers lists layers that do not know each other although one stands above the other: the switch and the gateway
// hand their flows on through interfaces of their own.
var strangers = map[string][]string{"stack": {"forwarder", "portfwd", "dns"}}

// maxLines is how long a file may be: longer ones hold more than one idea.
const maxLines = 700

// treeVariable tells the tests what checkTree has found.
const treeVariable = "FOOTBRIDGE_TREE_PROBLEMS"

func TestTheSourceTreeKeepsItsRules(t *testing.T) {
	if problems := os.Getenv(treeVariable); problems != "" {
		t.Error(problems)
	}
}

func TestTheImportRuleNoticesViolations(t *testing.T) {
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"cmd/footbridge", "engine", true},
		{"engine", "stack", true},
		{"engine/shim", "engine/ipam", true},
		{"stack", "internal/packet", true},
		{"forwarder", "dns", true},
		{"stack", "dns", false},
		{"stack", "forwarder", false},
		{"tap", "stack", false},
		{"engine", "cmd/footbridge", false},
		{"api", "engine", false},
		{"internal/splice", "tap", false},
		{"tests/bench", "tests/world", true},
		{"engine", "tests/world", false},
	} {
		if err := checkImport(c.from, c.to); (err == nil) != c.allowed {
			t.Errorf("%s importing %s: %v, want allowed %v", c.from, c.to, err, c.allowed)
		}
	}
}

// checkImport says whether one package may import another, both named relative to the module.
func checkImport(from, to string) error {
	f, _, _ := strings.Cut(from, "/")
	t, _, _ := strings.Cut(to, "/")
	if f == t {
		return nil
	}
	fi, ti := layer(f), layer(t)
	switch {
	case fi < 0:
		return fmt.Errorf("%s is in no layer", from)
	case ti < 0:
		return fmt.Errorf("%s is in no layer", to)
	case ti < fi:
		return fmt.Errorf("%s imports %s, which stands above it", from, to)
	}
	for _, s := range strangers[f] {
		if s == t {
			return fmt.Errorf("%s imports %s: it shall not know it", from, to)
		}
	}
	return nil
}

func layer(folder string) int {
	for i, l := range layers {
		if l == folder {
			return i
		}
	}
	return -1
}

// checkTree holds the source tree to its rules: imports point downwards, every package says what it is for, no file
// is too long. Tests may import test helpers.
func checkTree(root string) error {
	var problems []error
	documented := make(map[string]bool) // folder -> has a package comment
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(filepath.Dir(rel))
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if n := strings.Count(string(text), "\n"); n > maxLines {
			problems = append(problems, fmt.Errorf("%s has %d lines, over %d", rel, n, maxLines))
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ParseComments|parser.ImportsOnly)
		if err != nil {
			problems = append(problems, err)
			return nil
		}
		test := strings.HasSuffix(name, "_test.go")
		if !test {
			documented[folder] = documented[folder] || isDocumented(file)
		}
		for _, spec := range file.Imports {
			to, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module)
			if !ours || test && strings.HasPrefix(to, "tests/") {
				continue
			}
			if err := checkImport(folder, to); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", rel, err))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for folder, ok := range documented {
		if !ok {
			problems = append(problems, fmt.Errorf("package %s has no comment that says what it is for", folder))
		}
	}
	return errors.Join(problems...)
}

func isDocumented(file *ast.File) bool {
	return file.Doc != nil && len(strings.TrimSpace(file.Doc.Text())) > 0
}
