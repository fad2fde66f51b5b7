package main

import (
	"testing"

	"github.com/spf13/cobra"
)

// usages returns the help of a command and of all below it, by their paths.
func usages(cmd *cobra.Command, all map[string]string) map[string]string {
	all[cmd.CommandPath()] = cmd.UsageString()
	for _, sub := range cmd.Commands() {
		usages(sub, all)
	}
	return all
}

// A command that is made without the others is the one that is made with them.
func TestACommandIsTheSameWithoutTheOthers(t *testing.T) {
	c := newWorld(t).cli
	whole := usages(newRoot(c), map[string]string{})
	for _, r := range rootCommands {
		root := newRoot(c, r.name, "--help")
		if n := len(root.Commands()); n != 1 {
			t.Errorf("%s: %d commands were made", r.name, n)
		}
		cmd, _, err := root.Find([]string{r.name})
		if err != nil || cmd.Name() != r.name || cmd.GroupID != r.group {
			t.Errorf("%s: found %s of group %s, %v", r.name, cmd.Name(), cmd.GroupID, err)
			continue
		}
		for path, text := range usages(cmd, map[string]string{}) {
			if text != whole[path] {
				t.Errorf("help of %s:\n%swith all others:\n%s", path, text, whole[path])
			}
		}
	}
}

// What is no command's name may be about all of them.
func TestOtherWordsAreForAllCommands(t *testing.T) {
	c := newWorld(t).cli
	all := len(newRoot(c).Commands())
	for _, args := range [][]string{{"--help"}, {"help", "run"}, {"completion", "bash"}, {cobra.ShellCompRequestCmd, "attach", ""}, {"man-pages", "/tmp"}, {"images"}, {"atach"}, {""}} {
		if n := len(newRoot(c, args...).Commands()); n != all {
			t.Errorf("%q: %d of %d commands", args, n, all)
		}
	}
}

// To make all commands is a quarter of what a short one takes.
func TestACommandDoesNotPayForTheOthers(t *testing.T) {
	c := newWorld(t).cli
	whole := testing.AllocsPerRun(3, func() { newRoot(c) })
	for _, name := range []string{"attach", "detach", "run", "ps"} {
		if one := testing.AllocsPerRun(3, func() { newRoot(c, name) }); one > whole/5 {
			t.Errorf("%s: %.0f allocations, and %.0f for all commands", name, one, whole)
		}
	}
}
