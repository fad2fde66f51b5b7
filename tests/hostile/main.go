package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/tests/actors"
	"github.com/footbridge-net/footbridge/tests/world"
)

var (
	short   = flag.Bool("short", false, "the short form: shorter floods, judged by the median; fewer lies, fewer ports")
	pattern = flag.String("run", "", "only rows whose `group: name` matches this regular expression")
	seed    = flag.Int64("seed", 0, "seed of what is chosen at random; 0 takes one from the clock")
	verbose = flag.Bool("verbose", false, "print all that neighbours measured")
	list    = flag.Bool("list", false, "print the rows and end")
)

func main() {
	world.Dispatch()
	actors.Dispatch(newActor)
	flag.Parse()
	os.Exit(world.Main(nil, play))
}

// rows are the attacks, in the order of the table.
func allRows() []row {
	return slices.Concat(spoofing, lying, owning, isolation, policy, gateways, naming, control, exhausting)
}

func play() int {
	choose, err := regexp.Compile(*pattern)
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile: -run:", err)
		return 2
	}
	rows := slices.DeleteFunc(allRows(), func(r row) bool {
		return !choose.MatchString(r.group + ": " + r.name)
	})
	if *list {
		for _, r := range rows {
			fmt.Printf("%s: %s\n", r.group, r.name)
		}
		return 0
	}
	if *seed == 0 {
		*seed = time.Now().UnixNano()
	}
	w, err := world.Start(world.Options{Footbridge: world.Binary(), Share: world.SharedFolders()})
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		return 1
	}
	defer w.Close()
	s, err := newStage(w, *seed, *short)
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile: setting the stage:", err)
		return 1
	}
	defer s.hub.Close()
	return s.perform(rows)
}

// perform carries out the rows and prints the table; it returns the exit status.
func (s *stage) perform(rows []row) int {
	begin := time.Now()
	kernel := strings.TrimSpace(s.w.Run(world.Host, "uname", "-sr").Stdout)
	load, _, _ := strings.Cut(s.w.Run(world.Host, "cat", "/proc/loadavg").Stdout, " ")
	fmt.Printf("%s, %d CPUs, load %s, seed %d\n\n", kernel, runtime.NumCPU(), load, s.seed)
	fmt.Printf("  %-78s %9s %6s  %-7s %6s  %s\n", "ATTACK", "TRIED", "LET IN", "VERDICT", "TIME", "NEIGHBOURS' WORST p99, DURING/BEFORE; DROPPED, BY REASON")
	var tried, in, broken, failed int
	group := ""
	for _, row := range rows {
		if row.group != group {
			group = row.group
			fmt.Println(strings.ToUpper(group))
		}
		r := s.attack(row)
		tried += r.tried
		in += len(r.letIn)
		broken += len(r.broken)
		if !r.good() {
			failed++
		}
		fmt.Printf("  %-78s %9d %6d  %-7s %5.1fs  %s\n", row.name, r.tried, len(r.letIn), r.verdict(), r.duration.Seconds(), r.lastCell())
		if *verbose && r.effect != nil {
			for _, line := range r.effect.lines() {
				fmt.Printf("      %s\n", line)
			}
		}
		for _, line := range r.details() {
			fmt.Printf("      !! %s\n", line)
		}
	}
	if disaster := s.disaster(); disaster != "" {
		fmt.Printf("\n!! the daemon's log says %q\n", disaster)
		failed++
	}
	fmt.Printf("\n%d attacks tried %d times: %d let in, %d bounds broken, %d attacks not repelled, in %v (seed %d)\n",
		len(rows), tried, in, broken, failed, time.Since(begin).Round(100*time.Millisecond), s.seed)
	if failed > 0 {
		return 1
	}
	return 0
}

// attack carries out one row, after which footbridge's processes must be the same.
func (s *stage) attack(row row) (r result) {
	begin := time.Now()
	defer func() { r.duration = time.Since(begin) }()
	before, err := s.vitals()
	if err != nil {
		r.err = err
		return r
	}
	r.err = row.run(s, &r)
	after, err := s.vitals()
	if err != nil {
		r.bad("footbridge does not answer any more: %v", err)
	} else if after != before {
		r.bad("footbridge's processes are %s (%d restarts), were %s (%d)", after.pids, after.restarts, before.pids, before.restarts)
	}
	return r
}
