package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/footbridge-net/footbridge/tests/load"
	"github.com/footbridge-net/footbridge/tests/world"
)

var (
	duration = flag.Duration("duration", 10*time.Minute, "how long to work")
	interval = flag.Duration("interval", 0, "between two samples; default: a hundredth of the duration, at least half a second")
	csvFile  = flag.String("csv", "", "file for the samples")
	seed     = flag.Uint64("seed", 0, "seed of the churn; 0 takes one of its own")
)

func main() {
	world.Dispatch()
	load.Dispatch()
	flag.Parse()
	os.Exit(world.MainWriting("csv", csvFile, run))
}

func run() int {
	if *interval <= 0 {
		*interval = max(*duration/100, 500*time.Millisecond)
	}
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	fmt.Printf("%v, a sample every %v, seed %d\n", *duration, *interval, *seed)
	s, err := newSoak()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		return 1
	}
	defer s.stage.Close()
	if err := s.whole(); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		s.fail("%v", err)
	}
	code := s.report()
	if *csvFile != "" {
		fmt.Println("samples:", *csvFile)
	}
	return code
}
