package main

import (
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// cli is what a command has around it: streams, environment and the clock.
type cli struct {
	stdin          *os.File
	stdout, stderr io.Writer
	environ        []string
	now            func() time.Time
}

func newCLI() *cli {
	return &cli{
		stdin:   os.Stdin,
		stdout:  &output{file: os.Stdout},
		stderr:  os.Stderr,
		environ: os.Environ(),
		now:     time.Now,
	}
}

// lookupEnv finds a variable of the caller's environment.
func (c *cli) lookupEnv(key string) (string, bool) {
	for i := len(c.environ) - 1; i >= 0; i-- {
		if name, value, ok := strings.Cut(c.environ[i], "="); ok && name == key {
			return value, true
		}
	}
	return "", false
}

func (c *cli) getenv(key string) string {
	value, _ := c.lookupEnv(key)
	return value
}

// dirs returns the user's folders, without touching them.
func (c *cli) dirs() (dirs, error) { return findDirs(c.getenv, os.Geteuid()) }

// stdinIsTerminal reports whether input comes from a terminal.
func (c *cli) stdinIsTerminal() bool {
	return c.stdin != nil && term.IsTerminal(int(c.stdin.Fd()))
}

// outputTerminal returns the terminal that output goes to, or nil.
func (c *cli) outputTerminal() *os.File {
	if o, ok := c.stdout.(*output); ok && term.IsTerminal(int(o.file.Fd())) {
		return o.file
	}
	return nil
}
