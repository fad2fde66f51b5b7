package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/footbridge-net/footbridge/tests/load"
	"github.com/footbridge-net/footbridge/tests/world"
)

var (
	rounds   = flag.Int("rounds", 20, "how often the main faults are tried, and the others in proportion")
	only     = flag.String("only", "", "regular expression of the faults to try")
	probe    = flag.Duration("probe", 5*time.Millisecond, "between two probes of a kind")
	slack    = flag.Int("slack", 1, "how many times as long as usual everything may take: for machines that others use as well")
	verbose  = flag.Bool("verbose", false, "tell every round")
	seedFlag = flag.Int64("seed", 0, "seed of the moments and choices; 0 takes one of its own")
	module   = "github.com/footbridge-net/footbridge"
)

func main() {
	world.Dispatch()
	load.Dispatch()
	flag.Parse()
	os.Exit(start())
}

// other and broken are binaries that an upgrade is tried with, in the run's folder.
const (
	other  = "other"
	broken = "broken"
)

// otherVersion is the version that the other binary says it has.
const otherVersion = "99.0.0-chaos"

// start builds what needs the source tree, and goes on as an ordinary user.
func start() int {
	if world.Stage() != "" {
		return world.Main(nil, run)
	}
	dir, err := os.MkdirTemp("", "chaos")
	if err == nil {
		defer os.RemoveAll(dir)
		err = world.Build(filepath.Join(dir, other, "footbridge"), "-ldflags=-X "+module+"/internal/buildinfo.version="+otherVersion)
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, broken), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, broken, "footbridge"), []byte("#!/bin/sh\nexit 1\n"), 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos: making binaries for the upgrade:", err)
		return 1
	}
	return world.Main([]string{filepath.Join(dir, other), filepath.Join(dir, broken)}, run)
}

func run() int {
	begin := time.Now()
	wanted, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	c, err := newChaos()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos: setting the stage:", err)
		return 1
	}
	defer c.stage.Close()
	fmt.Printf("%-62s %6s %5s %9s %9s %9s %9s  %s\n", "fault", "tried", "lost", "p50", "p99", "max", "bound", "verdict")
	code := 0
	for _, f := range faults {
		f = f.eased(*slack)
		if !wanted.MatchString(f.name) {
			continue
		}
		r := c.try(f)
		fmt.Println(r.line())
		for _, sentence := range r.lost {
			fmt.Println("    lost:", sentence)
			code = 1
		}
	}
	if code != 0 {
		fmt.Fprintf(os.Stderr, "\nwhat the daemon says:\n%s\n%s\n", c.daemonLog(), c.stage.Try("daemon", "status").Stdout)
	}
	fmt.Printf("\n%v, probes every %v.\n", time.Since(begin).Round(time.Second), *probe)
	return code
}
