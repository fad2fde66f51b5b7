package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/tests/world"
)

// pair is two containers with actors on one network, of which the first serves.
type pair struct {
	d              *daemon
	server, client *actor
	worker         int // process id
}

// newPair makes one, on a network of the given subnet.
func (d *daemon) newPair(subnet string) (pair, error) {
	p := pair{d: d}
	if err := d.network("pair", subnet); err != nil {
		return p, err
	}
	var err error
	if p.server, err = d.container("server", "pair"); err != nil {
		return p, err
	}
	if p.client, err = d.container("client", "pair"); err != nil {
		return p, err
	}
	status, err := d.status()
	p.worker = status.Worker.PID
	return p, errors.Join(err, p.server.call("Serve", 0, &struct{}{}))
}

// to is the server's address with a port.
func (a *actor) to(port int) string { return net.JoinHostPort(a.ip, strconv.Itoa(port)) }

// steps are how many parts a crowd is looked at in.
const steps = 10

func crowd(s *stage, r *result) error {
	total, nets := pick(1000, 100), pick(20, 5)
	if *size > 0 {
		total = *size
	}
	aloneDaemon, err := s.another("alone")
	if err != nil {
		return err
	}
	alone, err := aloneDaemon.newPair("10.101.0.0/16")
	if err != nil {
		return err
	}
	with, err := s.main.newPair("10.101.0.0/16")
	if err != nil {
		return err
	}
	if err := s.user.call("Serve", 0, &struct{}{}); err != nil {
		return err
	}
	before, err := s.census()
	if err != nil {
		return err
	}
	if err := s.gather(r, total, nets); err != nil {
		return err
	}
	if err := s.feltByPair(r, with, alone); err != nil {
		return err
	}
	if err := s.askAbout(r, total); err != nil {
		return err
	}
	if err := s.comeBack(r, with, total); err != nil {
		return err
	}
	return s.disperse(r, total, nets, before)
}

// census is what footbridge's processes use together.
type census struct {
	keeper, worker   Usage
	shims            int // processes beside each container
	shimPSS, threads int
	free             int // bytes of the machine's memory
}

// shimPrograms are what stays beside each container.
var shimPrograms = []string{"footbridge-shim", "footbridge-init"}

func (s *stage) census() (c census, err error) {
	status, err := s.main.status()
	if err != nil {
		return c, err
	}
	if c.keeper, err = s.process(status.PID, true); err != nil {
		return c, err
	}
	if c.worker, err = s.process(status.Worker.PID, true); err != nil {
		return c, err
	}
	c.worker.FDs = status.Worker.Descriptors
	c.free = 1024*field(machine("/proc/meminfo"), "MemAvailable:") + s.reserve
	shims, err := s.look(LookArgs{Programs: shimPrograms, Memory: true})
	for _, u := range shims {
		c.shims++
		c.shimPSS += u.PSS
		c.threads += u.Threads
	}
	return c, err
}

// pss is what the daemon itself has in memory.
func (c census) pss() int { return c.keeper.PSS + c.worker.PSS }

// times are what processors have done for keeper, its helpers that have ended, and worker.
type times struct{ keeper, helpers, worker time.Duration }

// times asks for nothing that costs keeper or worker something.
func (s *stage) times(c census) (t times, err error) {
	usages, err := s.look(LookArgs{PIDs: []int{c.keeper.PID, c.worker.PID}})
	if err == nil && len(usages) != 2 {
		err = errors.New("keeper or worker has ended")
	}
	if err != nil {
		return t, err
	}
	return times{usages[0].CPU, usages[0].Children, usages[1].CPU}, nil
}

// each is the difference of two, in ms for each of n.
func (t times) each(before times, n int) (keeper, helpers, worker float64) {
	of := func(d time.Duration) float64 { return ms(d) / float64(n) }
	return of(t.keeper - before.keeper), of(t.helpers - before.helpers), of(t.worker - before.worker)
}

// spareMemory is what is given back for each start, see Reserve: more than a container takes.
const spareMemory = 6 << 20

