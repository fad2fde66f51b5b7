package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

var (
	pattern  = flag.String("run", "", "only cells whose `name`, part/feature, matches this regular expression")
	jobs     = flag.Int("jobs", 2, "how many parts run at a time")
	short    = flag.Bool("short", false, "leave out what takes long")
	list     = flag.Bool("list", false, "print the cells and end")
	jsonFile = flag.String("json", "", "`file` for the table, as JSON")
	script   = flag.String("script", "", "`file` with shell for bash, run by the user on each chosen part's machine in the place of its cells: to look around")
	verbose  = flag.Bool("verbose", false, "print what every cell runs and reads, not only what failed")
)

// roleArgument makes this program, inside a world, run one function of roles.
const roleArgument = "interop-role"

func main() {
	world.Dispatch()
	if len(os.Args) >= 3 && os.Args[1] == roleArgument {
		os.Exit(playRole(os.Args[2], os.Args[3:]))
	}
	flag.Parse()
	code, err := play()
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		code = 1
	}
	os.Exit(code)
}

func playRole(name string, args []string) int {
	role, ok := roles[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "interop: there is no role %q\n", name)
		return 1
	}
	if err := role(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func play() (int, error) {
	match, err := regexp.Compile(*pattern)
	if err != nil {
		return 1, fmt.Errorf("-run: %w", err)
	}
	chosen := choose(parts, match)
	if *script != "" {
		if chosen, err = lookAround(chosen, *script); err != nil {
			return 1, err
		}
	}
	if *list {
		for _, p := range chosen {
			for _, c := range p.cells {
				fmt.Println(p.name + "/" + c.feature)
			}
		}
		return 0, nil
	}
	if len(chosen) == 0 {
		return 1, fmt.Errorf("no cell is called %q", *pattern)
	}
	if !isRoot() {
		fmt.Fprintln(os.Stderr, "interop: not root: nothing is installed, and parts for which root must prepare a user are left out")
	}
	// What is missing then is told by the cells that lack it.
	if err := install(chosen); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
	}
	dir, lock, err := newFolder()
	if err != nil {
		return 1, err
	}
	defer lock.Close()
	defer os.RemoveAll(dir)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-interrupted
		closeAll()
		os.RemoveAll(dir)
		os.Exit(1)
	}()
	bin := filepath.Join(dir, "bin")
	if err := errors.Join(os.Mkdir(bin, 0o755), gather(bin)); err != nil {
		return 1, err
	}
	r := &report{begin: time.Now(), parts: make([]partResult, len(chosen))}
	var all sync.WaitGroup
	turn := make(chan struct{}, max(1, *jobs))
	for i, p := range chosen {
		turn <- struct{}{}
		all.Go(func() {
			r.parts[i] = playTwice(filepath.Join(dir, p.name), bin, p)
			<-turn
		})
	}
	all.Wait()
	if *jsonFile != "" {
		if err := r.writeJSON(*jsonFile); err != nil {
			return 1, err
		}
	}
	return r.print(os.Stdout), nil
}

// folderPrefix begins the names of the folders of runs.
const folderPrefix = "fbi"

// newFolder makes the folder of this run, with a file in it that is locked as long as this process lives, and removes
// those of runs that were killed before they could do it themselves.
func newFolder() (string, *os.File, error) {
	old, err := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*", "lock"))
	if err != nil {
		return "", nil, err
	}
	for _, path := range old {
		lock, err := os.Open(path)
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			os.RemoveAll(filepath.Dir(path))
		}
		lock.Close()
	}
	dir, err := os.MkdirTemp("", folderPrefix)
	if err != nil {
		return "", nil, err
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
	}
	return dir, lock, err
}

// choose returns the parts with the cells whose names match, in the order of their names.
func choose(all []part, match *regexp.Regexp) []part {
	var chosen []part
	for _, p := range all {
		p.cells = slices.DeleteFunc(slices.Clone(p.cells), func(c cell) bool { return !match.MatchString(p.name + "/" + c.feature) })
		if len(p.cells) > 0 {
			chosen = append(chosen, p)
		}
	}
	slices.SortStableFunc(chosen, func(a, b part) int { return strings.Compare(a.name, b.name) })
	return chosen
}

// lookAround replaces the cells of the parts by a script.
func lookAround(chosen []part, file string) ([]part, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("-script: %w", err)
	}
	for i := range chosen {
		chosen[i].cells = []cell{{feature: file, run: func(s *stage) error {
			r := s.user.try("bash", s.write("script", string(text), 0o644))
			fmt.Println(r.All())
			if r.Code != 0 {
				return fmt.Errorf("exit status %d", r.Code)
			}
			return nil
		}}}
	}
	return chosen, nil
}

// playTwice is playPart, and in the short form what has failed once more, on another machine: the short form is for machines
// that others use, where a program of somebody else's may give up early. What fails only once is told and does not count.
func playTwice(dir, bin string, p part) partResult {
	first := playPart(dir, bin, p)
	if !*short {
		return first
	}
	var again []cell
	for i, c := range first.Cells {
		if c.Result == resultFailed {
			again = append(again, p.cells[i])
		}
	}
	if len(again) > 0 {
		p.cells = again
		first.excuse(playPart(dir+"-again", bin, p))
	}
	return first
}

// playPart makes the part's machine and runs its cells.
func playPart(dir, bin string, p part) partResult {
	r := partResult{Name: p.name}
	open := make([]bool, len(p.cells)) // cells that have no reason yet
	some := false
	for i, c := range p.cells {
		reason := unable(p, c)
		r.Cells = append(r.Cells, cellResult{Feature: c.feature})
		if reason != "" {
			r.Cells[i].set(leftOut("%s", reason), 0, "")
			continue
		}
		open[i], some = true, true
	}
	if !some {
		return r
	}
	s, err := newStage(dir, bin, p)
	if err != nil {
		for i := range p.cells {
			if open[i] {
				r.Cells[i].set(fmt.Errorf("making the machine: %w", err), 0, "")
			}
		}
		return r
	}
	defer s.close()
	for _, g := range p.programs {
		if v := s.versionOf(g); v != "" {
			r.Versions = append(r.Versions, g.name+" "+v)
		}
	}
	for i, c := range p.cells {
		if !open[i] {
			continue
		}
		begin := time.Now()
		err := s.perform(c)
		var journal string
		if err != nil || *verbose {
			journal = s.told()
		}
		r.Cells[i].set(err, time.Since(begin), journal)
		fmt.Fprintf(os.Stderr, "%s: %s: %s (%.1f s)\n", p.name, c.feature, r.Cells[i].Result, r.Cells[i].Seconds)
	}
	return r
}

// unable says why a cell cannot run here, "" if it can.
func unable(p part, c cell) string {
	switch {
	case c.long && *short:
		return "the short form"
	case (p.ids || c.root) && !isRoot():
		return "root must prepare it"
	}
	needs := c.needs
	if needs == nil {
		for _, g := range p.programs {
			if !g.optional {
				needs = append(needs, g.name)
			}
		}
	}
	for _, name := range needs {
		if !found(name) && !builtHere(p, name) {
			return name + " is not installed (" + strings.Join(p.packages, ", ") + ")"
		}
	}
	return ""
}

// builtHere says whether a program is one that the part has built.
func builtHere(p part, name string) bool {
	return slices.ContainsFunc(p.builds, func(path string) bool { return filepath.Base(path) == name })
}
