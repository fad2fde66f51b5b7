package stack

import (
	"os"
	"strings"
	"testing"
)

// The table of reasons in the package's documentation is complete, and names none that
// is not counted.
func TestEveryReasonIsDocumented(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "by reason:\n//\n")
	if !ok {
		t.Fatal("there is no table")
	}
	table, _, _ = strings.Cut(table, "//\n// #")
	documented := map[string]bool{}
	for line := range strings.Lines(table) {
		if s, ok := strings.CutPrefix(line, "//\t"); ok && !strings.HasPrefix(s, " ") {
			documented[strings.Fields(s)[0]] = true
		}
	}
	for r := DropNone + 1; r < numDropReasons; r++ {
		if r.String() == "" || !documented[r.String()] {
			t.Errorf("%q (%d) is not documented", r, r)
		}
		delete(documented, r.String())
	}
	for name := range documented {
		t.Errorf("%q is documented, and not counted", name)
	}
}
