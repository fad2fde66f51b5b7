package main

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/tests/world"
)

// Bounds of what a container may make footbridge use.
const (
	// maxMemory of its processes together, in bytes, and what it may be with 20,000 connections: 30 KiB for each.
	maxMemory      = 256 << 20
	maxCrowdMemory = maxMemory + 20_000*30<<10
	// spare is how many more descriptors or goroutines there may be after a row: those of a neighbour's flows, which end by
	// timeout.
	spare = 64
	// settleFiles is how long they, and goroutines, may take to go: the attacker is gone by then, and with her all that was hers.
	settleFiles = 10 * time.Second
)

// pids are footbridge's processes that carry or hold something: the daemon and, where it is another one, the worker.
func pids(status api.Status) []int {
	list := []int{status.PID}
	if status.Worker.PID != 0 && status.Worker.PID != status.PID {
		list = append(list, status.Worker.PID)
	}
	return list
}

// decoyInterface is one end of a pair inside the attacker's container, over which nothing comes to footbridge.
const decoyInterface = "decoy0"

// decoy is a machine that does with itself whatever it is asked to: frames go to an interface whose other end throws them
// away, connections to its own loopback.
func (m *machine) decoy() (*machine, error) {
	d := *m
	d.iface, d.alone = decoyInterface, true
	_, err := m.actor.run("ip link show %[1]s >/dev/null 2>&1 || { ip link add %[1]s type veth peer name decoy1 && sysctl -qw net.ipv6.conf.decoy1.disable_ipv6=1 && ip link set %[1]s up && ip link set decoy1 up; }", decoyInterface)
	return &d, err
}

// attackers counts the containers that were made to attack.
var attackers int

// exhaust makes an attacker for one row, measures what her neighbours feel and what footbridge's processes use, and looks
// whether all of it is given back when she is gone.
func (s *stage) exhaust(r *result, memory uint64, attack func(m *machine, d time.Duration) (tried int, err error)) error {
	status, err := s.status()
	if err != nil {
		return err
	}
	root := s.actors[onRoot]
	attackers++
	name := fmt.Sprintf("attacker%d", attackers)
	run := append([]string{"run", "-d", "--name", name, "--privileged", "--network", homeNet, "--"}, s.hub.Command(name)...)
	if _, err := s.footbridge(run...); err != nil {
		return err
	}
	if err := s.join(name); err != nil {
		return err
	}
	if err := s.look(name, name, "eth0", homeNet); err != nil {
		return err
	}
	m := s.machines[name]
	counts, err := s.portCounters(m)
	if err != nil {
		return err
	}
	if err := root.call("Memory", pids(status), &struct{}{}); err != nil {
		return err
	}
	herself, err := m.decoy()
	if err != nil {
		return err
	}
	busy := func(m *machine, tried *int) func(d time.Duration) error {
		return func(d time.Duration) error {
			n, err := attack(m, d)
			*tried += n
			return errors.Join(err, m.actor.call("Release", struct{}{}, &struct{}{}))
		}
	}
	var peak uint64
	err = s.suffer(r, s.machines["alice"].actor, s.duel(), busy(herself, new(int)), busy(m, &r.tried))
	if err = errors.Join(err, root.call("Peak", struct{}{}, &peak)); err != nil {
		return err
	}
	if err := s.compareCounters(r, m, counts, nil); err != nil {
		return err
	}
	after, err := s.status()
	if err != nil {
		return err
	}
	if fmt.Sprint(pids(after)) != fmt.Sprint(pids(status)) {
		r.bad("footbridge's processes are others now: %v, were %v", pids(after), pids(status))
		return nil
	}
	r.remark("%d MiB, %d fds, %d goroutines", peak>>20, descriptors(after), goroutines(after))
	if peak > memory {
		r.bad("memory: %d MiB, over %d", peak>>20, memory>>20)
	}
	if _, err := s.footbridge("rm", "-f", name); err != nil {
		return err
	}
	for _, c := range []struct {
		what  string
		count func(api.Status) int
	}{{"descriptors", descriptors}, {"goroutines", goroutines}} {
		if !world.Poll(settleFiles, func() bool {
			after, err = s.status()
			return err != nil || c.count(after) <= c.count(status)+spare
		}) {
			r.bad("%s: %d before, %d when the attacker is gone for %v", c.what, c.count(status), c.count(after), settleFiles)
		}
	}
	return err
}

// descriptors of footbridge's processes together, as the daemon counts them.
func descriptors(status api.Status) int { return status.Keeper.Descriptors + status.Worker.Descriptors }

// goroutines of footbridge's processes together.
func goroutines(status api.Status) int { return status.Keeper.Goroutines + status.Worker.Goroutines }

// vitals are what must be the same after a row: the same processes carry everything.
type vitals struct {
	pids     string
	restarts int
}

func (s *stage) vitals() (vitals, error) {
	status, err := s.status()
	return vitals{fmt.Sprint(pids(status)), status.Worker.Restarts}, err
}

// disasters are lines that no log of a daemon may hold, whatever a container has done.
var disasters = regexp.MustCompile(`(?m)^(WARNING: DATA RACE|panic: |fatal error: ).*`)

// disaster looks for one in the daemon's log.
func (s *stage) disaster() string {
	log := s.w.Run(world.Host, "sh", "-c", "cat $XDG_RUNTIME_DIR/footbridge/*.log 2>/dev/null")
	return disasters.FindString(log.Stdout)
}
