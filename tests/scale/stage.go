package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/tests/actors"
	"github.com/footbridge-net/footbridge/tests/world"
)

// stage is a world with actors on its machines.
type stage struct {
	w                   *world.World
	hub                 *actors.Hub
	user, admin, client *actor  // on the host, its administrator's; on the remote machine
	main                *daemon // the one that is measured
	killed              bool    // the row itself has ended a worker
	reserve             int     // bytes that the administrator's actor has left, see Reserve
}

// daemon is one of the user's daemons, with folders of its own.
type daemon struct {
	s    *stage
	name string
	env  []string
}

// stages numbers the sockets of hubs.
var stages atomic.Int32

// join waits for the actor of that name that comes after an earlier one.
func (s *stage) join(name string, after *actors.Actor) (*actor, error) {
	a, err := s.hub.Await(name, after, arrival)
	return &actor{Actor: a}, err
}

// staged makes a stage for a function.
func staged(f func(s *stage) error) error {
	hub, err := actors.NewHub(filepath.Join(world.Stage(), fmt.Sprintf("hub%d", stages.Add(1))))
	if err != nil {
		return err
	}
	defer hub.Close()
	w, err := world.Start(world.Options{Footbridge: world.Binary(), Share: world.SharedFolders()})
	if err != nil {
		return err
	}
	defer w.Close()
	s := &stage{w: w, hub: hub}
	s.main = &daemon{s: s, name: "main", env: w.Environ()}
	for name, of := range map[string]struct {
		place world.Place
		actor **actor
	}{"user": {world.Host, &s.user}, "admin": {world.Admin, &s.admin}, "client": {world.Client, &s.client}} {
		c := w.Command(of.place, hub.Command(name)...)
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			return err
		}
		if *of.actor, err = s.join(name, nil); err != nil {
			return err
		}
	}
	for _, a := range []*actor{s.admin, s.client} {
		if err := a.chooseCubic(); err != nil {
			return err
		}
	}
	return f(s)
}

// chooseCubic writes the congestion control into every IPv4 route of a machine, which whoever owns the network namespace
// may do whatever the machine's administrator chose.
func (a *actor) chooseCubic() error {
	return a.shell(`for t in local main; do
		ip -4 route show table $t | grep -v ^broadcast | while read -r route; do
			ip -4 route change $route table $t congctl cubic; done; done`)
}

// another makes a second daemon of the same user.
func (s *stage) another(name string) (*daemon, error) {
	d := &daemon{s: s, name: name}
	run, state := filepath.Join(world.RuntimeDir, name), filepath.Join(world.StateHome, name)
	if err := s.user.shell("mkdir -m 700 %s %s", run, state); err != nil {
		return nil, err
	}
	for _, kv := range s.w.Environ() {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "XDG_RUNTIME_DIR":
			kv = name + "=" + run
		case "XDG_STATE_HOME":
			kv = name + "=" + state
		}
		d.env = append(d.env, kv)
	}
	return d, nil
}

// commandLimit is how long a command may take before it is called hung.
const commandLimit = 2 * time.Minute

// do runs footbridge as the host's user and returns what it says.
func (d *daemon) do(args ...string) (string, error) {
	out, errs := new(strings.Builder), new(strings.Builder)
	c := d.s.w.Command(world.Host, append([]string{"timeout", "-k", "1", fmt.Sprint(commandLimit.Seconds()), world.Binary()}, args...)...)
	c.Env, c.Stdout, c.Stderr = d.env, out, errs
	code, err := c.Run()
	if err != nil || code != 0 {
		what := strings.Join(args, " ")
		if len(what) > 200 {
			what = what[:200] + "..."
		}
		return "", fmt.Errorf("footbridge %s: exit status %d, %w", what, code,
			errors.Join(err, errors.New(strings.TrimSpace(out.String()+errs.String()))))
	}
	return strings.TrimSpace(out.String()), nil
}

// network makes a network of one subnet; flags are those of footbridge network create.
func (d *daemon) network(name, subnet string, flags ...string) error {
	_, err := d.do(append(append([]string{"network", "create", "--subnet", subnet}, flags...), name)...)
	return err
}

// container runs an actor in a container. NET_ADMIN is for choosing a congestion control; flags are those of footbridge run.
func (d *daemon) container(name, network string, flags ...string) (*actor, error) {
	actor := d.name + "-" + name
	args := append([]string{"run", "-d", "--cap-add", "NET_ADMIN", "--name", name, "--network", network}, flags...)
	earlier := d.s.hub.Find(actor)
	if _, err := d.do(append(append(args, "--"), d.s.hub.Command(actor)...)...); err != nil {
		return nil, err
	}
	a, err := d.s.join(actor, earlier)
	if err != nil {
		return nil, err
	}
	a.ip, err = d.do("inspect", "-f", "{{.NetworkSettings.Networks."+network+".IPAddress}}", name)
	return a, err
}

// containers runs several actors, name0, name1 ...
func (d *daemon) containers(n int, name, network string, flags ...string) ([]*actor, error) {
	all := make([]*actor, n)
	// Some at a time: each start is a dozen processes.
	for i := range n {
		var err error
		if all[i], err = d.container(fmt.Sprint(name, i), network, flags...); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// status asks the daemon.
func (d *daemon) status() (api.Status, error) {
	var status api.Status
	text, err := d.do("daemon", "status", "--format", "json")
	if err != nil {
		return status, err
	}
	return status, json.Unmarshal([]byte(text), &status)
}

// look tells what processes use.
func (s *stage) look(args LookArgs) ([]Usage, error) {
	var usages []Usage
	err := s.admin.call("Look", args, &usages)
	return usages, err
}

// process tells what a process uses now. pid is from an earlier status: to ask for that costs the worker something.
func (s *stage) process(pid int, memory bool) (Usage, error) {
	usages, err := s.look(LookArgs{PIDs: []int{pid}, Memory: memory})
	if err == nil && len(usages) != 1 {
		err = fmt.Errorf("process %d has ended", pid)
	}
	if err != nil {
		return Usage{}, err
	}
	return usages[0], nil
}

// spent is what a process takes of a processor while f runs.
func (s *stage) spent(pid int, f func() error) (time.Duration, error) {
	before, err := s.process(pid, false)
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := s.process(pid, false)
	return after.CPU - before.CPU, err
}

// disasters are lines that no log of a daemon may hold.
var disasters = regexp.MustCompile(`(?m)^(WARNING: DATA RACE|panic: |fatal error: ).*`)

// ends is how the keeper says that its worker has died.
var ends = regexp.MustCompile(`.*the worker ended.*`)

// disaster looks for one in the daemons' logs.
func (s *stage) disaster() string {
	log := s.w.Run(world.Host, "sh", "-c", "cat $XDG_RUNTIME_DIR/footbridge/*.log $XDG_RUNTIME_DIR/*/footbridge/*.log 2>/dev/null")
	if what := ends.FindString(log.Stdout); what != "" && !s.killed {
		return what
	}
	return disasters.FindString(log.Stdout)
}

// bulkPort and others are where every actor that serves does so.
const (
	bulkPort  = 7100 // takes or gives as much as it can, as the client asks
	askPort   = 7101 // answers each byte with one, until the client's end
	holdPort  = 7102 // accepts and never reads, until Release
	crawlPort = 7103 // reads 1,000 bytes a second
	finPort   = 7104 // ends its direction at once and keeps the connection, until Release
	resetPort = 7105 // says as much as is taken without being read, and resets
)
