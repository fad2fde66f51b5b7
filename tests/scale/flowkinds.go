package main

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

const (
	// flowSources are how many containers the connections come from or go to, and flowServers how many ports of the host:
	// there are 28,000 ports between two addresses for each of these, and so there are for the worker.
	flowSources, flowServers = 10, 4
	// flowPort is the host's port that leads to the first of the containers, the next one to the second.
	flowPort = 7500
	// flowBytes is what a connection without traffic may cost the worker that ends it, and switchedBytes one whose frames
	// it only passes on.
	flowBytes, switchedBytes = 30 << 10, 1 << 10
)

// flowKind is one way that connections take, and what it may cost the worker.
type flowKind struct {
	name         string
	from         []*actor
	to           func(i int) []string // where those of from[i] go
	most         int                  // connections that open files allow
	bytes, files float64              // each, without traffic

	count       int       // of connections, see fill
	early, late expense   // the first and the last of them
	ratios      []float64 // of their costs, each time that they were made
}

// expense is what some connections cost.
type expense struct {
	rate float64 // connections a second
	cost float64 // of the worker's time for each, in us
}

// flowKinds starts the containers and servers, and tells what ways there are.
func (s *stage) flowKinds() ([]*flowKind, error) {
	if err := s.main.network("flows", "10.102.0.0/16"); err != nil {
		return nil, err
	}
	host := world.Addr("HOST4").String()
	at := func(port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
	var sources []*actor
	var servers, published []string
	for i := range flowSources {
		a, err := s.main.container(fmt.Sprint("source", i), "flows", "-p", fmt.Sprint(flowPort+i, ":", askPort))
		if err == nil {
			err = a.call("Serve", 0, &struct{}{})
		}
		if err != nil {
			return nil, err
		}
		sources, published = append(sources, a), append(published, at(flowPort+i))
	}
	for i := range flowServers {
		if err := s.user.call("Serve", 100*i, &struct{}{}); err != nil {
			return nil, err
		}
		servers = append(servers, at(askPort+100*i))
	}
	toNext := func(i int) []string { return []string{sources[(i+1)%flowSources].to(askPort)} }
	toHost, toPublished := func(int) []string { return servers }, func(int) []string { return published }
	files := openFiles()
	return []*flowKind{
		// Connections to the outside may have three eighths of the worker's descriptors, those to published ports half. Those between
		// containers have none, but two of the containers' processes, which have the other kinds' ends as well.
		{name: "to the host", from: sources, to: toHost, most: greedy(files*3/8, flowSources), bytes: flowBytes, files: 1.01},
		{name: "to published ports", from: []*actor{s.client}, to: toPublished, most: greedy(files/2, flowSources), bytes: flowBytes, files: 1.01},
		{name: "between containers", from: sources, to: toNext, most: files / 3 * flowSources, bytes: switchedBytes, files: 0.01},
	}, nil
}

// greedy is how many of limit so many owners have if each takes what it gets, as package share divides it: an eighth is for
// those who have few, and as much as one of them has stays free.
func greedy(limit, owners int) int { return limit * 7 / 8 * owners / (owners + 1) }

// fill gives kinds their counts, together sum: of each as many as are still wanted, but no more than may be, and a tenth of
// all at least, for some of each kind. They are multiples of unit.
func fill(kinds []*flowKind, wanted, unit int) (sum int) {
	wanted = (wanted + 10*unit - 1) / (10 * unit) * (10 * unit)
	for _, k := range kinds {
		k.count = min(max(wanted-sum, wanted/10), k.most/unit*unit)
		sum += k.count
	}
	return sum
}

// open makes n connections, and says how long that took.
func (k *flowKind) open(n int) (time.Duration, error) {
	const atOnce = 80
	begin := time.Now()
	err := together(k.from, func(i int, a *actor) error {
		args := FlowArgs{Targets: k.to(i), Count: n / len(k.from), AtOnce: atOnce / len(k.from), Ask: true}
		return a.call("OpenFlows", args, new(time.Duration))
	})
	return time.Since(begin), err
}

// holders are who have connections, each once.
func holders(kinds []*flowKind) []*actor {
	var all []*actor
	for _, k := range kinds {
		for _, a := range k.from {
			if !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	return all
}

// carrying tries all connections, and says how many of them work.
func carrying(kinds []*flowKind) (sum int, err error) {
	all := holders(kinds)
	alive := make([]int, len(all))
	err = together(all, func(i int, a *actor) error { return a.call("TryFlows", struct{}{}, &alive[i]) })
	for _, n := range alive {
		sum += n
	}
	return sum, err
}
