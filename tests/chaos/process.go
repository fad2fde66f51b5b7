package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/tests/load"
	"github.com/footbridge-net/footbridge/tests/world"
)

// errNoWorker is returned where a fault needs the worker and the daemon names none.
var errNoWorker = errors.New("the daemon has no worker")

// keeper returns the daemon's pid.
func (c *chaos) keeper() (int, error) {
	status, err := c.stage.Status()
	return status.PID, err
}

// worker returns the worker's pid.
func (c *chaos) worker() (int, error) {
	status, err := c.stage.Status()
	if err == nil && status.Worker.PID == 0 {
		err = errNoWorker
	}
	return status.Worker.PID, err
}

// nextWorker waits for a worker that is another one.
func (c *chaos) nextWorker(than int, limit time.Duration) (int, error) {
	pid, err := 0, error(nil)
	if world.Poll(limit, func() bool {
		pid, err = c.worker()
		return err == nil && pid != than
	}) {
		return pid, nil
	}
	return 0, fmt.Errorf("waited %v for another worker than %d: %w", limit, than, errors.Join(err, errNoWorker))
}

// kill sends a signal to a process of footbridge's, as the user, and returns the moment just before.
func (c *chaos) kill(pid int, s syscall.Signal) (time.Duration, error) {
	return c.stage.Host.Signal(pid, s)
}

// isGone reports whether an error says that there is no such process. It came from another process, as text.
func isGone(err error) bool { return strings.Contains(err.Error(), syscall.ESRCH.Error()) }

// ended waits until a process is gone.
func (c *chaos) ended(pid int, limit time.Duration) error {
	if !world.Poll(limit, func() bool {
		_, err := c.stage.Admin.Process(pid)
		return err != nil
	}) {
		return fmt.Errorf("waited %v for process %d to end", limit, pid)
	}
	return nil
}

// daemonLog returns what the daemon has logged, for a failure.
func (c *chaos) daemonLog() string {
	return c.stage.World.Run(world.Host, "sh", "-c", "tail -n 60 $XDG_RUNTIME_DIR/footbridge/daemon.log").Stdout
}

// traffic says whether a probe begun after a moment was answered.
func (c *chaos) traffic(name string, since time.Duration) (bool, error) {
	reports, err := c.stage.Hub.Reports(since)
	return len(reports[name].Successes(since)) > 0, err
}

// udpBetween is the probe that shows whether frames go from container to container.
const udpBetween = load.Asker + "/UDP to server"

// diagnose prints what the containers' kernels know of their connections and interfaces.
func (c *chaos) diagnose() {
	const script = `ss -tin dst "$1"; nstat -az | grep -e Retrans -e InErrs -e Csum -e Timeouts -e ListenDrops; ip -s -s link show eth0`
	for _, name := range []string{load.Asker, load.Server} {
		said := c.stage.Try("exec", name, "sh", "-c", script, "sh", "10.60.0.0/24")
		fmt.Fprintf(os.Stderr, "%s:\n%s%s\n", name, said.Stdout, said.Stderr)
	}
	fmt.Fprintln(os.Stderr, c.stage.Try("daemon", "status").Stdout)
}
