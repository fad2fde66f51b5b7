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
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// modelVariable tells the tests what checkThreatModel has found.
const modelVariable = "FOOTBRIDGE_THREAT_MODEL_PROBLEMS"

func TestTheThreatModelIsTrue(t *testing.T) {
	if problems := os.Getenv(modelVariable); problems != "" {
		t.Error(problems)
	}
}

// Sections of the threat model whose tables are held to the rules. The last cell of a table's row names tests.
const (
	sectionEntries   = "Where hostile bytes come in"
	sectionPromises  = "Promises"
	sectionIncidents = "Incidents"
)

// inventory is what the tree has of what a threat model may name.
type inventory struct {
	tests map[string]bool // as "stack.FuzzFrame" and "scripts/x.txtar", "hostile: x", "chaos: x"
	fuzz  []string        // as "stack.FuzzFrame"
}

// checkThreatModel holds docs/threat-model.md to the tree and to SECURITY.md.
func checkThreatModel(root string) error {
	model, err := os.ReadFile(filepath.Join(root, "docs", "threat-model.md"))
	if err != nil {
		return err
	}
	security, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	if err != nil {
		return err
	}
	has, err := takeInventory(root)
	if err != nil {
		return err
	}
	return judge(string(model), string(security), has)
}

// judge says in what a threat model is not true: it names every promise with a test, every fuzz target, and no test
// that is not there.
func judge(model, security string, has inventory) error {
	var problems []error
	complain := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	named := make(map[string]bool) // in the table of entry points
	promised := make(map[string]string)
	for _, section := range []string{sectionEntries, sectionPromises, sectionIncidents} {
		rows := tableOf(model, section)
		if len(rows) == 0 {
			complain("docs/threat-model.md has no table below %q", section)
		}
		for _, cells := range rows {
			tests := quoted(cells[len(cells)-1])
			if len(tests) == 0 {
				complain("%s: %q names no test", section, cells[0])
			}
			for _, test := range tests {
				if !has.tests[test] {
					complain("%s: %q names %q, which does not exist", section, cells[0], test)
				}
				named[test] = named[test] || section == sectionEntries
			}
			if section == sectionPromises && len(cells) > 1 {
				promised[cells[0]] = cells[1]
			}
		}
	}
	for _, target := range has.fuzz {
		if !named[target] {
			complain("%s: the fuzz target %s is not there", sectionEntries, target)
		}
	}
	promises := promisesOf(security)
	if len(promises) == 0 {
		complain("SECURITY.md has no promises")
	}
	for number, promise := range promises {
		if promised[number] != promise {
			complain("%s: promise %s is %q, and here %q", sectionPromises, number, promise, promised[number])
		}
		delete(promised, number)
	}
	for number, promise := range promised {
		complain("%s: nobody has promised %s, %q", sectionPromises, number, promise)
	}
	return errors.Join(problems...)
}

