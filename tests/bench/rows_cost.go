package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/tests/world"
)

// Units of costs.
const (
	milliseconds = "ms"
	megabytes    = "MB"
	kilobytes    = "KB"
)

// costGroup are rows that have a table of their own.
const costGroup = "cost"

// costRows are what footbridge takes: of time until it is there, of memory, of the processors while nothing happens. A
// daemon of their own, with folders of its own, is measured, so that nothing is in it from other rows.
func costRows() []row {
	of := []string{footbridgeName}
	return []row{
		{group: costGroup, name: "attach, warm daemon, until a connection", unit: milliseconds, lower: true, quick: true, systems: of, measure: attachTime},
		{group: costGroup, name: "run, warm daemon, until the command has a connection", unit: milliseconds, lower: true, systems: of, measure: runTime},
		{group: costGroup, name: "memory, daemon with one idle container", unit: megabytes, lower: true, quick: true, systems: of, measure: inDaemon(daemonMemory)},
		{group: costGroup, name: "memory, each idle container", unit: megabytes, lower: true, systems: of, measure: inDaemon(containerMemory)},
		{group: costGroup, name: "memory, each idle NATed flow", unit: kilobytes, lower: true, systems: of, measure: inDaemon(flowMemory)},
		{group: costGroup, name: "wake-ups, idle", unit: perSecond, lower: true, systems: of, measure: inDaemon(wakeUps)},
	}
}

// attachTime is the median of some attachments to a network of the daemon that other rows use.
func attachTime(b *bench, s system) (sample, error) {
	if _, err := b.box(s, largeMTU, 0); err != nil { // the network is there, and the daemon warm
		return sample{}, err
	}
	r := b.w.Run(world.Host, "timeout", "60", b.program, roleAttach, "-footbridge", world.Binary(), "-network", footbridgeNet(largeMTU),
		"-to", net.JoinHostPort(ip4.host(), strconv.Itoa(probePort)))
	return timesOf(r)
}

// timesOf is the sample of a program that has printed milliseconds.
func timesOf(r world.Result) (sample, error) {
	if r.Err != nil || r.Code != 0 {
		return sample{}, fmt.Errorf("exit status %d, %v%s", r.Code, r.Err, suffix(r.Stderr))
	}
	times, err := parseTimes(r.Stdout)
	if err != nil {
		return sample{}, err
	}
	slices.Sort(times)
	return sample{Value: median(times), P50: median(times) * 1000, P99: percentile(times, 0.99) * 1000}, nil
}

// runTime is the median of some containers whose command does nothing but connect.
func runTime(b *bench, s system) (sample, error) {
	if _, err := b.box(s, largeMTU, 0); err != nil {
		return sample{}, err
	}
	const count = 10
	var out bytes.Buffer
	for range count {
		begin := monotonic()
		r := b.w.Run(world.Host, "footbridge", "run", "--rm", "--network", footbridgeNet(largeMTU), b.program, roleDial,
			net.JoinHostPort(ip4.host(), strconv.Itoa(probePort)))
		if r.Err != nil || r.Code != 0 {
			return sample{}, fmt.Errorf("exit status %d, %v%s", r.Code, r.Err, suffix(r.Stderr))
		}
		end, err := parseMonotonic(strings.TrimPrefix(r.Stdout, "trying\n"))
		if err != nil {
			return sample{}, err
		}
		fmt.Fprintf(&out, "%.3f\n", float64((end-begin).Microseconds())/1000)
	}
	return timesOf(world.Result{Stdout: out.String()})
}

// daemon is a second one of the same user's.
type daemon struct {
	b   *bench
	env []string
}

// inDaemon measures with a daemon that has just been started, and ends it.
func inDaemon(measure func(daemon) (float64, error)) func(*bench, system) (sample, error) {
	return func(b *bench, _ system) (sample, error) {
		dir, err := b.do(world.Host, "mktemp -d %s/cost-XXXXXX", world.RuntimeDir)
		if err != nil {
			return sample{}, err
		}
		d := daemon{b, append(slices.DeleteFunc(b.w.Environ(), func(v string) bool {
			return strings.HasPrefix(v, "XDG_RUNTIME_DIR=") || strings.HasPrefix(v, "XDG_STATE_HOME=")
		}), "XDG_RUNTIME_DIR="+dir, "XDG_STATE_HOME="+dir+"/state")}
		if _, err := d.do("footbridge network ls"); err != nil {
			return sample{}, err
		}
		value, err := measure(d)
		// What is left of it would work while other rows are measured.
		_, ended := d.do("footbridge ps -qa | xargs -r footbridge rm -f >/dev/null && footbridge daemon stop")
		return sample{Value: value}, errors.Join(err, ended)
	}
}

