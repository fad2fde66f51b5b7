package main

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/tests/load"
	"github.com/footbridge-net/footbridge/tests/world"
)

const (
	// hungLimit is how long a worker that does not answer may last: the keeper has to be sure before it kills it.
	hungLimit = 5 * time.Second
	// loopLimit is how long after the last of several deaths in a row everything must work: the keeper waits longer
	// each time before it starts a worker that ended at once.
	loopLimit = 10 * time.Second
	// loops is how often the worker is killed in a row.
	loops = 6
	// busy is the share of the time that the keeper may work while its workers die.
	busy = 0.5
)

// What the keeper takes for a crash loop: more than this many deaths within that time. It waits then before it starts
// another worker, which is what killWorkerOften is about, and nothing else.
const (
	patientDeaths = 5
	patientTime   = 10 * time.Second
)

// victim returns the worker's pid, as soon as another death is no crash loop.
func (c *chaos) victim() (int, error) {
	if n := len(c.killed); n >= patientDeaths {
		time.Sleep(c.killed[n-patientDeaths] + patientTime + time.Second - load.Now())
	}
	pid, err := c.worker()
	c.killed = append(c.killed, load.Now())
	return pid, err
}

func (c *chaos) killWorker(*row) (time.Duration, error) {
	pid, err := c.victim()
	if err != nil {
		return 0, err
	}
	time.Sleep(c.random.moment(20 * time.Millisecond)) // another moment of the traffic each time
	return c.kill(pid, syscall.SIGKILL)
}

// stopWorker leaves the worker hanging. It goes on at the end, lest a daemon that does not notice spoils what follows.
func (c *chaos) stopWorker(r *row) (time.Duration, error) {
	pid, err := c.victim()
	if err != nil {
		return 0, err
	}
	hit, err := c.kill(pid, syscall.SIGSTOP)
	if err != nil {
		return 0, err
	}
	var noticed error
	if _, noticed = c.nextWorker(pid, hungLimit); noticed == nil {
		return hit, nil
	}
	r.lose("a worker that hangs was not replaced: %v", noticed)
	_, err = c.kill(pid, syscall.SIGCONT)
	return hit, err
}

// killWorkerOften kills each worker as soon as it is there.
func (c *chaos) killWorkerOften(r *row) (hit time.Duration, err error) {
	keeper, err := c.keeper()
	if err != nil {
		return 0, err
	}
	before, err := c.stage.Admin.Process(keeper)
	if err != nil {
		return 0, err
	}
	begin, pid := load.Now(), 0
	for range loops {
		if pid, err = c.nextWorker(pid, loopLimit); err != nil {
			return 0, err
		}
		if hit, err = c.kill(pid, syscall.SIGKILL); err != nil {
			return 0, err
		}
		c.killed = append(c.killed, hit)
	}
	if _, err = c.nextWorker(pid, loopLimit); err != nil {
		return 0, err
	}
	after, err := c.stage.Admin.Process(keeper)
	if err != nil {
		return 0, err
	}
	if worked, all := after.CPU-before.CPU, load.Now()-begin; float64(worked) > busy*float64(all) {
		r.lose("the keeper worked for %v of %v while its workers died: a busy loop", worked, all)
	}
	return hit, nil
}

// operation is something that a user asks for: run returns the commands, undo what is left of it when it succeeded.
type operation struct {
	run  func(number int) [][]string
	undo func(number int) [][]string
	made string // what a list shows when it succeeded, as a format with the number
	list []string
}

var (
	startContainer = operation{
		run: func(n int) [][]string {
			return [][]string{{"run", "-d", "--name", fmt.Sprint("extra", n), "--network", load.Shared, "sleep", "infinity"}}
		},
		undo: func(n int) [][]string { return [][]string{{"rm", "-f", fmt.Sprint("extra", n)}} },
		made: "extra%d", list: []string{"ps", "-a", "--format", "{{.Names}}"},
	}
	publishPort = operation{
		run: func(n int) [][]string {
			return [][]string{{"run", "-d", "--name", fmt.Sprint("extra", n), "--network", load.Shared,
				"-p", fmt.Sprintf("%d:80", 8100+n), "-p", fmt.Sprintf("%d:80/udp", 8100+n), "sleep", "infinity"}}
		},
		undo: func(n int) [][]string { return [][]string{{"rm", "-f", fmt.Sprint("extra", n)}} },
		made: "extra%d", list: []string{"ps", "-a", "--format", "{{.Names}}"},
	}
	makeNetwork = operation{
		run: func(n int) [][]string {
			name := fmt.Sprint("extra", n)
			return [][]string{{"network", "create", name}, {"network", "connect", name, load.Hidden}}
		},
		undo: func(n int) [][]string {
			name := fmt.Sprint("extra", n)
			return [][]string{{"network", "disconnect", name, load.Hidden}, {"network", "rm", name}}
		},
		made: "extra%d", list: []string{"network", "ls", "--format", "{{.Name}}"},
	}
	connectNetwork = operation{
		run: func(int) [][]string {
			return [][]string{{"network", "connect", "--alias", "extra", load.Shared, load.Hidden},
				{"network", "disconnect", load.Shared, load.Hidden}}
		},
		undo: func(int) [][]string {
			return [][]string{{"network", "disconnect", load.Shared, load.Hidden}}
		},
	}
)

// during returns a fault that kills the worker while an operation is under way. The operation either succeeds or says
// what went wrong, and undone it leaves nothing.
func during(o operation) func(*chaos, *row) (time.Duration, error) {
	return func(c *chaos, r *row) (time.Duration, error) {
		pid, err := c.victim()
		if err != nil {
			return 0, err
		}
		commands := o.run(r.tried)
		results := make(chan []world.Result, 1)
		go func() {
			var list []world.Result
			for _, args := range commands {
				list = append(list, c.stage.Try(args...))
			}
			results <- list
		}()
		time.Sleep(c.random.moment(80 * time.Millisecond))
		hit, err := c.kill(pid, syscall.SIGKILL)
		if err != nil {
			return 0, err
		}
		for i, result := range <-results {
			c.judgeCommand(r, commands[i], result)
		}
		for _, args := range o.undo(r.tried) {
			c.stage.Try(args...) // what was not made cannot be unmade
		}
		if o.list != nil {
			left, err := c.stage.Footbridge(o.list...)
			if err != nil {
				return 0, err
			}
			if name := fmt.Sprintf(o.made, r.tried); strings.Contains("\n"+left+"\n", "\n"+name+"\n") {
				r.lose("%s cannot be removed", name)
			}
		}
		return hit, nil
	}
}

// judgeCommand says what is wrong with the end of a command during a fault: it may succeed, or fail with a sentence.
func (c *chaos) judgeCommand(r *row, args []string, result world.Result) {
	command := "footbridge " + strings.Join(args, " ")
	said := strings.TrimSpace(result.Stderr)
	switch {
	case result.Err != nil:
		r.lose("%s: %v", command, result.Err)
	case result.Code == 124 || result.Code == 137:
		r.lose("%s hung", command)
	case result.Code != 0 && said == "":
		r.lose("%s failed with status %d and said nothing", command, result.Code)
	case result.Code != 0 && (strings.Contains(said, "goroutine ") || strings.Contains(said, "panic")):
		r.lose("%s: %s", command, said)
	case result.Code != 0 && *verbose:
		fmt.Printf("    %s: status %d: %s\n", command, result.Code, said)
	}
}
