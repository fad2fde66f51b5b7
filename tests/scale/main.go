package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/tests/actors"
	"github.com/footbridge-net/footbridge/tests/world"
)

var (
	short    = flag.Bool("short", false, "the short form: 100 containers, 2,000 flows, fewer and shorter rounds")
	pattern  = flag.String("run", "", "only rows whose name matches this regular expression")
	list     = flag.Bool("list", false, "print the rows and end")
	jsonFile = flag.String("json", "", "file for the results, as JSON")
	size     = flag.Int("containers", 0, "containers of the crowd; 0 is 1,000, or 100 in the short form")
	many     = flag.Int("flows", 0, "connections of the row of flows; 0 is 20,000, or 2,000 in the short form")
	verbose  = flag.Bool("verbose", false, "print what was measured in each round")
)

func main() {
	world.Dispatch()
	actors.Dispatch(newActor)
	flag.Parse()
	os.Exit(start())
}

// start raises the limit of open files where it may.
func start() int {
	if world.Stage() == "" {
		moreFiles()
	}
	return world.MainWriting("json", jsonFile, play)
}

// wantedFiles is the limit of open files with which systemd starts a user's programs.
const wantedFiles = 524288

// moreFiles gives what is started from here on the limit that a user has on a usual machine, where root starts this on
// one that has less. Without it fewer flows are tried, and that is said.
func moreFiles() {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) == nil && l.Max < wantedFiles {
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: wantedFiles, Max: wantedFiles})
	}
}

// openFiles is what one process may have open.
func openFiles() int {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 1024
	}
	return int(min(l.Max, 1<<20))
}

func play() int {
	choose, err := regexp.Compile(*pattern)
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale: -run:", err)
		return 2
	}
	chosen := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return !choose.MatchString(r.name) })
	if *list {
		for _, r := range chosen {
			fmt.Printf("%-8s %s\n", r.name, r.about)
		}
		return 0
	}
	results := perform(chosen)
	if *jsonFile != "" {
		text, err := json.MarshalIndent(results, "", "\t")
		if err == nil {
			err = os.WriteFile(*jsonFile, append(text, '\n'), 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "scale:", err)
			return 1
		}
	}
	if !results.Good {
		return 1
	}
	return 0
}

// report is all that a run has to say.
type report struct {
	Kernel     string
	Processors int
	Load       string
	Congestion string
	Short      bool
	Rows       []result
	Good       bool
}

// perform carries out rows, each in a world of its own, and prints what came of each.
func perform(chosen []row) report {
	begin := time.Now()
	load, _ := os.ReadFile("/proc/loadavg")
	all := report{Processors: runtime.NumCPU(), Short: *short, Good: true}
	all.Load, _, _ = strings.Cut(string(load), " ")
	for _, r := range chosen {
		var res result
		if err := staged(func(s *stage) error {
			if all.Kernel == "" {
				all.Kernel = strings.TrimSpace(s.w.Run(world.Host, "uname", "-sr").Stdout)
				all.Congestion = s.w.CongestionControl(world.Host)
				fmt.Printf("%s, %d CPUs, load %s, congestion control of the host %s, %d open files a process\n",
					all.Kernel, all.Processors, all.Load, all.Congestion, openFiles())
			}
			res = s.carryOut(r)
			return nil
		}); err != nil {
			res.Name, res.Error = r.name, err.Error()
		}
		res.print(os.Stdout, r.about)
		all.Rows = append(all.Rows, res)
		all.Good = all.Good && res.good()
	}
	verdict := "all bounds kept"
	if !all.Good {
		verdict = "BOUNDS BROKEN"
		fmt.Println()
		for _, r := range all.Rows {
			r.printBroken(os.Stdout)
		}
	}
	fmt.Printf("\n%s, in %v\n", verdict, time.Since(begin).Round(100*time.Millisecond))
	return all
}

// carryOut carries out one row, after which nothing of the daemon may have died.
func (s *stage) carryOut(r row) result {
	begin := time.Now()
	res := result{Name: r.name}
	if err := r.run(s, &res); err != nil {
		res.Error = err.Error()
	}
	if what := s.disaster(); what != "" {
		res.Error = strings.TrimPrefix(res.Error+"; the daemon's log says "+what, "; ")
	}
	res.Seconds = time.Since(begin).Seconds()
	return res
}