// prepare has memory touched for n starts, where the machine has twice as much.
func (s *stage) prepare(r *result, n int) error {
	bytes := n * spareMemory
	if free := 1024 * field(machine("/proc/meminfo"), "MemAvailable:"); free < 2*bytes {
		r.told("memory touched before the starts", 0, "MiB", "of %d there are not twice as many: the first may get it cheaper than the last", bytes>>20)
		return nil
	}
	var page [2]time.Duration
	if err := s.admin.call("Reserve", bytes, &page); err != nil {
		return err
	}
	s.reserve = bytes
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	r.told("a page of memory, touched for the first time", us(page[0]), "us", "again: %s; the starts get %d MiB that were touched", number(us(page[1])), bytes>>20)
	return nil
}

// gather starts the crowd and says what each one more costs.
func (s *stage) gather(r *result, total, nets int) error {
	var took [steps][]float64                  // ms of each start, by part
	var keeper, helpers, worker [steps]float64 // ms of processors for each start
	seen := []census{}
	if err := s.prepare(r, total); err != nil {
		return err
	}
	first, err := s.census()
	if err != nil {
		return err
	}
	seen = append(seen, first)
	for i := range nets {
		if err := s.main.network(fmt.Sprintf("n%02d", i), fmt.Sprintf("10.%d.0.0/16", 120+i)); err != nil {
			return err
		}
	}
	since, err := s.times(first)
	if err != nil {
		return err
	}
	for i := range total {
		if err := s.admin.call("Spend", spareMemory, &s.reserve); err != nil {
			return err
		}
		begin := time.Now()
		if _, err := s.main.do("run", "-d", "--name", crowdName(i), "--network", fmt.Sprintf("n%02d", i%nets), "sleep", "infinity"); err != nil {
			return fmt.Errorf("container %d of %d: %w", i+1, total, err)
		}
		part := i * steps / total
		took[part] = append(took[part], ms(time.Since(begin)))
		if (i+1)*steps/total != part {
			now, err := s.times(first)
			if err != nil {
				return err
			}
			keeper[part], helpers[part], worker[part] = now.each(since, len(took[part]))
			if *verbose {
				fmt.Printf("      part %d, each: %s ms; of processors keeper %s, helpers %s, worker %s ms\n", part+1, number(median(took[part])),
					number(keeper[part]), number(helpers[part]), number(worker[part]))
			}
			c, err := s.census()
			if err != nil {
				return err
			}
			seen = append(seen, c)
			if since, err = s.times(first); err != nil {
				return err
			}
		}
	}
	each := float64(total) / steps
	last := seen[steps]
	mid := seen[steps/2]
	n := float64(total)
	early, late := median(took[0]), median(took[steps-1])
	r.told("a start, the first tenth of them", early, "ms", "%d containers on %d networks", total, nets)
	// Each part is a minute after the other: what the machine does meanwhile is in there. The processor's time decides.
	r.takes("the last tenth : the first, elapsed", late/early, "", 2, "%s ms", number(late))
	cpu := func(part int) float64 { return keeper[part] + helpers[part] + worker[part] }
	cpuEarly, cpuLate := median([]float64{cpu(0), cpu(1), cpu(2)}), median([]float64{cpu(steps - 3), cpu(steps - 2), cpu(steps - 1)})
	r.told("a start, keeper's, helpers' and worker's time, first three tenths", cpuEarly, "ms", "of which helpers' %s", number(helpers[1]))
	r.takes("the last three tenths : the first", cpuLate/cpuEarly, "", 1.5, "%s ms, of which helpers' %s", number(cpuLate), number(helpers[steps-2]))
	kib := func(of func(c census) int, from, to int) float64 {
		return float64(of(seen[to])-of(seen[from])) / 1024 / each / float64(to-from)
	}
	whole := kib(census.pss, 1, steps)
	r.most("memory for each container, PSS: keeper and worker", whole, "KiB", 512, "keeper %s, worker %s",
		number(kib(func(c census) int { return c.keeper.PSS }, 1, steps)), number(kib(func(c census) int { return c.worker.PSS }, 1, steps)))
	// Go's heaps grow by doubling, so one half may look cheap and the other dear.
	r.most("the second half : the first", kib(census.pss, steps/2, steps)/kib(census.pss, 1, steps/2), "", 1.5, "")
	// Two small programs of Go, of which each has a heap, stacks and tables of its own before it does anything.
	r.most("and of the processes beside it", kib(func(c census) int { return c.shimPSS }, 1, steps), "KiB", 4096, "footbridge-shim and footbridge-init")
	r.told("all that the machine has less of for each", float64(seen[1].free-last.free)/(1<<20)/each/(steps-1), "MiB", "namespaces, threads, mounts and its command, too")
	r.told("keeper, PSS", float64(last.keeper.PSS)/(1<<20), "MiB", "of the first %d: %s", total/2, number(float64(mid.keeper.PSS)/(1<<20)))
	r.told("worker, PSS", float64(last.worker.PSS)/(1<<20), "MiB", "of the first %d: %s", total/2, number(float64(mid.worker.PSS)/(1<<20)))
	r.most("descriptors for each, keeper", float64(last.keeper.FDs-first.keeper.FDs)/n, "", 8, "%d", last.keeper.FDs)
	r.most("descriptors for each, worker", float64(last.worker.FDs-first.worker.FDs)/n, "", 4, "%d", last.worker.FDs)
	r.told("processes beside each", float64(last.shims-first.shims)/n, "", "with %s threads, of %s on the machine and %s a user",
		number(float64(last.threads-first.threads)/n), machine("/proc/sys/kernel/pid_max"), processLimit())
	written := func(part int) float64 {
		return float64(seen[part+1].keeper.Written-seen[part].keeper.Written) / 1024 / each
	}
	r.told("written by the keeper for each, the first tenth", written(0), "KiB", "the last: %s", number(written(steps-1)))
	return nil
}

