package main

import (
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

// streams compares the total of several streams, and of several containers at once, with one stream.
func streams(s *stage, r *result) error {
	const containers = 4
	if err := s.main.network("streams", "10.108.0.0/16"); err != nil {
		return err
	}
	all, err := s.main.containers(2*containers, "c", "streams")
	if err != nil {
		return err
	}
	for _, a := range append(all[containers:], s.user) {
		if err := a.call("Serve", 0, &struct{}{}); err != nil {
			return err
		}
	}
	status, err := s.main.status()
	if err != nil {
		return err
	}
	host := net.JoinHostPort(world.Addr("HOST4").String(), strconv.Itoa(bulkPort))
	long := pick(time.Second, 600*time.Millisecond)
	total := func(n, streams int, receive bool, to func(i int) string) func() (float64, error) {
		return func() (float64, error) {
			var mu sync.Mutex
			var sum float64
			err := together(all[:n], func(i int, a *actor) error {
				var rate float64
				err := a.call("Bulk", BulkArgs{To: to(i), Streams: streams, Time: long, Receive: receive}, &rate)
				mu.Lock()
				defer mu.Unlock()
				sum += rate * 8e-9
				return err
			})
			return sum, err
		}
	}
	toHost := func(int) string { return host }
	beside := func(i int) string { return all[containers+i].to(bulkPort) }
	for _, c := range []struct {
		what    string
		to      func(int) string
		receive bool
	}{{"to the host", toHost, false}, {"from the host", toHost, true}, {"between containers", beside, false}} {
		if *short && c.receive {
			continue
		}
		for _, many := range []struct {
			what       string
			n, streams int
		}{{"8 streams", 1, 8}, {"4 containers at once", containers, 1}} {
			var costs [2][]float64
			costing := func(which int, f func() (float64, error)) func() (float64, error) {
				return func() (rate float64, err error) {
					used, err := s.spent(status.Worker.PID, func() (err error) {
						rate, err = f()
						return err
					})
					costs[which] = append(costs[which], used.Seconds()/(rate/8*long.Seconds()))
					return rate, err
				}
			}
			atLeast := pick(kept, kept*0.8)
			a, b, ratio, err := pairs(pick(3, 2), atLeast, costing(0, total(many.n, many.streams, c.receive, c.to)), costing(1, total(1, 1, c.receive, c.to)))
			if err != nil {
				return err
			}
			r.rate(many.what+" "+c.what+" : one", ratio, atLeast, "%s, one %s Gbit/s; worker %s, one %s ms for a GB", number(a), number(b),
				number(1e3*median(costs[0])), number(1e3*median(costs[1])))
		}
	}
	return nil
}
