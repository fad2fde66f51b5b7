package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

const (
	// kept is what neighbours keep of their throughput.
	kept = 0.9
	// shared is what is left of kept where the worker, which has one processor, has another container at full speed to serve as
	// well: half.
	shared = kept / 2
	// stormed is what is left of it beside 5,000 frames a second for all: to read each of them takes 3 us of the worker's one
	// processor on a quick machine, and 14 on one that others use as well.
	stormed = 0.75
	// pressed is how many connections a disturber has that nobody reads, or reads slowly.
	pressed = 50
	// mostQueued is what the worker may hold for those: twice what splice.Confine says of so many, and room for the heap
	// to grow in. In bytes.
	mostQueued = 160 << 20
)

// deaf measures what two containers reach, between each other and to the host, while another one sends to who does not read.
// Where the processor is what that takes, it is compared with what they reach while the same process sends to itself.
func deaf(s *stage, r *result) error {
	victims, err := s.main.newPair("10.106.0.0/16")
	if err != nil {
		return err
	}
	if err := s.user.call("Serve", 0, &struct{}{}); err != nil {
		return err
	}
	loud, err := s.main.container("loud", "pair")
	if err != nil {
		return err
	}
	other, err := s.main.container("deaf", "pair")
	if err != nil {
		return err
	}
	for _, a := range []*actor{loud, other} {
		if err := a.call("Serve", 0, &struct{}{}); err != nil {
			return err
		}
		if err := a.call("Deaf", struct{}{}, &struct{}{}); err != nil {
			return err
		}
	}
	host := world.Addr("HOST4").String()
	at := func(host string, port int) []string { return []string{net.JoinHostPort(host, strconv.Itoa(port))} }
	press := func(to []string) func() error {
		return func() error {
			return loud.call("Press", FlowArgs{Targets: to, Count: pressed}, &struct{}{})
		}
	}
	let := func() error { return errors.Join(loud.release(), other.release(), s.user.release()) }
	before, err := s.process(victims.worker, false)
	if err != nil {
		return err
	}
	for _, d := range []struct {
		name string
		to   []string
	}{
		{"one sends to a container that does not read", at(other.ip, holdPort)},
		{"one sends to a server of the host that does not read", at(host, holdPort)},
		{"one sends to a server of the host that reads 1 kB/s", at(host, crawlPort)},
	} {
		if err := s.beside(r, d.name, victims, kept, true, press(d.to), let, func() error { return nil }, func() error { return nil }); err != nil {
			return err
		}
		during, err := s.queued(press(d.to), let, victims.worker)
		if err != nil {
			return err
		}
		r.most("worker's memory for that", float64(during-before.RSS)/(1<<20), "MiB", mostQueued>>20, "%d connections", pressed)
	}
	if err := other.call("Deaf", struct{}{}, &struct{}{}); err != nil { // let has closed it
		return err
	}
	if err := loud.call("Deaf", struct{}{}, &struct{}{}); err != nil {
		return err
	}
	flood := newNoise([]*actor{loud}, ShoutArgs{To: other.ip, Size: 1400})
	itself := newNoise([]*actor{loud}, ShoutArgs{To: "127.0.0.1", Size: 1400})
	return s.beside(r, "one floods a container that does not read, by UDP", victims, shared, false, flood.start, flood.stop, itself.start, itself.stop)
}