func crowdName(i int) string { return fmt.Sprintf("c%04d", i) }

// machine is the text of a file that has a limit.
func machine(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b))
}

func processLimit() string {
	for line := range strings.Lines(machine("/proc/self/limits")) {
		if rest, ok := strings.CutPrefix(line, "Max processes"); ok {
			return strings.Fields(rest)[0]
		}
	}
	return "any number"
}

// feltByPair compares what two containers do in the crowd with what two do without one.
func (s *stage) feltByPair(r *result, with, alone pair) error {
	rounds, long := pick(7, 3), pick(time.Second, 400*time.Millisecond)
	host := net.JoinHostPort(world.Addr("HOST4").String(), strconv.Itoa(askPort))
	for _, m := range []struct {
		what, method, unit string
		args               func(p pair) BulkArgs
		scale              float64
	}{
		{"bytes between two containers", "Bulk", "Gbit/s", func(p pair) BulkArgs { return BulkArgs{To: p.server.to(bulkPort), Time: long} }, 8e-9},
		{"connections between two containers", "Connect", "k/s", func(p pair) BulkArgs { return BulkArgs{To: p.server.to(askPort), Time: long} }, 1e-3},
		{"connections to the host", "Connect", "k/s", func(pair) BulkArgs { return BulkArgs{To: host, Time: long} }, 1e-3},
		{"name lookups", "AskNames", "k/s", func(pair) BulkArgs { return BulkArgs{To: "server", Time: long, Streams: 4} }, 1e-3},
	} {
		of := func(p pair) func() (float64, error) {
			return func() (rate float64, err error) {
				err = p.client.call(m.method, m.args(p), &rate)
				return rate * m.scale, err
			}
		}
		a, b, ratio, err := pairs(rounds, 0.9, of(with), of(alone))
		if err != nil {
			return err
		}
		r.rate(m.what+", in the crowd : alone", ratio, 0.9, "%s, alone %s %s", number(a), number(b), m.unit)
	}
	return nil
}

// askAbout lists and inspects.
func (s *stage) askAbout(r *result, total int) error {
	timed := func(args ...string) (float64, string, error) {
		var took []float64
		var text string
		for range 3 {
			begin := time.Now()
			var err error
			if text, err = s.main.do(args...); err != nil {
				return 0, "", err
			}
			took = append(took, ms(time.Since(begin)))
		}
		return median(took), text, nil
	}
	// Half a millisecond for each is what a list may take: it is not asked for often.
	each := 0.5
	took, text, err := timed("ps", "-q")
	if err != nil {
		return err
	}
	if n := len(strings.Fields(text)); n != total+2 {
		return fmt.Errorf("ps lists %d containers of %d", n, total+2)
	}
	r.takes("ps", took, "ms", 200+each*float64(total), "")
	if took, _, err = timed("network", "inspect", "n00"); err != nil {
		return err
	}
	r.takes("network inspect", took, "ms", 200+each*float64(total), "")
	if took, _, err = timed("daemon", "status"); err != nil {
		return err
	}
	r.takes("daemon status", took, "ms", 300+each*float64(total), "")
	if took, _, err = timed("inspect", crowdName(total-1)); err != nil {
		return err
	}
	r.takes("inspect of one", took, "ms", 200, "")
	return nil
}

