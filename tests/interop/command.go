package main

import "strings"

// command is a program with many commands of its own, such as Docker's or podman's, and who gives them.
type command struct {
	s    *stage
	path string
	user place
}

// words are those of a whole command line.
func (d command) words(args []string) []string { return append([]string{d.path}, args...) }

func (d command) run(args ...string) string    { return d.user.run(d.words(args)...) }
func (d command) try(args ...string) result    { return d.user.try(d.words(args)...) }
func (d command) refuse(args ...string) string { return d.user.refuse(d.words(args)...) }

// ends fails the cell unless a command ends with a status.
func (d command) ends(code int, args ...string) result {
	r := d.try(args...)
	if r.Code != code {
		d.s.fail("%s %s: exit status %d, want %d: %s", d.path, strings.Join(args, " "), r.Code, code, lastLine(r.All()))
	}
	return r
}

// is fails the cell unless a command prints exactly a text.
func (d command) is(want string, args ...string) {
	if got := d.run(args...); got != want {
		d.s.fail("%s %s: %q, want %q", d.path, strings.Join(args, " "), got, want)
	}
}

// terminal runs a command with a terminal of its own, by script(1), and returns what it wrote there.
func (d command) terminal(input string, args ...string) string {
	line := d.path
	for _, a := range args {
		line += " '" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return d.user.reading(input).run("script", "-qec", line, "/dev/null")
}

// removeAll removes all containers.
func (d command) removeAll() {
	if ids := d.run("ps", "-aq"); ids != "" {
		d.run(append([]string{"rm", "-f"}, strings.Fields(ids)...)...)
	}
}
