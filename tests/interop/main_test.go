package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

func TestMain(m *testing.M) {
	world.Dispatch()
	os.Exit(m.Run())
}

// nothing is a cell that does nothing.
func nothing(*stage) error { return nil }

func TestCellsAreChosenByPartAndFeature(t *testing.T) {
	all := []part{
		{name: "b", cells: []cell{{feature: "runs", run: nothing}, {feature: "ends", run: nothing}}},
		{name: "a", cells: []cell{{feature: "runs", run: nothing}}},
	}
	for pattern, want := range map[string]string{"": "a/runs b/runs b/ends", "^b/": "b/runs b/ends", "runs": "a/runs b/runs", "c": ""} {
		var got []string
		for _, p := range choose(all, regexp.MustCompile(pattern)) {
			for _, c := range p.cells {
				got = append(got, p.name+"/"+c.feature)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("-run %q chose %q, want %q", pattern, got, want)
		}
	}
	if len(all[0].cells) != 2 {
		t.Error("choosing changed the parts")
	}
}

func TestEveryPartIsCompleteAndHasAnUnusedName(t *testing.T) {
	names := make(map[string]bool)
	for _, p := range parts {
		if p.name == "" || len(p.cells) == 0 || len(p.programs) == 0 {
			t.Errorf("part %q has no name, no cells or no programs", p.name)
		}
		if names[p.name] {
			t.Errorf("two parts are named %s", p.name)
		}
		names[p.name] = true
		features := make(map[string]bool)
		for _, c := range p.cells {
			if c.feature == "" || c.run == nil || features[c.feature] {
				t.Errorf("%s: the cell %q has no name of its own or nothing to run", p.name, c.feature)
			}
			features[c.feature] = true
		}
	}
}

func TestACellSaysWhyItCannotRun(t *testing.T) {
	p := part{name: "p", packages: []string{"the-package"}, builds: []string{"example.org/x/built"}, programs: []program{
		{name: "no-such-program"}, {name: "nor-this-one", optional: true}, {name: "built"},
	}}
	for _, c := range []struct {
		cell cell
		want string
	}{
		{cell{}, "no-such-program is not installed (the-package)"},
		{cell{needs: []string{"sh"}}, ""},
		{cell{needs: []string{"built"}}, ""},
		{cell{needs: []string{"sh", "nor-this-one"}}, "nor-this-one is not installed (the-package)"},
	} {
		if got := unable(p, c.cell); got != c.want {
			t.Errorf("with needs %q it says %q, want %q", c.cell.needs, got, c.want)
		}
	}
	*short = true
	defer func() { *short = false }()
	if got := unable(part{}, cell{long: true}); got != "the short form" {
		t.Errorf("a long cell in the short form: %q", got)
	}
	if got := unable(part{ids: true}, cell{}); (got == "") != isRoot() {
		t.Errorf("a part for which root must prepare the user: %q", got)
	}
}

func TestVersionsAreFoundInWhatProgramsSay(t *testing.T) {
	for said, want := range map[string]string{
		"bubblewrap 0.8.0":                                 "0.8.0",
		"podman version 4.3.1":                             "4.3.1",
		"Docker version 20.10.24+dfsg1, build 297e128":     "20.10.24+dfsg1",
		"systemd 252 (252.38-1~deb12u1)\n+PAM +AUDIT":      "252.38-1~deb12u1",
		"unshare from util-linux 2.38.1":                   "2.38.1",
		"runc version 1.1.5+ds1\nspec: 1.0.2-dev\ngo: 1.2": "1.1.5+ds1",
		"usage: tool": "",
	} {
		if got := parseVersion(said); got != want {
			t.Errorf("in %q found %q, want %q", said, got, want)
		}
	}
}

func TestTheTableNamesFailuresAndReasons(t *testing.T) {
	r := &report{begin: time.Now(), parts: []partResult{{Name: "p", Versions: []string{"prog 1.2"}, Cells: make([]cellResult, 3)}}}
	cells := r.parts[0].Cells
	for i, err := range []error{nil, errors.New("it broke\nin two"), leftOut("prog is %s", "too old")} {
		cells[i].Feature = []string{"works", "breaks", "is old"}[i]
		journal := ""
		if i == 1 {
			journal = "user$ prog\n"
		}
		cells[i].set(err, time.Second, journal)
	}
	var out bytes.Buffer
	if code := r.print(&out); code != 1 {
		t.Errorf("with a failure the exit status is %d", code)
	}
	for _, want := range []string{
		"=== p/breaks: FAILED it broke\nin two\nuser$ prog\n", "\np: prog 1.2\n", "  works    1.0s ok\n", "  breaks   1.0s FAILED: it broke\n",
		"  is old   1.0s left out: prog is too old\n", "1 ok, 1 failed, 1 left out",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
	cells[1].Result = resultOK
	if code := r.print(io.Discard); code != 0 {
		t.Errorf("without a failure the exit status is %d", code)
	}
}

func TestWhatFailsOnceIsExcusedAndWhatFailsTwiceIsNot(t *testing.T) {
	cells := func(results ...string) partResult {
		var p partResult
		for i, r := range results {
			p.Cells = append(p.Cells, cellResult{Feature: strconv.Itoa(i), Result: r, Reason: r})
		}
		return p
	}
	first := cells(resultOK, resultFailed, resultFailed)
	second := cells(resultOK, resultFailed, resultOK)
	second.Cells = second.Cells[1:]
	first.excuse(second)
	r := &report{begin: time.Now(), parts: []partResult{first}}
	var out strings.Builder
	if code := r.print(&out); code != 1 || !strings.Contains(out.String(), "2 ok, 1 failed") || !strings.Contains(out.String(), "at the second try") {
		t.Errorf("exit status %d, %s", code, out.String())
	}
}

func TestTheImageIsAnArchiveOfBusybox(t *testing.T) {
	archive, err := imageArchive()
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string][]byte)
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if names[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	manifest := string(names["manifest.json"])
	if len(names) != 3 || !strings.Contains(manifest, imageName) {
		t.Errorf("the archive has %d files and the manifest %s", len(names), manifest)
	}
}
