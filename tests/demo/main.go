package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

func main() {
	world.Dispatch()
	os.Exit(world.Main(nil, run))
}

// scene is one behaviour and the commands that show it.
type scene struct {
	row   string // of the list of behaviours
	title string
	steps []step
}

// step is one command, printed as typed.
type step struct {
	place   world.Place
	command string // for sh, at the place
	want    string // regular expression that the output matches; "" for none
	fails   bool   // the command must fail
	settle  bool   // repeat until it is as wanted: a server inside may still be starting
}

func user(command, want string) step { return step{place: world.Host, command: command, want: want} }
func remote(command, want string) step {
	return step{place: world.Client, command: command, want: want}
}
func refused(command, want string) step {
	return step{place: world.Host, command: command, want: want, fails: true}
}
func soon(s step) step { s.settle = true; return s }

// settleTime bounds how long a step marked with soon is repeated.
const settleTime = 5 * time.Second

func run() int {
	begin := time.Now()
	w, err := world.Start(world.Options{Footbridge: world.Binary(), Share: world.SharedFolders()})
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	defer w.Close()
	kernel := w.Run(world.Host, "uname", "-sr")
	id := w.Run(world.Host, "id", "-u")
	capabilities := w.Run(world.Host, "sed", "-n", "s/^CapEff:[[:space:]]*//p", "/proc/self/status")
	fmt.Printf("A user's machine (%s, uid %s, capabilities %s) with the address %s, a remote client\n"+
		"with %s and an internet with a web server at %s, made of namespaces for this demonstration.\n",
		strings.TrimSpace(kernel.Stdout), strings.TrimSpace(id.Stdout), strings.TrimSpace(capabilities.Stdout),
		world.Addr("HOST4"), world.Addr("CLIENT4"), world.Addr("WEB4"))

	failed := make(map[int]string)
	for i, s := range scenes {
		fmt.Printf("\n# %s: %s\n", s.row, s.title)
		for _, step := range s.steps {
			if problem := perform(w, step); problem != "" {
				fmt.Println("  !!", problem)
				failed[i] = problem
			}
		}
	}

	fmt.Printf("\n%-8s %-78s %s\n", "ROW", "SHOWN", "RESULT")
	for i, s := range scenes {
		result := "ok"
		if failed[i] != "" {
			result = "FAILED: " + failed[i]
		}
		fmt.Printf("%-8s %-78s %s\n", s.row, s.title, result)
	}
	took := time.Since(begin).Round(100 * time.Millisecond)
	if len(failed) > 0 {
		fmt.Printf("\n%d of %d failed, in %v\n", len(failed), len(scenes), took)
		return 1
	}
	fmt.Printf("\nAll %d shown in %v, without root.\n", len(scenes), took)
	return 0
}

// perform prints a step and its output and says what is wrong with it.
func perform(w *world.World, s step) (problem string) {
	prompt := "$ "
	if s.place == world.Client {
		prompt = "client$ "
	}
	fmt.Println(prompt + s.command)
	want := regexp.MustCompile("(?m)" + s.want)
	var r world.Result
	attempt := func() bool {
		r = w.Run(s.place, "sh", "-c", s.command)
		switch {
		case (r.Code != 0) != s.fails:
			problem = fmt.Sprintf("%s: exit status %d", s.command, r.Code)
		case !want.MatchString(r.Stdout + r.Stderr):
			problem = fmt.Sprintf("%s: the output does not match %q", s.command, s.want)
		default:
			problem = ""
		}
		return problem == ""
	}
	if s.settle {
		world.Poll(settleTime, attempt)
	} else {
		attempt()
	}
	fmt.Print(r.Stdout, r.Stderr)
	return problem
}