// comeBack ends worker and daemon while all are there.
func (s *stage) comeBack(r *result, with pair, total int) error {
	status, err := s.main.status()
	if err != nil {
		return err
	}
	works := func() bool {
		var rate float64
		return with.client.call("Connect", BulkArgs{To: with.server.to(askPort), Time: time.Millisecond}, &rate) == nil
	}
	begin := time.Now()
	s.killed = true
	if err := s.admin.shell("kill -9 %d", status.Worker.PID); err != nil {
		return err
	}
	if !world.Poll(30*time.Second, works) {
		return errors.New("no connection between two containers 30 s after the worker's death")
	}
	// A second for the worker, and two milliseconds for each container that it is told of.
	r.takes("until a connection succeeds again, worker killed", ms(time.Since(begin)), "ms", 1000+2*float64(total), "")
	if status, err = s.main.status(); err != nil {
		return err
	}
	if err := s.admin.shell("kill -9 %d", status.PID); err != nil {
		return err
	}
	if !world.Poll(10*time.Second, func() bool { return s.admin.shell("! kill -0 %d 2>/dev/null", status.PID) == nil }) {
		return errors.New("the daemon does not die")
	}
	begin = time.Now()
	if _, err := s.main.do("ps", "-q"); err != nil {
		return err
	}
	r.takes("the daemon's start with all of them, until it answers", ms(time.Since(begin)), "ms", 5000, "it was killed")
	if !world.Poll(2*time.Minute, works) {
		return errors.New("no connection between two containers two minutes after the daemon's start")
	}
	r.takes("and until a connection succeeds", ms(time.Since(begin)), "ms", 2000+20*float64(total), "")
	var problem string
	if !world.Poll(time.Minute, func() bool {
		status, err = s.main.status()
		problem = fmt.Sprintf("%d run, warnings %v, %v", status.Running, status.Warnings, err)
		return err == nil && status.Running == total+2 && len(status.Warnings) == 0 && endpoints(status.Networks) == total+2
	}) {
		return fmt.Errorf("the containers are not all back: %s", problem)
	}
	r.takes("and until all are on their networks", ms(time.Since(begin)), "ms", 3000+30*float64(total), "")
	return nil
}

// disperse stops and removes the crowd.
func (s *stage) disperse(r *result, total, nets int, before census) error {
	names := make([]string, total)
	for i := range names {
		names[i] = crowdName(i)
	}
	var took []float64
	for part := range slices.Chunk(names, (total+steps-1)/steps) {
		begin := time.Now()
		verb := []string{"rm", "-f"}
		if len(took) == steps/2 {
			verb = []string{"stop"}
		}
		if _, err := s.main.do(append(verb, part...)...); err != nil {
			return err
		}
		took = append(took, ms(time.Since(begin))/float64(len(part)))
		if verb[0] == "stop" {
			if _, err := s.main.do(append([]string{"rm"}, part...)...); err != nil {
				return err
			}
		}
	}
	r.told("rm -f, each of the first tenth", took[0], "ms", "stop, in the middle: %s", number(took[steps/2]))
	// The first are removed among all others: if that cost something for each of them, they would be dearer.
	r.takes("the first tenth : the last", took[0]/took[len(took)-1], "", 3, "")
	networks := []string{"network", "rm"}
	for i := range nets {
		networks = append(networks, fmt.Sprintf("n%02d", i))
	}
	if _, err := s.main.do(networks...); err != nil {
		return err
	}
	var after census
	var err error
	if !world.Poll(20*time.Second, func() bool {
		after, err = s.census()
		return err != nil || after.shims == before.shims && after.worker.FDs <= before.worker.FDs+spareFiles && after.keeper.FDs <= before.keeper.FDs+spareFiles
	}) {
		r.told("left", float64(after.shims-before.shims), "shims", "")
	}
	if err != nil {
		return err
	}
	r.most("descriptors left, keeper and worker", float64(after.keeper.FDs+after.worker.FDs-before.keeper.FDs-before.worker.FDs), "", 2*spareFiles, "")
	return nil
}

// spareFiles is how many more descriptors there may be than before.
const spareFiles = 16

// endpoints counts those of all networks.
func endpoints(networks []api.NetworkStatus) int {
	n := 0
	for _, one := range networks {
		n += one.Endpoints
	}
	return n
}