// shouting measures the same while many containers send to all, and compares it with what is reached while they do so over their
// own loopback interfaces.
func shouting(s *stage, r *result) error {
	victims, err := s.main.newPair("10.106.0.0/16")
	if err != nil {
		return err
	}
	if err := s.user.call("Serve", 0, &struct{}{}); err != nil {
		return err
	}
	n := pick(100, 20)
	many, err := s.main.containers(n, "shouter", "pair")
	if err != nil {
		return err
	}
	for _, a := range many {
		if err := a.call("Deaf", struct{}{}, &struct{}{}); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		rate  int // of each, a second
		bound float64
	}{
		{pick(10, 50), kept},
		{pick(50, 250), stormed},
	} {
		shouts := newNoise(many, ShoutArgs{To: "10.106.255.255", Size: 200, Rate: d.rate})
		themselves := newNoise(many, ShoutArgs{To: "127.0.0.1", Size: 200, Rate: d.rate})
		used, err := s.spent(victims.worker, func() error { return errors.Join(shouts.start(), shouts.stop()) })
		if err != nil {
			return err
		}
		r.told("worker's time for broadcasts alone", 100*used.Seconds()/shouts.args.Time.Seconds(), "% CPU", "%d a second", n*d.rate)
		name := fmt.Sprintf("%d containers broadcast, %d times a second each", n, d.rate)
		if err := s.beside(r, name, victims, d.bound, false, shouts.start, shouts.stop, themselves.start, themselves.stop); err != nil {
			return err
		}
	}
	return nil
}

// noise is datagrams that are sent until they are stopped.
type noise struct {
	from []*actor
	args ShoutArgs
	done chan error
}

func newNoise(from []*actor, args ShoutArgs) *noise { return &noise{from: from, args: args} }

// start begins it; stop waits for its end. It lasts a little longer than what is measured beside it.
func (n *noise) start() error {
	n.args.Time = besideTime() + time.Second/2
	n.done = make(chan error, 1)
	go func() {
		n.done <- together(n.from, func(_ int, a *actor) error { return a.call("Shout", n.args, new(int)) })
	}()
	return nil
}

func (n *noise) stop() error { return <-n.done }

// besideTime is the length of one measurement beside a disturber.
func besideTime() time.Duration { return pick(time.Second, 600*time.Millisecond) }

// beside compares what victims reach beside a disturber with what they reach beside its control, and what it costs the worker to
// carry that, where a disturber should cost it nothing. The short form has few rounds, and so
// a bound that is a fifth less.
func (s *stage) beside(r *result, name string, victims pair, bound float64, free bool, begin, end, control, controlEnd func() error) error {
	rounds := pick(4, 2)
	atLeast := pick(bound, bound*0.8)
	ways := []struct{ what, to string }{
		{"between containers", victims.server.to(bulkPort)},
		{"to the host", net.JoinHostPort(world.Addr("HOST4").String(), strconv.Itoa(bulkPort))},
	}
	if *short { // one of them, in turn
		ways = ways[len(r.Checks)%2:][:1]
	}
	for _, v := range ways {
		var costs [2][]float64
		measure := func(which int, begin, end func() error) func() (float64, error) {
			return func() (rate float64, err error) {
				if err := begin(); err != nil {
					return 0, errors.Join(err, end())
				}
				used, err := s.spent(victims.worker, func() error {
					return victims.client.call("Bulk", BulkArgs{To: v.to, Time: besideTime()}, &rate)
				})
				costs[which] = append(costs[which], used.Seconds()/(rate*besideTime().Seconds()))
				return rate * 8e-9, errors.Join(err, end())
			}
		}
		a, b, ratio, err := pairs(rounds, atLeast, measure(0, begin, end), measure(1, control, controlEnd))
		if err != nil {
			return err
		}
		r.rate(name+": others "+v.what, ratio, atLeast, "%s, otherwise %s Gbit/s", number(a), number(b))
		if free {
			r.rate("bytes for the worker's time", median(costs[1])/median(costs[0]), 0.8*bound, "%s, otherwise %s ms for a GB",
				number(1e12*median(costs[0])), number(1e12*median(costs[1])))
		}
	}
	return nil
}

// queued is what the worker has resident while connections are pressed.
func (s *stage) queued(press, let func() error, worker int) (int, error) {
	if err := press(); err != nil {
		return 0, errors.Join(err, let())
	}
	u, err := s.process(worker, false)
	return u.RSS, errors.Join(err, let())
}
