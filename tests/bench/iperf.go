package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

// job is a client: where it runs, and where its servers are.
type job struct {
	place   world.Place
	before  []string // what enters a container, such as nsenter
	host    string
	port    int // of iperf3
	server  *server
	probe   int    // of the probe
	reverse bool   // the server sends
	streams int    // at the same time
	aside   string // see sample
}

// transfer is what one run of iperf3 says.
type transfer struct {
	gbps       float64
	bytes      float64
	congestion string // the sender's
}

// overtime is what a client may need besides the time that it measures: a path that stands still must not stop the others.
const overtime = 10 * time.Second

// iperf runs iperf3 clients at the same time and returns the sum of what they have carried.
func (b *bench) iperf(jobs ...job) (transfer, error) {
	type outcome struct {
		transfer
		err error
	}
	outcomes := make(chan outcome, len(jobs))
	for _, j := range jobs {
		go func() {
			t, err := b.iperfOne(j)
			outcomes <- outcome{t, err}
		}()
	}
	var sum transfer
	var problem error
	for range jobs {
		o := <-outcomes
		sum.gbps += o.gbps
		sum.bytes += o.bytes
		sum.congestion = o.congestion
		problem = errors.Join(problem, o.err)
	}
	if problem != nil {
		for _, j := range jobs {
			problem = errors.Join(problem, b.again(j.server))
		}
	}
	return sum, problem
}

func (b *bench) iperfOne(j job) (transfer, error) {
	seconds := max(1, int(b.seconds.Seconds()))
	args := append(slices.Clone(j.before), "timeout", strconv.Itoa(seconds+int(overtime.Seconds())),
		"iperf3", "--json", "-t", strconv.Itoa(seconds), "-c", j.host, "-p", strconv.Itoa(j.port))
	if j.reverse {
		args = append(args, "-R")
	}
	if j.place != world.Host || len(j.before) > 0 {
		// Who has the capability chooses, for both sides. RootlessKit's containers answer over routes that are made when
		// somebody connects, and so have not chosen.
		args = append(args, "-C", "cubic")
	}
	if j.streams > 1 {
		args = append(args, "-P", strconv.Itoa(j.streams))
	}
	return runIperf(b, j.place, args, parseIperf)
}

// runIperf runs one client and reads its report. A server that has just served another says "busy" for a moment.
func runIperf[T any](b *bench, place world.Place, args []string, parse func(string) (T, error)) (T, error) {
	var result T
	var err error
	world.Poll(overtime, func() bool {
		r := b.w.Run(place, args...)
		if result, err = parse(r.Stdout); err != nil {
			err = fmt.Errorf("%s: exit status %d: %w%s", strings.Join(args, " "), r.Code, err, suffix(r.Stderr))
		}
		return !errors.Is(err, errBusy)
	})
	return result, err
}

var errBusy = errors.New("the server is busy")

// parseIperf reads the report of an iperf3 client (iperf3 --json).
func parseIperf(text string) (transfer, error) {
	var out struct {
		Error string
		End   struct {
			Received struct {
				Bytes         float64
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
			Sender string `json:"sender_tcp_congestion"`
		}
	}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return transfer{}, fmt.Errorf("iperf3 said no JSON: %w: %.200s", err, text)
	}
	switch {
	case strings.Contains(out.Error, "busy"):
		return transfer{}, errBusy
	case out.Error != "":
		return transfer{}, fmt.Errorf("iperf3: %s", out.Error)
	case out.End.Received.BitsPerSecond <= 0:
		return transfer{}, errors.New("iperf3: nothing has arrived")
	}
	return transfer{gbps: out.End.Received.BitsPerSecond / 1e9, bytes: out.End.Received.Bytes, congestion: out.End.Sender}, nil
}

// datagrams is what a run of iperf3 -u says.
type datagrams struct {
	rate float64 // that arrived, in a second
	sent float64 // in a second
	lost float64 // part of all
}

// iperfUDP sends datagrams of 1400 bytes for a second, which is the shortest that iperf3 knows.
func (b *bench) iperfUDP(j job, packets float64) (datagrams, error) {
	const size = 1400
	args := append(slices.Clone(j.before), "timeout", strconv.Itoa(1+int(overtime.Seconds())), "iperf3", "--json", "-u",
		"-l", strconv.Itoa(size), "-b", strconv.FormatFloat(packets*size*8, 'f', 0, 64),
		// Twice the socket buffers that it would have, the most that an administrator's defaults allow.
		"-w", "208K",
		// Bursts of a quarter of a millisecond: those of a whole one overflow the receiver's own socket from 100,000/s on.
		"--pacing-timer", "250", "-t", "1", "-c", j.host, "-p", strconv.Itoa(j.port))
	if j.reverse {
		args = append(args, "-R")
	}
	d, err := runIperf(b, j.place, args, parseIperfUDP)
	if err != nil {
		err = errors.Join(err, b.again(j.server))
	}
	return d, err
}

// parseIperfUDP reads the report of an iperf3 -u client. What counts is the receiver's side of it.
func parseIperfUDP(text string) (datagrams, error) {
	var out struct {
		Error string
		End   struct {
			Sum struct {
				Seconds     float64
				Packets     float64
				LostPackets float64 `json:"lost_packets"`
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return datagrams{}, fmt.Errorf("iperf3 said no JSON: %w: %.200s", err, text)
	}
	s := out.End.Sum
	switch {
	case strings.Contains(out.Error, "busy"):
		return datagrams{}, errBusy
	case out.Error != "":
		return datagrams{}, fmt.Errorf("iperf3: %s", out.Error)
	case s.Packets <= 0 || s.Seconds <= 0:
		return datagrams{}, errors.New("iperf3: no datagram was sent")
	}
	return datagrams{rate: (s.Packets - s.LostPackets) / s.Seconds, sent: s.Packets / s.Seconds, lost: s.LostPackets / s.Packets}, nil
}

// suffix is what a program has complained of, to be put behind an error.
func suffix(complaint string) string {
	if complaint = strings.TrimSpace(complaint); complaint == "" {
		return ""
	}
	return ": " + complaint
}
