package main

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

// windows are how often it is looked for a time without wake-ups: what a start has left to do (timers, a copy of the state
// file) takes some seconds.
const windows = 8

// idle counts how often processes are woken while nothing happens: containers, a published port, a connection to the host and
// one to the published port are there.
func idle(s *stage, r *result) error {
	if err := s.main.network("idle", "10.104.0.0/16", "--ipv6", "--subnet", "fd10:4::/64"); err != nil {
		return err
	}
	n := pick(20, 5)
	for i := range n {
		if _, err := s.main.do("run", "-d", "--name", crowdName(i), "--network", "idle", "-p", strconv.Itoa(7500+i)+":80", "sleep", "infinity"); err != nil {
			return err
		}
	}
	c, err := s.main.container("talker", "idle", "-p", "7400:"+strconv.Itoa(askPort))
	if err != nil {
		return err
	}
	if err := c.call("Serve", 0, &struct{}{}); err != nil {
		return err
	}
	if err := s.user.call("Serve", 0, &struct{}{}); err != nil {
		return err
	}
	host := world.Addr("HOST4").String()
	for _, f := range []struct {
		a  *actor
		to string
	}{{c, net.JoinHostPort(host, strconv.Itoa(askPort))}, {s.client, net.JoinHostPort(host, "7400")}} {
		var took time.Duration
		if err := f.a.call("OpenFlows", FlowArgs{Targets: []string{f.to}, Count: 10, AtOnce: 1, Say: 1}, &took); err != nil {
			return err
		}
	}
	status, err := s.main.status()
	if err != nil {
		return err
	}
	names := map[int]string{status.PID: "keeper", status.Worker.PID: "worker"}
	args := LookArgs{PIDs: []int{status.PID, status.Worker.PID}, Programs: shimPrograms}
	// A signal that the runtime sends to itself, for instance, is none of a program's doing: so not quite never.
	most := pick(1., 5.) // of few seconds a single one weighs more
	length := pick(10*time.Second, 3*time.Second)
	var least float64
	var who string
	for i := range windows {
		before, err := s.look(args)
		if err != nil {
			return err
		}
		time.Sleep(length) // what is measured
		after, err := s.look(args)
		if err != nil {
			return err
		}
		rate, list := wakeUps(before, after, names, length)
		if *verbose {
			fmt.Printf("      %s wake-ups a second, %s\n", number(rate), list)
		}
		if i == 0 || rate < least {
			least, who = rate, list
		}
		if least <= most {
			break
		}
	}
	r.most("wake-ups of keeper, worker and shims together", least, "/s", most, "%d containers; %s", n+1, who)
	return nil
}

// wakeUps adds up the switches between two looks, and says whose they were.
func wakeUps(before, after []Usage, names map[int]string, length time.Duration) (rate float64, who string) {
	earlier := map[int]int{}
	for _, u := range before {
		earlier[u.PID] = u.Switches
	}
	by := map[string]int{}
	for _, u := range after {
		name := names[u.PID]
		if name == "" {
			name = strings.TrimPrefix(u.Program, "footbridge-")
		}
		n := u.Switches - earlier[u.PID]
		by[name] += n
		rate += float64(n) / length.Seconds()
	}
	var words []string
	for name, n := range by {
		if n > 0 {
			words = append(words, fmt.Sprintf("%s %d", name, n))
		}
	}
	slices.Sort(words)
	return rate, fmt.Sprintf("in %v: %s", length, strings.Join(append(words, "nobody")[:max(1, len(words))], ", "))
}
