package main

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The list at the head of the Makefile names every target that is to be called, and nothing else.
func TestTheMakefileListsItsTargets(t *testing.T) {
	text, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(text), "\n\n")
	phony := regexp.MustCompile(`(?m)^\.PHONY: (.*)$`).FindStringSubmatch(body)
	if phony == nil {
		t.Fatal("there is no .PHONY in the Makefile")
	}
	// What others need is made with them.
	targets := slices.DeleteFunc(strings.Fields(phony[1]), func(target string) bool { return slices.Contains([]string{"all", "tun", "extras"}, target) })
	for _, target := range targets {
		if !regexp.MustCompile(`\bmake ` + target + `([\s;,)]|$)`).MatchString(head) {
			t.Errorf("make %s is not in the list at the head", target)
		}
	}
	for _, listed := range regexp.MustCompile(`(?m)^#   make (\S+)`).FindAllStringSubmatch(head, -1) {
		if !slices.Contains(targets, listed[1]) {
			t.Errorf("make %s is listed, and there is no such target", listed[1])
		}
	}
}

// make help prints that list.
func TestMakeHelpPrintsTheList(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Logf("no make here to ask: %v", err)
		return
	}
	text, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(text), "\n\n")
	var want strings.Builder
	for line := range strings.Lines(head + "\n") {
		want.WriteString(strings.TrimPrefix(strings.TrimPrefix(line, "#"), " "))
	}
	cmd := exec.Command("make", "--no-print-directory", "-C", "../..", "help")
	// Those of a make that runs this test are not for another.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS=") })
	got, err := cmd.CombinedOutput()
	if err != nil || string(got) != want.String() {
		t.Errorf("make help: %v\n%s\nwant\n%s", err, got, want.String())
	}
	if !strings.Contains(string(got), "\n  make help ") || strings.Contains(string(got), "SHELL") {
		t.Errorf("the list is %s", got)
	}
}