// do runs a shell command with this daemon.
func (d daemon) do(format string, args ...any) (string, error) {
	var out, errs bytes.Buffer
	command := fmt.Sprintf(format, args...)
	c := d.b.w.Command(world.Host, "sh", "-c", command)
	c.Env, c.Stdout, c.Stderr = d.env, &out, &errs
	code, err := c.Run()
	if err != nil || code != 0 {
		return "", fmt.Errorf("%s: exit status %d, %v: %s%s", command, code, err, out.String(), errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// processes returns the ids of the daemon's processes: keeper and worker.
func (d daemon) processes() ([]int, error) {
	text, err := d.do("footbridge daemon status --format json")
	if err != nil {
		return nil, err
	}
	var status api.Status
	if err := json.Unmarshal([]byte(text), &status); err != nil {
		return nil, err
	}
	if status.Worker.PID == 0 {
		return nil, errors.New("the daemon has no worker: it starts it with the first container")
	}
	return []int{status.Keeper.PID, status.Worker.PID}, nil
}

// settleTime is how long garbage is given to be collected, and timers of a start to end: longer than the worker waits
// before it gives memory back, which is 3 s without traffic, and as long again if there was some.
const settleTime = 7 * time.Second

// memory is what the daemon's processes have resident, in bytes, after it has not become less for a while.
func (d daemon) memory() (float64, error) {
	pids, err := d.processes()
	if err != nil {
		return 0, err
	}
	var problem error
	least, since := 0.0, time.Now()
	world.Poll(5*settleTime, func() bool {
		var text string
		if text, problem = d.b.do(world.Admin, "cat /proc/%d/status /proc/%d/status", pids[0], pids[1]); problem != nil {
			return true
		}
		var now float64
		if now, problem = parseResident(text); problem != nil {
			return true
		}
		if least == 0 || now < least {
			least, since = now, time.Now()
		}
		return time.Since(since) > settleTime
	})
	return least, problem
}

// parseResident adds up VmRSS of one or more /proc/PID/status, in bytes.
func parseResident(text string) (float64, error) {
	sum := 0
	for line := range strings.Lines(text) {
		value, ok := strings.CutPrefix(line, "VmRSS:")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
		if err != nil {
			return 0, fmt.Errorf("%q: %w", line, err)
		}
		sum += n * 1024
	}
	if sum == 0 {
		return 0, errors.New("/proc/PID/status says nothing of memory")
	}
	return float64(sum), nil
}

func daemonMemory(d daemon) (float64, error) {
	// Without a container there is no worker after some seconds.
	if _, err := d.do("footbridge run -d sleep infinity"); err != nil {
		return 0, err
	}
	bytes, err := d.memory()
	return bytes / 1e6, err
}

// grown is how much more memory there is for each of n things that something makes, in bytes.
func (d daemon) grown(n int, make func() error) (float64, error) {
	before, err := d.memory()
	if err != nil {
		return 0, err
	}
	if err := make(); err != nil {
		return 0, err
	}
	after, err := d.memory()
	return max(after-before, 0) / float64(n), err
}

func containerMemory(d daemon) (float64, error) {
	// The first makes the network's gateway.
	if _, err := d.do("footbridge run -d sleep infinity"); err != nil {
		return 0, err
	}
	const n = 20
	bytes, err := d.grown(n, func() error {
		_, err := d.do("for i in $(seq %d); do footbridge run -d sleep infinity || exit 1; done", n)
		return err
	})
	return bytes / 1e6, err
}

func flowMemory(d daemon) (float64, error) {
	pid, err := d.do("footbridge inspect -f '{{.State.Pid}}' $(footbridge run -d sleep infinity)")
	if err != nil {
		return 0, err
	}
	const n = 2000
	flows := &box{place: world.Host, before: enter(pid)}
	bytes, err := d.grown(n, func() error {
		c, said, err := d.b.start(flows, d.b.program, "probe", "hold", "-parallel", strconv.Itoa(n), "-time", "10m",
			"-to", net.JoinHostPort(ip4.host(), strconv.Itoa(probePort)))
		if err != nil {
			return err
		}
		// They end with the container.
		if !world.Poll(settleLimit, func() bool { return said.String() != "" }) {
			c.Kill()
			return fmt.Errorf("waited %v for %d connections", settleLimit, n)
		}
		r, err := parseProbe(said.String())
		if err == nil && r.Ops != n {
			err = fmt.Errorf("%d of %d connections, %s", r.Ops, n, r.Problem)
		}
		return err
	})
	return bytes / 1e3, err
}

// wakeUps counts how often the daemon's threads were woken while a container is there and nothing happens: the best of some
// windows, since what a start leaves to do takes its time.
func wakeUps(d daemon) (float64, error) {
	if _, err := d.do("footbridge run -d -p 29999:%d sleep infinity", probePort); err != nil {
		return 0, err
	}
	pids, err := d.processes()
	if err != nil {
		return 0, err
	}
	count := func() (int, error) {
		text, err := d.b.do(world.Admin, "cat /proc/%d/task/*/status /proc/%d/task/*/status", pids[0], pids[1])
		if err != nil {
			return 0, err
		}
		return parseSwitches(text)
	}
	const windows, length = 4, 3 * time.Second
	least := 0.0
	for i := range windows {
		before, err := count()
		if err != nil {
			return 0, err
		}
		time.Sleep(length) // this is what is measured
		after, err := count()
		if err != nil {
			return 0, err
		}
		if rate := float64(after-before) / length.Seconds(); i == 0 || rate < least {
			least = rate
		}
		if least == 0 {
			break
		}
	}
	return least, nil
}
