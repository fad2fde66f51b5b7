package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/tests/world"
)

const groupDevice = "an interface that its owner turns against us"

// owning are the rows in which an attacker does to her own interface whatever the kernel lets her.
var owning = []row{
	device("her MAC changed", "ip link set eth0 down; ip link set eth0 address 02:66:66:66:66:66; ip link set eth0 up"),
	device("her addresses changed to a neighbour's and the gateway's",
		"for a in 10.71.0.4/24 10.71.0.1/24; do ip addr add $a dev eth0 || exit; ping -c1 -W.1 -I ${a%/24} 10.71.0.3; done; ip -6 addr add fd71::1/64 dev eth0 && ip -6 addr add fd71::4/64 dev eth0 nodad"),
	device("down and up again, fifty times", "for i in $(seq 50); do ip link set eth0 down; ip link set eth0 up; done"),
	device("down, for good", "ip link set eth0 down"),
	device("renamed", "ip link set eth0 down; ip link set eth0 name evil; ip link set evil up"),
	device("moved to another namespace", "ip link set eth0 down; unshare -n sleep 30 >/dev/null 2>&1 & p=$!; "+
		"for i in 1 2 3 4 5 6 7 8 9; do [ $(readlink /proc/$p/ns/net) != $(readlink /proc/self/ns/net) ] && break; sleep .02; done; ip link set eth0 netns $p"),
	device("MTU of 68, then of 65521", "ip link set eth0 mtu 68; ping -c1 -W.1 10.71.0.1; ip link set eth0 mtu 65521; ping -c1 -W.1 -s 60000 10.71.0.3; true"),
	device("a bridge on it, with a station that has a neighbour's address",
		"ip link add br type bridge && ip link set eth0 master br && ip link set br up && ip link add s0 type veth peer name s1 && "+
			"ip link set s0 master br && ip link set s0 up && ip link set s1 up && ip addr add 10.71.0.4/24 dev s1 && ip -6 addr add fd71::4/64 dev s1 nodad && "+
			"ping -c2 -i.05 -W.1 -I s1 10.71.0.3; ping -c2 -i.05 -W.1 -I s1 fd71::3; true"),
	device("promiscuous mode, and no room to send", "ip link set eth0 promisc on && ip link set eth0 txqueuelen 0 && ping -c2 -w1 -i.05 10.71.0.3; true"),
	device("deleted", "ip link del eth0"),
	{group: groupDevice, name: "deleted, and another device of that name instead", run: func(s *stage, r *result) error {
		return wreck(s, r, func(a *actor) error {
			_, err := a.run("ip link del eth0; ip link add eth0 type veth peer name other; ip link set other up; ip link set eth0 up; ip addr add 10.71.0.1/24 dev eth0")
			return err
		})
	}},
	{group: groupDevice, name: "a second queue, for a device of one or of several", run: func(s *stage, r *result) error {
		return wreck(s, r, noQueue)
	}},
}

// device makes a row of a container that runs a command on its own interface.
func device(name, command string) row {
	return row{group: groupDevice, name: name, run: func(s *stage, r *result) error {
		return wreck(s, r, func(a *actor) error {
			_, err := a.run("%s", command)
			return err
		})
	}}
}

// noQueue tries to open another queue of footbridge's device, as of one queue and as of several. What it would set holds for
// all queues of a device: whoever had one could change what the worker reads.
func noQueue(a *actor) error {
	for single, want := range map[bool]unix.Errno{true: unix.EBUSY, false: unix.EINVAL /* the device is of another kind */} {
		err := a.call("Queue", QueueArgs{Name: "eth0", Single: single}, &struct{}{})
		if err == nil {
			return fmt.Errorf("another queue of eth0 was opened (of one queue: %v)", single)
		}
		if !strings.HasSuffix(err.Error(), want.Error()) {
			return fmt.Errorf("another queue of eth0: %w; want: %w", err, want)
		}
	}
	return nil
}

// wreckers counts the containers that were made to be spoilt.
var wreckers struct {
	sync.Mutex
	n int
}

// wreck makes a container for one row, lets it do its worst while neighbours measure, and looks whether it can be removed
// with everything that belonged to it.
func wreck(s *stage, r *result, worst func(*actor) error) error {
	wreckers.Lock()
	wreckers.n++
	name := fmt.Sprintf("wrecker%d", wreckers.n)
	wreckers.Unlock()
	run := append([]string{"run", "-d", "--name", name, "--privileged", "--network", homeNet, "--"}, s.hub.Command(name)...)
	if _, err := s.footbridge(run...); err != nil {
		return err
	}
	if err := s.join(name); err != nil {
		return err
	}
	a := s.actors[name]
	tidy, err := s.state(s.machines["alice"])
	if err != nil {
		return err
	}
	quick := map[string]Probe{}
	for name, p := range s.duel() {
		if p.Kind != "dns" {
			quick[name] = p
		}
	}
	done := make(chan error, 1)
	go func() { done <- worst(a) }()
	samples, err := measure(s.machines["alice"].actor, quick, 250*time.Millisecond)
	if err != nil {
		return err
	}
	if err := <-done; err != nil {
		return err
	}
	r.tried++
	for kind, sample := range samples {
		if sample.Lost > 0 {
			r.bad("%s: %d lost of a neighbour's: %s", kind, sample.Lost, sample.Why)
		}
	}
	if err := s.compareState(r, s.machines["mallory"], s.machines["alice"], tidy); err != nil {
		return err
	}
	// A neighbour's and the gateway's addresses are where they were.
	outcomes, err := s.machines["alice"].actor.try(
		Attempt{Network: "ping", Address: s.machines["bob"].ip4.String()}, Attempt{Network: "ping", Address: s.machines["alice"].gw4.String()},
		Attempt{Network: "ping", Address: s.machines["bob"].ip6.String()}, Attempt{Network: "ping", Address: s.machines["alice"].gw6.String()})
	if err != nil {
		return err
	}
	for i, o := range outcomes {
		if !o.Reached {
			r.bad("alice does not reach %s any more: %s", []string{"bob", "the gateway", "bob (IPv6)", "the gateway (IPv6)"}[i], o.Error)
		}
	}
	begin := time.Now()
	if _, err := s.footbridge("rm", "-f", name); err != nil {
		r.bad("it cannot be removed: %v", err)
		return nil
	}
	if took := time.Since(begin); took > 5*time.Second {
		r.bad("removing it took %v", took)
	}
	list, err := s.footbridge("network", "inspect", "-f", "{{json .Containers}}", homeNet)
	if err != nil {
		return err
	}
	if strings.Contains(list, name) {
		r.bad("it is on its network still: %s", list)
	}
	return settle("the wrecker's processes to end", func() bool {
		return s.w.Run(world.Host, "pgrep", "-f", strings.Join(s.hub.Command(name), " ")+"$").Code != 0
	})
}
