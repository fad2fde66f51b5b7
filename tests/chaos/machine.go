package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/tests/load"
	"github.com/footbridge-net/footbridge/tests/world"
)

// filler is the file that fills the state's file system.
var filler = filepath.Join(world.StateHome, "filler")

// admin runs a command of the machine's administrator that must succeed.
func (c *chaos) admin(command string, args ...string) (string, error) {
	r := c.stage.World.Run(world.Admin, append([]string{command}, args...)...)
	if r.Err != nil || r.Code != 0 {
		return "", fmt.Errorf("%s %s: status %d, %v: %s", command, strings.Join(args, " "), r.Code, r.Err, r.Stderr)
	}
	return strings.TrimSpace(r.Stdout), nil
}

// fill leaves no byte for the state, and returns what makes room again.
func (c *chaos) fill() (func() error, error) {
	// It ends with an error: that is when nothing more goes in.
	c.stage.World.Run(world.Host, "dd", "if=/dev/zero", "of="+filler, "bs=1k", fmt.Sprint("count=", 2*load.StateSize))
	free, err := c.admin("df", "--output=avail", world.StateHome)
	if fields := strings.Fields(free); err != nil || len(fields) != 2 || fields[1] != "0" {
		return nil, fmt.Errorf("the disk should be full and is not: %s, %v", free, err)
	}
	return func() error { _, err := c.admin("rm", filler); return err }, nil
}

// changes are commands that need the state, and what removes their traces.
func changes(number int) (do, undo [][]string) {
	n := fmt.Sprint("full", number)
	return [][]string{
			{"network", "create", n},
			{"run", "-d", "--name", n, "--network", load.Shared, "sleep", "infinity"},
			{"network", "connect", load.Shared, load.Hidden},
			{"network", "disconnect", load.Shared, load.Hidden},
		}, [][]string{
			{"network", "disconnect", load.Shared, load.Hidden}, {"rm", "-f", n}, {"network", "rm", n},
		}
}

// fillDisk asks for changes while nothing can be written: each is made or refused, and none by half.
func (c *chaos) fillDisk(r *row) (time.Duration, error) {
	makeRoom, err := c.fill()
	if err != nil {
		return 0, err
	}
	hit := load.Now()
	do, undo := changes(r.tried)
	for _, args := range do {
		c.judgeCommand(r, args, c.stage.Try(args...))
	}
	if err := makeRoom(); err != nil {
		return hit, err
	}
	for _, args := range undo {
		c.stage.Try(args...)
	}
	return hit, c.works(r)
}

// works makes and removes something of each kind: after a fault everything can be asked for again.
func (c *chaos) works(r *row) error {
	do, undo := changes(1000 + r.tried)
	for _, args := range append(do, undo[1:]...) {
		if _, err := c.stage.Footbridge(args...); err != nil {
			r.lose("after the fault: %v", err)
		}
	}
	return nil
}

// fillDiskAndKill lets a daemon come back to a disk that is full.
func (c *chaos) fillDiskAndKill(r *row) (time.Duration, error) {
	makeRoom, err := c.fill()
	if err != nil {
		return 0, err
	}
	hit, err := c.killKeeper(r)
	if err != nil {
		r.lose("on a full disk the daemon does not come back: %v", err)
	}
	if err := makeRoom(); err != nil {
		return hit, err
	}
	if err != nil {
		hit = load.Now()
	}
	return hit, c.works(r)
}

// starve takes a process all descriptors that it has not got yet, and returns what gives them back.
func (c *chaos) starve(pid, descriptors int) (func() error, error) {
	before, err := c.admin("prlimit", "--pid", fmt.Sprint(pid), "--nofile", "--noheadings", "--output=SOFT")
	if err != nil {
		return nil, err
	}
	limit := func(soft string) error {
		r := c.stage.World.Run(world.Host, "prlimit", "--pid", fmt.Sprint(pid), "--nofile="+soft+":")
		if r.Code != 0 {
			return fmt.Errorf("limiting the descriptors of %d: %s", pid, r.Stderr)
		}
		return nil
	}
	return func() error { return limit(before) }, limit(fmt.Sprint(descriptors))
}

// hunger is how long a process has to do without descriptors.
const hunger = time.Second

// starveKeeper asks for changes while the keeper can open nothing.
func (c *chaos) starveKeeper(r *row) (time.Duration, error) {
	status, err := c.stage.Status()
	if err != nil {
		return 0, err
	}
	hit := load.Now()
	feed, err := c.starve(status.PID, status.Keeper.Descriptors)
	if err != nil {
		return hit, err
	}
	do, undo := changes(r.tried)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, args := range do {
			c.judgeCommand(r, args, c.stage.Try(args...))
		}
	}()
	select {
	case <-done:
	case <-time.After(hunger):
	}
	if err := feed(); err != nil {
		return hit, err
	}
	<-done
	for _, args := range undo {
		c.stage.Try(args...)
	}
	return hit, c.works(r)
}

// starveLimit is how long after the descriptors are there again everything must work: listeners that could not
// accept wait longer each time, up to a second.
const starveLimit = 2 * time.Second

// starveWorker lets no flow begin for a while; those that are there go on.
func (c *chaos) starveWorker(r *row) (time.Duration, error) {
	status, err := c.stage.Status()
	if err != nil {
		return 0, err
	}
	if status.Worker.PID == 0 {
		return 0, errNoWorker
	}
	begin := load.Now()
	feed, err := c.starve(status.Worker.PID, status.Worker.Descriptors)
	if err != nil {
		return 0, err
	}
	time.Sleep(hunger)
	reports, err := c.stage.Hub.Reports(begin)
	if err != nil {
		return 0, err
	}
	for _, name := range []string{udpBetween, load.Asker + "/TCP to server", load.Asker + "/name of a container"} {
		if failed := reports[name].Failures(begin); len(failed) > 0 {
			r.lose("%s: %d failed while the worker had no descriptors: %s", name, len(failed), failed[0].Problem)
		}
	}
	if err := feed(); err != nil {
		return 0, err
	}
	return load.Now(), nil
}

// resolverLimit is how long the daemon may take to follow the host's resolv.conf.
const resolverLimit = 10 * time.Second

// replaceResolver gives the host another name server, in both ways in which that is done, and its own again.
func (c *chaos) replaceResolver(r *row) (time.Duration, error) {
	hit := load.Now()
	for _, step := range []struct{ server, want, how string }{
		{"OTHERDNS4", "second", "printf '%s' \"$1\" >/etc/resolv.conf"},
		{"DNS4", "first", "printf '%s' \"$1\" >/etc/resolv.new && mv /etc/resolv.new /etc/resolv.conf"},
	} {
		text := fmt.Sprintf("nameserver %s\nsearch example.test\n", world.Addr(step.server))
		if _, err := c.admin("sh", "-c", step.how, "sh", text); err != nil {
			return hit, err
		}
		said := ""
		if !world.Poll(resolverLimit, func() bool {
			said = c.stage.Try("exec", load.Asker, "dig", "+short", "+tries=1", "+time=1", "whoami.example.test", "TXT").Stdout
			return strings.Contains(said, step.want)
		}) {
			r.lose("%v after the host's resolv.conf was replaced the name server asked is still %q", resolverLimit, strings.TrimSpace(said))
		}
	}
	return hit, nil
}
