package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/tests/load"
	"github.com/footbridge-net/footbridge/tests/world"
)

// neighbourDelay is how long an answer may take in containers that a fault is not about: on a machine whose CPUs are
// all at work that is what starting a few processes costs.
const neighbourDelay = 500 * time.Millisecond

// victimPort is the host port that a victim's server is published at.
const victimPort = 8300

// killShim ends the process that holds a container.
func (c *chaos) killShim(r *row) (time.Duration, error) {
	return c.killVictim(r, "footbridge-shim")
}

// killInit ends a container's pid 1.
func (c *chaos) killInit(r *row) (time.Duration, error) {
	return c.killVictim(r, "footbridge-init")
}

// killVictim runs a container, kills the one of its processes that has a name, and sees that it is dead as one that
// ended by itself: known as exited, its port closed, its processes gone.
func (c *chaos) killVictim(r *row, process string) (time.Duration, error) {
	name := fmt.Sprint("victim", r.tried)
	port := fmt.Sprintf("%d:%d", victimPort, load.PeerPort)
	if _, err := c.stage.Container(name, "--network", load.Shared, "-p", port, "-p", port+"/udp"); err != nil {
		return 0, err
	}
	pid, err := c.ancestor(name, process)
	if err != nil {
		return 0, err
	}
	hit, err := c.kill(pid, syscall.SIGKILL)
	if err != nil {
		return 0, err
	}
	waited := c.stage.Try("wait", name)
	if waited.Code != 0 {
		r.lose("waiting for a container whose %s was killed: %s", process, waited.Stderr)
	}
	c.dead(r, name)
	address := net.JoinHostPort(world.Addr("HOST4").String(), strconv.Itoa(victimPort))
	knock := load.Job{Name: "closed: a dead container's port", Kind: load.Knock, To: address, Every: *probe, Patience: 100 * time.Millisecond}
	since := load.Now()
	if err := c.stage.Client.Start(knock); err != nil {
		return hit, err
	}
	time.Sleep(settle)
	reports, err := c.stage.Client.Reports(since)
	if err != nil {
		return hit, err
	}
	for _, report := range reports {
		if report.Job.Name == knock.Name && len(report.Successes(since)) > 0 {
			r.lose("the published port of a dead container answers")
		}
	}
	if err := c.stage.Client.Stop(knock.Name); err != nil {
		return hit, err
	}
	_, err = c.stage.Footbridge("rm", name)
	return hit, err
}

// dead says what of a container is not as it should be after its end.
func (c *chaos) dead(r *row, name string) {
	text, err := c.stage.Footbridge("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}", name)
	if err != nil || text != "exited 137 0" {
		r.lose("a container that was killed is %q, not \"exited 137 0\": %v", text, err)
	}
	if !world.Poll(time.Second, func() bool {
		agent, err := c.stage.Hub.Await(name, time.Second)
		if err != nil {
			return false
		}
		_, err = agent.Links()
		return err != nil
	}) {
		r.lose("the command of a container that was killed lives on")
	}
}

// ancestor returns the pid, on the host, of the process with a name above a container's command.
func (c *chaos) ancestor(container, name string) (int, error) {
	text, err := c.stage.Footbridge("inspect", "-f", "{{.State.Pid}}", container)
	if err != nil {
		return 0, err
	}
	chain := text
	for text != "1" && text != "0" {
		fields := strings.Fields(c.stage.World.Run(world.Host, "ps", "-o", "ppid=,comm=", "-p", text).Stdout)
		if len(fields) != 2 {
			break
		}
		if fields[1] == name {
			return strconv.Atoi(text)
		}
		text = fields[0]
		chain += " < " + text
	}
	return 0, fmt.Errorf("container %s has no process %s above it: %s", container, name, chain)
}

// vanish ends a container whose network another one has joined: what is left of the network must lead nowhere.
func (c *chaos) vanish(r *row) (time.Duration, error) {
	owner, guest := fmt.Sprint("owner", r.tried), fmt.Sprint("guest", r.tried)
	if _, err := c.stage.Footbridge("run", "-d", "--name", owner, "--network", load.Shared, "sleep", "infinity"); err != nil {
		return 0, err
	}
	agent, err := c.stage.Container(guest, "--network", "container:"+owner)
	if err != nil {
		return 0, err
	}
	server, err := c.stage.Address(load.Server, load.Shared, 4)
	if err != nil {
		return 0, err
	}
	knock := load.Job{Name: "by a network that is gone", Kind: load.Knock, To: net.JoinHostPort(server, strconv.Itoa(load.PeerPort)),
		Every: *probe, Patience: 100 * time.Millisecond}
	begin := load.Now()
	if err := agent.Start(knock); err != nil {
		return 0, err
	}
	found := func(since time.Duration) bool {
		reports, err := agent.Reports(since)
		return err == nil && len(reports) > 0 && len(reports[0].Successes(since)) > 0
	}
	if !world.Poll(healthLimit, func() bool { return found(begin) }) {
		r.lose("a joined network does not work")
	}
	if err := agent.Stop(knock.Name); err != nil {
		return 0, err
	}
	pid, err := c.ancestor(owner, "footbridge-init")
	if err != nil {
		return 0, err
	}
	hit, err := c.kill(pid, syscall.SIGKILL)
	if err != nil {
		return 0, err
	}
	if _, err := c.stage.Footbridge("wait", owner); err != nil {
		return hit, err
	}
	if text, err := c.stage.Footbridge("inspect", "-f", "{{.State.Status}}", owner); err != nil || text != "exited" {
		r.lose("the owner of the network is %q: %v", text, err)
	}
	gone := load.Now()
	if err := agent.Start(knock); err == nil { // a guest may have ended with its network
		time.Sleep(settle)
		if found(gone) {
			r.lose("LET IN: a container reaches others by the network of one that is gone")
		}
	}
	_, err = c.stage.Footbridge("rm", "-f", guest, owner)
	return hit, err
}
