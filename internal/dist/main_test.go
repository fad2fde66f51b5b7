package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var committed = time.Date(2026, 11, 22, 1, 2, 3, 0, time.FixedZone("", 3600))

func TestPackageVersion(t *testing.T) {
	for _, tt := range []struct{ described, want string }{
		{"v1.2.3", "1.2.3"},
		{"1.2.3", "1.2.3"},
		{"v1.2.3-rc.1", "1.2.3~rc.1"},
		{"v1.2.3-dirty", "1.2.3+dirty"},
		{"v1.2.3-5-g183683d", "1.2.3+5.g183683d"},
		{"v1.2.3-5-g183683d-dirty", "1.2.3+5.g183683d.dirty"},
		{"v1.2.3-rc.1-5-g183683d", "1.2.3~rc.1+5.g183683d"},
		{"183683d", "0~git20261122000203.183683d"},
		{"183683d-dirty", "0~git20261122000203.183683d.dirty"},
		{"unreleased", "0~20261122000203"},
		{"", ""},
		{"next", ""},
		{"v1.2.3 beta", ""},
		{"v1.2.3-a_b", ""},
		{"../1", ""},
	} {
		got, err := packageVersion(tt.described, committed)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q: %q, %v, want %q", tt.described, got, err, tt.want)
		}
		if strings.ContainsAny(got, "-_: /") {
			t.Errorf("%q: %q is not a version to rpm", tt.described, got)
		}
	}
}

// The order is dpkg's, whose rules rpm shares for these.
func TestPackageVersionsAreOrderedAsTheyCameToBe(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		t.Logf("no dpkg here to compare with: %v", err)
		return
	}
	older := ""
	for i, described := range []string{"abcdef1", "0000001", "v1.2.3-rc.1", "v1.2.3-rc.1-2-gabcdef1", "v1.2.3-rc.2", "v1.2.3", "v1.2.3-9-g0000001", "v1.2.3-10-g0000001", "v1.2.4"} {
		newer, err := packageVersion(described, committed.Add(time.Duration(i)*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if older != "" && exec.Command(dpkg, "--compare-versions", older, "lt", newer).Run() != nil {
			t.Errorf("%s is not older than %s", older, newer)
		}
		older = newer
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func moduleAt(path, dir, pkg string) linkedPackage {
	p := linkedPackage{ImportPath: path + "/" + pkg, Dir: filepath.Join(dir, pkg)}
	p.Module = &struct {
		Path, Version, Dir string
		Main               bool
	}{Path: path, Version: "v1.0.0", Dir: dir}
	return p
}

func TestLicencesAreFoundWhereTheyLie(t *testing.T) {
	dir := t.TempDir()
	for path, text := range map[string]string{
		"a/LICENSE": "licence of a", "a/NOTICE.txt": "notice of a", "a/license.go": "package a", "a/in/ner/COPYING": "licence of inner",
		"a/other/LICENSE": "not linked", "a/in/ner/x.go": "", "a/unlicensed": "no", "b/license-MIT": "licence of b",
	} {
		write(t, filepath.Join(dir, path), text)
	}
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	ours := moduleAt("own", dir, ".")
	ours.Module.Main = true
	list, err := collect([]linkedPackage{moduleAt("b", b, "."), moduleAt("a", a, "in/ner"), moduleAt("a", a, "."), ours})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].name != "a v1.0.0" || list[1].name != "b v1.0.0" {
		t.Fatalf("components: %+v", list)
	}
	if want := []string{"LICENSE", "NOTICE.txt", "in/ner/COPYING"}; !slices.Equal(list[0].files, want) {
		t.Errorf("files of a: %q, want %q", list[0].files, want)
	}
	var out bytes.Buffer
	if err := writeNotices(&out, list); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a v1.0.0: in/ner/COPYING", "licence of inner", "notice of a", "b v1.0.0: license-MIT"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %q in %s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "not linked") {
		t.Error("a licence of what is not linked is named")
	}
}

func TestWhatHasNoLicenceIsNotGivenAway(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "README"), "")
	if list, err := collect([]linkedPackage{moduleAt("bare", dir, ".")}); err == nil || !strings.Contains(err.Error(), "bare v1.0.0") {
		t.Errorf("collected %+v, %v", list, err)
	}
	outside := moduleAt("out", dir, ".")
	outside.Dir = filepath.Dir(dir)
	if list, err := collect([]linkedPackage{outside}); err == nil {
		t.Errorf("a folder outside of its module: %+v", list)
	}
}

// All that is linked today has a licence, Go itself among it.
func TestEveryLinkedModuleHasALicence(t *testing.T) {
	packages, err := linkedPackages([]string{"github.com/footbridge-net/footbridge/cmd/..."})
	if err != nil {
		t.Fatal(err)
	}
	list, err := collect(packages)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Go ", "gvisor.dev/gvisor ", "github.com/spf13/cobra "} {
		if !slices.ContainsFunc(list, func(c *component) bool { return strings.HasPrefix(c.name, want) }) {
			t.Errorf("%s is linked, and not named", want)
		}
	}
}

// The units in the documentation are those that are installed.
func TestDocumentedUnitsAreTheInstalledOnes(t *testing.T) {
	for file, in := range map[string]struct{ page, folder string }{
		"footbridge.socket":                {"systemd.md", ""},
		"footbridge.service.in":            {"systemd.md", "%h/.local/bin"},
		"footbridge-libnetwork.service.in": {"integrations.md", "/usr/local/bin"},
	} {
		doc, err := os.ReadFile("../../docs/" + in.page)
		if err != nil {
			t.Fatal(err)
		}
		unit, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if want := "```ini\n" + strings.ReplaceAll(string(unit), "@BINDIR@", in.folder) + "```"; !strings.Contains(string(doc), want) {
			t.Errorf("docs/%s does not show %s as it is:\n%s", in.page, file, want)
		}
	}
}
