package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/tests/load"
	"github.com/footbridge-net/footbridge/tests/world"
)

// sample is the daemon at one moment.
type sample struct {
	at             time.Duration // since the first one
	keeper, worker process
	processes      int // on the host, of the user
	files          int // in the runtime folder
	flows          int // that the networks count
	containers     int
}

// process is what one of the daemon's processes uses.
type process struct {
	load.Sample
	goroutines int
}

// columns names what a sample consists of, in the order of values.
var columns = []string{
	"seconds", "keeper_rss", "keeper_fds", "keeper_goroutines", "keeper_threads",
	"worker_rss", "worker_fds", "worker_goroutines", "worker_threads", "processes", "files", "flows", "containers",
}

func (s sample) values() []int {
	return []int{
		int(s.at.Seconds()), int(s.keeper.RSS), s.keeper.FDs, s.keeper.goroutines, s.keeper.Threads,
		int(s.worker.RSS), s.worker.FDs, s.worker.goroutines, s.worker.Threads, s.processes, s.files, s.flows, s.containers,
	}
}

// returning names the columns that must be back where they were when everything is removed. Threads are not: Go
// keeps those that it once needed.
var returning = []string{"keeper_fds", "keeper_goroutines", "worker_fds", "worker_goroutines", "processes", "files", "flows", "containers"}

// counts are the values that must return.
func (s sample) counts() map[string]int {
	counts := make(map[string]int)
	for i, value := range s.values() {
		if slices.Contains(returning, columns[i]) {
			counts[columns[i]] = value
		}
	}
	return counts
}

// kept says what there is more of than before.
func kept(before, now sample) []string {
	var list []string
	earlier, later := before.counts(), now.counts()
	for _, name := range returning {
		if later[name] > earlier[name] {
			list = append(list, fmt.Sprintf("%s: %d before, %d at the end", name, earlier[name], later[name]))
		}
	}
	return list
}

// look takes a sample.
func (s *soak) look() (sample, error) {
	status, err := s.stage.Status()
	if err != nil {
		return sample{}, err
	}
	if n := status.Worker.Restarts; n > s.workerEnds {
		s.workerEnds = n
		s.fail("the worker ended, though nobody killed it: %s", status.Worker.LastExit)
	}
	now := sample{containers: status.Containers, flows: flows(status)}
	if now.keeper, err = s.process(status.PID, status.Keeper); err != nil {
		return sample{}, err
	}
	if status.Worker.PID != 0 {
		if now.worker, err = s.process(status.Worker.PID, status.Worker.ProcessStatus); err != nil {
			return sample{}, err
		}
	}
	r := s.stage.World.Run(world.Host, "sh", "-c", "find $XDG_RUNTIME_DIR/footbridge | wc -l; ps -eo pid= --no-headers | wc -l")
	if _, err := fmt.Sscan(r.Stdout, &now.files, &now.processes); err != nil {
		return sample{}, fmt.Errorf("counting files and processes: %w: %s", err, r.Stderr)
	}
	return now, nil
}

// process takes the kernel's word where it gives it, and the process's own for what only it knows.
func (s *soak) process(pid int, told api.ProcessStatus) (process, error) {
	seen, err := s.stage.Admin.Process(pid)
	if seen.FDs < 0 {
		seen.FDs = told.Descriptors
	}
	return process{Sample: seen, goroutines: told.Goroutines}, err
}

// flows adds up the flows of all networks.
func flows(status api.Status) int {
	sum := 0
	for _, n := range status.Networks {
		for _, name := range []string{"tcp_flows", "udp_flows", "echo_flows", "tcp_half_open", "published_tcp_flows", "published_udp_flows"} {
			sum += int(n.Counters[name])
		}
	}
	return sum
}

// watch takes samples until the context ends, and writes them to the file.
func (s *soak) watch(ctx context.Context) (err error) {
	write := func(...string) error { return nil }
	if *csvFile != "" {
		f, err := os.OpenFile(*csvFile, os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			return err
		}
		w := csv.NewWriter(f)
		write = func(fields ...string) error { return w.Write(fields) }
		defer func() {
			w.Flush()
			err = errors.Join(err, w.Error(), f.Close())
		}()
	}
	if err := write(columns...); err != nil {
		return err
	}
	tick := time.NewTicker(*interval)
	defer tick.Stop()
	begin := load.Now()
	for {
		now, err := s.look()
		if err != nil {
			return err
		}
		now.at = load.Now() - begin
		s.samples = append(s.samples, now)
		var fields []string
		for _, value := range now.values() {
			fields = append(fields, strconv.Itoa(value))
		}
		if err := write(fields...); err != nil {
			return fmt.Errorf("writing %s: %w", strings.Join(fields, ","), err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
