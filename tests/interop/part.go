package main

import (
	"fmt"
	"time"
)

// part is one program, or one family, that footbridge works with.
type part struct {
	name     string             // as the table says it, and what -run matches, as name/feature
	packages []string           // Debian packages, installed by root where a program of this part is missing
	builds   []string           // import paths of Go programs that are built into the stage's bin folder
	programs []program          // without them no cell runs, but for those that name their own
	ids      bool               // needs a user with ranges of subordinate ids, which only root can give
	setup    func(*stage) error // what it starts lives as long as the part
	cells    []cell
}

// program is a command whose version stands in the table.
type program struct {
	name     string
	version  []string // command that prints the version; the first number with a dot in it is it
	optional bool     // cells run without it
}

// cell is one feature of a part.
type cell struct {
	feature string        // a sentence
	needs   []string      // programs that must be there; default: the part's that are not optional
	root    bool          // needs root to prepare it, although the part as a whole does not
	long    bool          // left out in the short form
	limit   time.Duration // default cellLimit
	run     func(*stage) error
}

const (
	cellLimit  = 90 * time.Second // how long a cell may take if it doesn't say so itself
	setupLimit = 15 * time.Minute // a setup may have to fetch what a cache keeps for the next time
)

// parts is filled by the files of the parts.
var parts []part

// roles are functions of parts that run inside the world, in a process of their own: s.user.run(s.role("name"), ...).
// Part files add theirs in init. What a role returns is printed to standard error, with exit status 1.
var roles = map[string]func(args []string) error{}

// leftOutError is why a cell says nothing about footbridge.
type leftOutError struct{ reason string }

func (e leftOutError) Error() string { return "left out: " + e.reason }

// leftOut is what a cell returns that cannot run here, with the reason.
func leftOut(format string, args ...any) error { return leftOutError{fmt.Sprintf(format, args...)} }