// tableOf returns the rows of the tables of a section, without their headings.
func tableOf(text, section string) [][]string {
	_, text, _ = strings.Cut(text, "\n## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	var rows [][]string
	heading := true
	for line := range strings.Lines(text) {
		line, ok := strings.CutPrefix(strings.TrimSpace(line), "|")
		switch {
		case !ok:
			heading = true
		case strings.HasPrefix(line, "--"):
			heading = false
		case !heading:
			cells := strings.Split(strings.TrimSuffix(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	return rows
}

var (
	backquoted = regexp.MustCompile("`([^`]+)`")
	promise    = regexp.MustCompile(`(?m)^(\d+)\. \*\*(.+?)[.,]?\*\*`)
)

func quoted(cell string) []string {
	var list []string
	for _, m := range backquoted.FindAllStringSubmatch(cell, -1) {
		list = append(list, m[1])
	}
	return list
}

// promisesOf returns the promises of SECURITY.md by their numbers.
func promisesOf(security string) map[string]string {
	list := make(map[string]string)
	for _, m := range promise.FindAllStringSubmatch(security, -1) {
		list[m[1]] = m[2]
	}
	return list
}

// takeInventory looks at the tree: the tests and fuzz targets of all packages, scripts, and rows of the tables.
func takeInventory(root string) (inventory, error) {
	has := inventory{tests: make(map[string]bool)}
	scripts, err := filepath.Glob(filepath.Join(root, "tests", "scripts", "*.txtar"))
	if err != nil {
		return has, err
	}
	for _, path := range scripts {
		has.tests["scripts/"+filepath.Base(path)] = true
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != root && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(rel)
		rows := map[string]string{"tests/hostile": "hostile: ", "tests/chaos": "chaos: "}[folder]
		test := strings.HasSuffix(path, "_test.go")
		if !test && (rows == "" || !strings.HasSuffix(path, ".go")) {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if !test {
			for _, name := range rowsOf(file) {
				has.tests[rows+name] = true
			}
			return nil
		}
		for _, name := range testsOf(file) {
			has.tests[folder+"."+name] = true
			if strings.HasPrefix(name, "Fuzz") {
				has.fuzz = append(has.fuzz, folder+"."+name)
			}
		}
		return nil
	})
	return has, err
}

// testsOf returns the names of a file's tests and fuzz targets.
func testsOf(file *ast.File) []string {
	var names []string
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if ok && f.Recv == nil && f.Name.Name != "TestMain" && (strings.HasPrefix(f.Name.Name, "Test") || strings.HasPrefix(f.Name.Name, "Fuzz")) {
			names = append(names, f.Name.Name)
		}
	}
	return names
}

// rowsOf returns the names of the rows in a file's tables: lists of row or fault, whose elements have a field name or are
// made by a function whose first argument is the name.
func rowsOf(file *ast.File) []string {
	var names []string
	add := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if name, err := strconv.Unquote(lit.Value); err == nil {
				names = append(names, name)
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		list, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		array, ok := list.Type.(*ast.ArrayType)
		if !ok {
			return true
		}
		if of, ok := array.Elt.(*ast.Ident); !ok || of.Name != "row" && of.Name != "fault" {
			return true
		}
		for _, element := range list.Elts {
			switch e := element.(type) {
			case *ast.CallExpr:
				if len(e.Args) > 0 {
					add(e.Args[0])
				}
			case *ast.CompositeLit:
				for _, field := range e.Elts {
					if kv, ok := field.(*ast.KeyValueExpr); ok {
						if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "name" {
							add(kv.Value)
						}
					}
				}
			}
		}
		return true
	})
	return names
}

func TestTheThreatModelsCheckNoticesWhatIsWrong(t *testing.T) {
	const security = "# Security\n\n1. **No privilege.** None.\n2. **Only what is published,** and\n   more.\n"
	const good = `# Threat model

## Where hostile bytes come in

| what | parsed by | tests |
|---|---|---|
| frames | stack | ` + "`stack.FuzzFrame`" + ` |

## Promises

| | promise | how | tests |
|---|---|---|---|
| 1 | No privilege | by ` + "`code`" + ` | ` + "`scripts/a.txtar`, `chaos: a fault`" + ` |
| 2 | Only what is published | so | ` + "`hostile: a row`, `internal/packet.TestIP`" + ` |

## Incidents

| what | how | tests |
|---|---|---|
| CVE-1 | so | ` + "`stack.FuzzFrame`" + ` |
`
	has := inventory{fuzz: []string{"stack.FuzzFrame"}, tests: map[string]bool{
		"stack.FuzzFrame": true, "scripts/a.txtar": true, "chaos: a fault": true, "hostile: a row": true, "internal/packet.TestIP": true,
	}}
	if err := judge(good, security, has); err != nil {
		t.Errorf("a true one: %v", err)
	}
	for name, c := range map[string]struct{ old, new, want string }{
		"a test that is not there":     {"packet.TestIP", "packet.TestUDP", `"internal/packet.TestUDP", which does not exist`},
		"a row that is not there":      {"hostile: a row", "hostile: a raw", `"hostile: a raw", which does not exist`},
		"a script that is not there":   {"scripts/a.txtar", "scripts/b.txtar", `"scripts/b.txtar", which does not exist`},
		"no test at all":               {"`scripts/a.txtar`, `chaos: a fault`", "by thought", `"1" names no test`},
		"a promise that is left out":   {"| 2 | Only what is published", "| | Only what is published", `promise 2 is "Only what is published", and here ""`},
		"a promise of other words":     {"No privilege |", "Some privilege |", `promise 1 is "No privilege", and here "Some privilege"`},
		"a promise that nobody made":   {"| 2 | Only", "| 3 | Only", `nobody has promised 3`},
		"a fuzz target that is lost":   {"| frames | stack | `stack.FuzzFrame` |", "| frames | stack | `scripts/a.txtar` |", "the fuzz target stack.FuzzFrame is not there"},
		"a section that is lost":       {"## Incidents", "## Others", `no table below "Incidents"`},
		"code where only tests belong": {"`chaos: a fault`", "`--internal`", `"--internal", which does not exist`},
	} {
		err := judge(strings.Replace(good, c.old, c.new, 1), security, has)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if err := judge(good, "# Security\n", has); err == nil || !strings.Contains(err.Error(), "has no promises") {
		t.Errorf("no promises: %v", err)
	}
}

func TestRowsAndTestsAreFoundInSource(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "x.go", `package x
var some = []row{{group: g, name: "one"}, flood("two", f), {name: not}}
var faults = []fault{{name: "three", share: 1}}
var lanes = []lane{{name: "no row"}}
func TestX(t *testing.T) {}
func TestMain(m *testing.M) {}
func (s *suite) TestMethod() {}
func FuzzY(f *testing.F) {}
func helper() {}
`, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := rowsOf(file), []string{"one", "two", "three"}; !slices.Equal(got, want) {
		t.Errorf("rows are %q, want %q", got, want)
	}
	if got, want := testsOf(file), []string{"TestX", "FuzzY"}; !slices.Equal(got, want) {
		t.Errorf("tests are %q, want %q", got, want)
	}
}
