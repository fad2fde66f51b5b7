package main

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

const (
	// flowSources are how many containers the connections come from, and flowServers how many ports they go to: each
	// container has 28,000 ports of its own for each of these, and so has the host.
	flowSources, flowServers = 10, 4
	// flowBytes is what a connection without traffic may cost the worker.
	flowBytes = 30. * 1024
	// forFlows is the part of the process's descriptors that all containers together may use for connections to the
	// outside: three eighths, of which an eighth is for those who have few, and ten who share leave an eleventh.
	forFlows = 3. / 8 * 7 / 8 * flowSources / (flowSources + 1)
	// calm bounds how long memory may take to be given back after the last byte.
	calm = 20 * time.Second
)

func manyFlows(s *stage, r *result) error {
	wanted := pick(20000, 2000)
	if *many > 0 {
		wanted = *many
	}
	count := min(wanted, int(forFlows*float64(openFiles()))/flowSources/steps*flowSources*steps)
	if count < wanted {
		r.told("connections are fewer than wanted", float64(count), "", "%d open files a process allow no more of %d", openFiles(), wanted)
	}
	if err := s.main.network("flows", "10.102.0.0/16"); err != nil {
		return err
	}
	sources, err := s.main.containers(flowSources, "source", "flows")
	if err != nil {
		return err
	}
	var targets []string
	for i := range flowServers {
		if err := s.user.call("Serve", 100*i, &struct{}{}); err != nil {
			return err
		}
		targets = append(targets, net.JoinHostPort(world.Addr("HOST4").String(), strconv.Itoa(askPort+100*i)))
	}
	status, err := s.main.status()
	if err != nil {
		return err
	}
	pid := status.Worker.PID
	open := func(n int) (time.Duration, error) {
		begin := time.Now()
		err := together(sources, func(_ int, a *actor) error {
			var took time.Duration
			return a.call("OpenFlows", FlowArgs{Targets: targets, Count: n / flowSources, AtOnce: 8}, &took)
		})
		return time.Since(begin), err
	}
	shut := func() error {
		return together(sources, func(_ int, a *actor) error { return a.call("CloseFlows", true, &struct{}{}) })
	}
	// Pools fill, tables reach their size, before anything counts.
	if _, err := open(count / steps); err != nil {
		return err
	}
	if err := shut(); err != nil {
		return err
	}
	before, err := s.settled(calm, func(u Usage) bool { return u.FDs < count/steps })
	if err != nil {
		return err
	}
	var rates, costs []float64
	for range steps {
		var took time.Duration
		cpu, err := s.spent(pid, func() (err error) {
			took, err = open(count / steps)
			return err
		})
		if err != nil {
			return err
		}
		each := float64(count / steps)
		rates = append(rates, each/took.Seconds())
		costs = append(costs, float64(cpu.Microseconds())/each)
	}
	full, err := s.settled(calm/4, func(Usage) bool { return false })
	if err != nil {
		return err
	}
	third := steps / 3
	early, late := median(costs[:third]), median(costs[steps-third:])
	r.told("connections a second, the first of them", median(rates[:third]), "/s", "%d connections of %d containers; the last: %s", count, flowSources, number(median(rates[steps-third:])))
	r.told("worker's time for a connection, the first of them", early, "us", "")
	r.takes("the last : the first", late/early, "", 1.35, "%s us", number(late))
	r.most("worker's memory for an idle connection", float64(full.RSS-before.RSS)/float64(count), "bytes", pick(flowBytes, 3*flowBytes/2), "RSS %s -> %s MiB", mib(before.RSS), mib(full.RSS))
	r.most("worker's descriptors for a connection", float64(full.FDs-before.FDs)/float64(count), "", 1.01, "")
	alive := make([]int, len(sources))
	if err := together(sources, func(i int, a *actor) error { return a.call("TryFlows", struct{}{}, &alive[i]) }); err != nil {
		return err
	}
	sum := 0
	for _, n := range alive {
		sum += n
	}
	r.least("connections that carry a byte there and back", float64(sum)/float64(count), "", 1, "%d", sum)
	if err := shut(); err != nil {
		return err
	}
	begin := time.Now()
	spare := s.spareMemory(before)
	after, err := s.settled(calm, func(u Usage) bool { return u.RSS <= before.RSS+spare && u.FDs <= before.FDs+spareFiles })
	if err != nil {
		return err
	}
	r.most("memory kept when all have ended", float64(after.RSS-before.RSS)/(1<<20), "MiB", float64(spare)/(1<<20), "RSS %s MiB after %v", mib(after.RSS), time.Since(begin).Round(time.Second/10))
	r.most("descriptors kept", float64(after.FDs-before.FDs), "", spareFiles, "")
	return nil
}

func mib(bytes int) string { return number(float64(bytes) / (1 << 20)) }

// spareMemory is how much more the worker may have than before: half of what it had, or 16 MiB. Tables keep the size that
// they have reached.
func (s *stage) spareMemory(before Usage) int { return max(before.RSS/2, 16<<20) }

// settled looks at the worker until it is as wanted, at most for a time, and returns how it is then.
func (s *stage) settled(limit time.Duration, wanted func(Usage) bool) (u Usage, err error) {
	world.Poll(limit, func() bool {
		status, serr := s.main.status()
		if u, err = s.process(status.Worker.PID, false); serr != nil {
			err = serr
		}
		u.FDs = status.Worker.Descriptors
		return err != nil || wanted(u)
	})
	return u, err
}

// burst carries as much as it can for a while, and looks what the worker keeps of it.
func burst(s *stage, r *result) error {
	if err := s.main.network("burst", "10.103.0.0/16"); err != nil {
		return err
	}
	c, err := s.main.container("source", "burst")
	if err != nil {
		return err
	}
	if err := s.user.call("Serve", 0, &struct{}{}); err != nil {
		return err
	}
	status, err := s.main.status()
	if err != nil {
		return err
	}
	pid := status.Worker.PID
	before, err := s.process(pid, false)
	if err != nil {
		return err
	}
	to := net.JoinHostPort(world.Addr("HOST4").String(), strconv.Itoa(bulkPort))
	for _, receive := range []bool{false, true} {
		what := map[bool]string{false: "to the host", true: "from the host"}[receive]
		highest := before.RSS
		stop, watched := make(chan struct{}), make(chan error, 1)
		go func() {
			for {
				u, err := s.process(pid, false)
				highest = max(highest, u.RSS)
				select {
				case <-stop:
					watched <- err
					return
				case <-time.After(50 * time.Millisecond):
				}
			}
		}()
		var rate float64
		err := c.call("Bulk", BulkArgs{To: to, Streams: 8, Time: pick(5*time.Second, 2*time.Second), Receive: receive}, &rate)
		close(stop)
		if werr := <-watched; err == nil {
			err = werr
		}
		if err != nil {
			return err
		}
		begin := time.Now()
		spare := s.spareMemory(before)
		after, err := s.settled(calm, func(u Usage) bool { return u.RSS <= before.RSS+spare })
		if err != nil {
			return err
		}
		r.most(fmt.Sprintf("memory kept after 8 streams %s", what), float64(after.RSS-before.RSS)/(1<<20), "MiB", float64(spare)/(1<<20),
			"%s Gbit/s; RSS %s MiB before, %s during, %s after %v", number(rate*8e-9), mib(before.RSS), mib(highest), mib(after.RSS), time.Since(begin).Round(time.Second/10))
	}
	return nil
}
