package main

import (
	"os"
	"strings"
	"testing"
)

func TestOutputThatCannotBeWrittenIsAnError(t *testing.T) {
	for _, args := range []string{"version", "run --help", "help run", "--version", "network create --help", "create true", "completion bash"} {
		w := newWorld(t)
		if args == "create true" {
			w.serveBackend(t, &creator{})
		}
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		w.stdout = &output{file: full}
		w.expect(t, exitFailure, strings.Fields(args)...)
		if said := w.err.String(); strings.Count(said, "no space left on device") != 1 {
			t.Errorf("%s: said %q", args, said)
		}
	}
}

func TestUnknownTopicsHaveNoHelp(t *testing.T) {
	w := newWorld(t)
	for topic, said := range map[string]string{"nope": "unknown command: footbridge nope", "network nope": "unknown command: footbridge network nope", "rune": "footbridge run"} {
		w.expect(t, exitFailure, append([]string{"help"}, strings.Fields(topic)...)...)
		if !strings.Contains(w.err.String(), said) || w.out.Len() > 0 {
			t.Errorf("%s: said %q", topic, w.err.String())
		}
	}
	for _, shell := range []string{"bash", "zsh"} {
		w.expect(t, 0, "completion", shell, "--help")
		if said := w.out.String(); strings.Contains(said, "brew") || strings.Contains(said, "####") || !strings.Contains(said, "You will need to start a new shell") {
			t.Errorf("completion %s: %q", shell, said)
		}
	}
	w.expect(t, 0, "help", "network", "create")
	if !strings.HasPrefix(w.out.String(), "Usage:  footbridge network create") {
		t.Errorf("printed %q", w.out.String())
	}
}
