package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every program that is built has a page, which is installed with those of the commands.
func TestEveryProgramHasAManualPage(t *testing.T) {
	w := newWorld(t)
	w.expect(t, 0, "man-pages", w.folder)
	programs, err := filepath.Glob("../*/main.go")
	if err != nil || len(programs) < 3 {
		t.Fatalf("the programs are %q, %v", programs, err)
	}
	for _, program := range programs {
		name := filepath.Base(filepath.Dir(program))
		page, err := os.ReadFile(filepath.Join(w.folder, name+".1"))
		if err != nil {
			t.Errorf("%s has no page: %v", name, err)
			continue
		}
		for _, want := range []string{`.TH "` + strings.ToUpper(name) + `" 1`, ".SH NAME\n" + roff(name) + ` \- `, ".SH SYNOPSIS", ".SH SEE ALSO"} {
			if !strings.Contains(string(page), want) {
				t.Errorf("%s.1 does not say %q", name, want)
			}
		}
		for _, to := range regexp.MustCompile(`(?m)^\\fB(\S+)\\fR\(1\),$`).FindAllStringSubmatch(string(page), -1) {
			if _, err := os.Stat(filepath.Join(w.folder, asRead(to[1])+".1")); err != nil {
				t.Errorf("%s.1 leads to a page that is not there: %v", name, err)
			}
		}
	}
}

// What a plugin understands is in its page.
func TestPagesOfPluginsTellAll(t *testing.T) {
	pages := map[string]string{}
	addPluginPages(pages, someBuild)
	for _, c := range []struct {
		page, source, pattern string
		least                 int
	}{
		{"footbridge-cni.1", "../footbridge-cni/config.go", `(?m)^\t"([^"]+)": +(?:func|\w+,)`, 15},
		{"footbridge-cni.1", "../footbridge-cni/capabilities.go", `(?m)^\t"(\w+)": +\(\*capabilities\)`, 5},
		{"footbridge-cni.1", "../footbridge-cni/arguments.go", `(?m)^\t\tcase "(\w+)":`, 4},
		{"footbridge-cni.1", "../footbridge-cni/errors.go", `(?m)^\tcode\w+ +uint = (\d+)`, 3},
		{"footbridge-cni.1", "../footbridge-cni/main.go", `PluginSupports\("([\d.]+)"`, 1},
		{"footbridge-netavark.1", "../footbridge-netavark/main.go", `command == "(\w+)"`, 4},
		{"footbridge-netavark.1", "../footbridge-netavark/main.go", `forwarderName = "(\w+)"`, 1},
		{"footbridge-netavark.1", "../footbridge-netavark/setup.go", `getenv\("(\w+)"\)`, 1},
	} {
		source, err := os.ReadFile(c.source)
		if err != nil {
			t.Fatal(err)
		}
		words := regexp.MustCompile(c.pattern).FindAllStringSubmatch(string(source), -1)
		if len(words) < c.least {
			t.Errorf("%s has only %q", c.source, words)
		}
		for _, word := range words {
			if !regexp.MustCompile(`(?m)(^|[\s,(])` + regexp.QuoteMeta(word[1]) + `($|[\s,=.)])`).MatchString(asRead(pages[c.page])) {
				t.Errorf("%s does not say %s, as %s does", c.page, word[1], c.source)
			}
		}
	}
}
