package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/tests/bench/probe"
	"github.com/footbridge-net/footbridge/tests/world"
)

var (
	duration = flag.Duration("time", 3*time.Second, "length of one measurement; iperf3 takes whole seconds")
	rounds   = flag.Int("rounds", 3, "measurements of each system in each row; their median counts")
	pattern  = flag.String("run", "", "only rows whose title matches this `regexp`")
	quick    = flag.Bool("quick", false, "the short form: main rows, MTU 1500 and 65520, one round of one second")
	list     = flag.Bool("list", false, "print the titles of the rows and end")
	from     = flag.String("from", "", "measure nothing: take these reports (`files` that -json wrote, with commas between) together as one run")
	jsonFile = flag.String("json", "", "`file` for all samples")
	markdown = flag.String("markdown", "", "`file` for the tables: between its marks, where it has them")
	svgFile  = flag.String("svg", "", "`file` for a plot of the ratios")
	internal = flag.String("report", "", "file in which the started-again program leaves its report; not for you")
)

func main() {
	world.Dispatch()
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "probe":
			os.Exit(probe.Main(os.Args[2:]))
		case roleAttach:
			os.Exit(status(timeAttachments(os.Args[2:])))
		case roleDial:
			os.Exit(status(dialSoon(os.Args[2])))
		}
	}
	flag.Parse()
	if world.Stage() != "" {
		os.Exit(world.Main(nil, run))
	}
	os.Exit(start())
}

// status is the exit status of a role.
func status(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// start measures in a world, as an unprivileged user, or reads what was measured before, and writes as the user who
// started this what has become of it.
func start() int {
	if *quick {
		setUnlessGiven("rounds", "1")
		setUnlessGiven("time", "1s")
	}
	rows, err := chosen()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 2
	}
	if *list {
		for _, r := range rows {
			fmt.Println(r.title())
		}
		return 0
	}
	var r *report
	code := 0
	if *from != "" {
		r, err = together(strings.Split(*from, ","))
	} else {
		r, code, err = measureApart()
	}
	if err == nil {
		r.compute()
		err = r.publish()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	ours, theirs := r.failures()
	for _, f := range slices.Concat(ours, theirs) {
		fmt.Fprintln(os.Stderr, "failed:", f)
	}
	return max(code, min(len(ours), 1))
}

func setUnlessGiven(name, value string) {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if !given {
		flag.Set(name, value)
		os.Args = append(os.Args, "-"+name+"="+value) // for the program that is started again
	}
}

// chosen returns the rows to be measured.
func chosen() ([]row, error) {
	choose, err := regexp.Compile(*pattern)
	if err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	rows := slices.DeleteFunc(allRows(), func(r row) bool { return *quick && !r.quick || !choose.MatchString(r.title()) })
	if len(rows) == 0 {
		return nil, fmt.Errorf("no row matches -run %q", *pattern)
	}
	return rows, nil
}

// measureApart starts this program again, as world.Main does it, and reads the report that it leaves. Ended by a signal, it
// has left what it had.
func measureApart() (*report, int, error) {
	// It belongs to another user when root starts this, so the file is made here, and open.
	f, err := os.CreateTemp("", "bench-report-*.json")
	if err != nil {
		return nil, 1, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := f.Chmod(0o666); err != nil {
		return nil, 1, err
	}
	// An interrupt from the terminal ends the other program; this one stays to write what there is.
	signal.Ignore(syscall.SIGINT)
	for _, given := range []struct {
		name string
		path *string
	}{{"slirp4netns", slirpPath}, {"pasta", pastaPath}, {"rootlesskit", rootlesskitPath}} {
		if *given.path != "" {
			if absolute, err := filepath.Abs(*given.path); err == nil {
				os.Args = append(os.Args, "-"+given.name+"="+absolute)
			}
		}
	}
	os.Args = append(os.Args, "-report="+f.Name())
	code := world.Main(nil, run)
	text, err := os.ReadFile(f.Name())
	if err == nil && len(text) == 0 {
		return nil, code, fmt.Errorf("nothing was measured")
	}
	if err != nil {
		return nil, code, err
	}
	r, err := readReport(text)
	return r, code, err
}

// together reads several reports as one run.
func together(files []string) (*report, error) {
	var sum *report
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		r, err := readReport(text)
		if err == nil && sum != nil {
			err = sum.merge(r)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if sum == nil {
			sum = r
		}
	}
	return sum, nil
}

// publish writes the files that were asked for, and the tables to standard output.
func (r *report) publish() error {
	tables := r.markdown()
	fmt.Print("\n", tables)
	if *jsonFile != "" {
		if err := os.WriteFile(*jsonFile, r.json(), 0o644); err != nil {
			return err
		}
	}
	if *markdown != "" {
		page, err := os.ReadFile(*markdown)
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		text, err := insert(string(page), tables)
		if err != nil {
			return fmt.Errorf("%s: %w", *markdown, err)
		}
		if err := os.WriteFile(*markdown, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if *svgFile != "" {
		return os.WriteFile(*svgFile, r.svg(), 0o644)
	}
	return nil
}
