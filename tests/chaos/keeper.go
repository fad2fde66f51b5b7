package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/tests/load"
	"github.com/footbridge-net/footbridge/tests/world"
)

// endLimit is how long a process that was asked to end may take.
const endLimit = 20 * time.Second

// closed is how long the traffic is watched after the keeper's death: it must have stopped and stay so.
const closed = 300 * time.Millisecond

// comeBack waits until the daemon is gone with its worker, sees that nothing goes through, and gives the command that
// starts another one. It returns the moment of that command.
func (c *chaos) comeBack(r *row, processes ...int) (time.Duration, error) {
	for _, pid := range processes {
		if pid == 0 {
			continue
		}
		if err := c.ended(pid, endLimit); err != nil {
			return 0, err
		}
	}
	stopped := load.Now()
	time.Sleep(closed)
	open, err := c.traffic(udpBetween, stopped)
	if err != nil {
		return 0, err
	}
	if open {
		r.lose("frames pass between containers while there is no daemon")
	}
	hit := load.Now()
	_, err = c.stage.Footbridge("ps")
	return hit, err
}

// processes returns the pids of keeper and worker; 0 for a worker that there is not.
func (c *chaos) processes() (keeper, worker int, err error) {
	status, err := c.stage.Status()
	return status.PID, status.Worker.PID, err
}

func (c *chaos) killKeeper(r *row) (time.Duration, error) {
	return c.signalKeeper(r, syscall.SIGKILL)
}

func (c *chaos) terminateKeeper(r *row) (time.Duration, error) {
	return c.signalKeeper(r, syscall.SIGTERM)
}

func (c *chaos) signalKeeper(r *row, s syscall.Signal) (time.Duration, error) {
	keeper, worker, err := c.processes()
	if err != nil {
		return 0, err
	}
	if _, err := c.kill(keeper, s); err != nil {
		return 0, err
	}
	return c.comeBack(r, keeper, worker)
}

func (c *chaos) killBoth(r *row) (time.Duration, error) {
	keeper, worker, err := c.processes()
	if err != nil {
		return 0, err
	}
	if worker == 0 {
		return 0, errNoWorker
	}
	pids := []int{keeper, worker}
	c.random.Shuffle(2, func(i, j int) { pids[i], pids[j] = pids[j], pids[i] })
	for _, pid := range pids {
		if _, err := c.kill(pid, syscall.SIGKILL); err != nil && !isGone(err) {
			return 0, err
		}
	}
	return c.comeBack(r, keeper, worker)
}

// execMark is the argument by which the command of an exec is found.
const execMark = "31415926"

// endExec ends the command of an exec, which has outlived its client and is in no list.
func (c *chaos) endExec(mark string) error {
	out := c.stage.World.Run(world.Host, "ps", "-eo", "pid=,args=").Stdout
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[1] != "sleep" || fields[2] != mark {
			continue
		}
		pid, err := strconv.Atoi(fields[0])
		if err != nil {
			return err
		}
		if _, err := c.kill(pid, syscall.SIGKILL); err != nil {
			return err
		}
	}
	return nil
}

// daemonGone is what a command that was under way when the daemon died has to speak of.
const daemonGone = "daemon"

// killKeeperUnderCommands looks at what clients say that were waiting for something.
func (c *chaos) killKeeperUnderCommands(r *row) (time.Duration, error) {
	keeper, worker, err := c.processes()
	if err != nil {
		return 0, err
	}
	name := fmt.Sprint("waiting", r.tried)
	commands := [][]string{
		{"run", "--name", name, "--network", load.Shared, "sleep", "infinity"},
		{"exec", load.Server, "sleep", execMark},
		{"logs", "-f", load.Server},
		{"wait", load.Server},
	}
	results := make([]chan world.Result, len(commands))
	for i, args := range commands {
		results[i] = make(chan world.Result, 1)
		go func() { results[i] <- c.stage.Try(args...) }()
	}
	under := func() bool {
		list := c.stage.World.Run(world.Host, "ps", "-eo", "args").Stdout
		ready := strings.Contains(list, "\nsleep "+execMark+"\n")
		running := c.stage.Try("ps", "--format", "{{.Names}}").Stdout
		return ready && strings.Contains(running, name) && strings.Count(list, "footbridge logs -f") > 0
	}
	if !world.Poll(healthLimit, under) {
		return 0, errors.New("the commands that shall wait did not come up")
	}
	if _, err := c.kill(keeper, syscall.SIGKILL); err != nil {
		return 0, err
	}
	for i, result := range results {
		select {
		case said := <-result:
			c.judgeCommand(r, commands[i], said)
			if said.Code == 0 || !strings.Contains(said.Stderr, daemonGone) {
				r.lose("footbridge %s ends with status %d and says %q when the daemon dies", strings.Join(commands[i], " "), said.Code, said.Stderr)
			}
		case <-time.After(endLimit):
			r.lose("footbridge %s waits on although the daemon is dead", strings.Join(commands[i], " "))
		}
	}
	hit, err := c.comeBack(r, keeper, worker)
	if err != nil {
		return 0, err
	}
	// Both live: they have lost their clients, not their world. The exec is not in any list; it has to be found.
	if text, err := c.stage.Footbridge("inspect", "-f", "{{.State.Status}}", name); err != nil || text != "running" {
		r.lose("a container that was run in the foreground is %q after the daemon came back: %v", text, err)
	}
	if _, err := c.stage.Footbridge("rm", "-f", name); err != nil {
		r.lose("%v", err)
	}
	return hit, c.endExec(execMark)
}
