package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

var (
	duration = flag.Duration("time", 5*time.Second, "length of one measurement, whole seconds")
	rounds   = flag.Int("rounds", 3, "measurements of each cell; the median counts")
	check    = flag.Bool("check", false, "exit with status 1 where a ratio is under what is expected of it")
)

func main() {
	world.Dispatch()
	flag.Parse()
	os.Exit(world.Main(nil, run))
}

// mtus are the two that are compared: Ethernet's, and the largest that IP and slirp4netns take.
var mtus = []int{1500, 65520}

// row is one way of the data and the two systems that offer it.
type row struct {
	name       string
	peer       string
	ours       func(b *bench, mtu int) (measurement, error)
	theirs     func(b *bench, mtu int) (measurement, error)
	expected   map[int]float64 // by MTU: the ratio that is expected
	results    map[int][2][]float64
	congestion map[string]bool
}

// measurement is what one run of iperf3 says.
type measurement struct {
	gbps       float64
	congestion string // sender's
}

var rows = []*row{
	{name: "container <-> container", peer: "veth+bridge", ours: (*bench).containers, theirs: (*bench).kernel, expected: map[int]float64{1500: 0.3}},
	{name: "container -> host", peer: "slirp4netns", ours: (*bench).toHost, theirs: (*bench).slirpToHost, expected: map[int]float64{1500: 5}},
	{name: "host -> container", peer: "slirp4netns", ours: (*bench).fromHost, theirs: (*bench).slirpFromHost},
	{name: "client -> container", peer: "slirp4netns", ours: (*bench).fromClient, theirs: (*bench).slirpFromClient},
}

func run() int {
	w, err := world.Start(world.Options{Footbridge: world.Binary(), Share: world.SharedFolders()})
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	defer w.Close()
	b := &bench{w: w, slirp: make(map[int]string)}
	if err := b.setUp(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: setting the stage:", err)
		return 1
	}
	kernel := strings.TrimSpace(w.Run(world.Host, "uname", "-sr").Stdout)
	version, _, _ := strings.Cut(w.Run(world.Host, "slirp4netns", "--version").Stdout, "\n")
	fmt.Printf("%s, %d CPUs, default congestion control %s, %s\n", kernel, runtime.NumCPU(), w.CongestionControl(world.Host), version)
	fmt.Printf("iperf3, one TCP stream, %v each, median of %d interleaved rounds, Gbit/s\n\n", *duration, *rounds)

	for round := range *rounds {
		for _, mtu := range mtus {
			for _, r := range rows {
				// Who goes first changes: neither always meets the warmer machine.
				for i := range 2 {
					if err := r.measure(b, mtu, (i+round)%2); err != nil {
						fmt.Fprintf(os.Stderr, "bench: %s at MTU %d: %v\n", r.name, mtu, err)
						return 1
					}
				}
			}
		}
	}
	return report()
}

// measure adds one figure: of footbridge (0) or of the peer (1).
func (r *row) measure(b *bench, mtu, which int) error {
	f := r.ours
	if which == 1 {
		f = r.theirs
	}
	m, err := f(b, mtu)
	if err != nil {
		return err
	}
	if r.results == nil {
		r.results, r.congestion = make(map[int][2][]float64), make(map[string]bool)
	}
	cell := r.results[mtu]
	cell[which] = append(cell[which], m.gbps)
	r.results[mtu] = cell
	r.congestion[m.congestion] = true
	return nil
}

// report prints the table and returns the exit status.
func report() int {
	code := 0
	fmt.Printf("%-24s %6s %11s   %-12s %8s %7s  %s\n", "", "MTU", "footbridge", "", "", "ratio", "expected")
	for _, mtu := range mtus {
		for _, r := range rows {
			ours, theirs := median(r.results[mtu][0]), median(r.results[mtu][1])
			ratio := ours / theirs
			verdict := ""
			if want := r.expected[mtu]; want > 0 {
				verdict = fmt.Sprintf(">= %.2g", want)
				if ratio < want {
					verdict += "  UNDER"
					code = 1
				}
			}
			fmt.Printf("%-24s %6d %11.2f   %-12s %8.2f %7.2f  %s\n", r.name, mtu, ours, r.peer, theirs, ratio, verdict)
		}
	}
	used := make(map[string]bool)
	for _, r := range rows {
		for name := range r.congestion {
			used[name] = true
		}
	}
	names := make([]string, 0, len(used))
	for name := range used {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Printf("\ncongestion control of the senders: %s\n", strings.Join(names, ", "))
	if !*check {
		return 0
	}
	return code
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n > 0 {
		return (sorted[(n-1)/2] + sorted[n/2]) / 2
	}
	return 0
}

// iperf runs an iperf3 client at a place, with a command before it (such as nsenter).
func (b *bench) iperf(place world.Place, before []string, host string, port int) (measurement, error) {
	args := append(slices.Clone(before), "iperf3", "--json", "-C", "cubic",
		"-t", fmt.Sprint(int(duration.Seconds())), "-c", host, "-p", fmt.Sprint(port))
	var r world.Result
	var out struct {
		Error string
		End   struct {
			Received struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
			Sender string `json:"sender_tcp_congestion"`
		}
	}
	// A server that has just served another client says "busy" for a moment.
	var problem error
	ok := world.Poll(5*time.Second, func() bool {
		r = b.w.Run(place, args...)
		out.Error = ""
		if err := json.Unmarshal([]byte(r.Stdout), &out); err != nil {
			problem = fmt.Errorf("%s: %w: %s%s", strings.Join(args, " "), err, r.Stdout, r.Stderr)
			return false
		}
		if out.Error != "" {
			problem = fmt.Errorf("%s: %w", strings.Join(args, " "), errors.New(out.Error))
			return false
		}
		return true
	})
	if !ok {
		return measurement{}, problem
	}
	return measurement{gbps: out.End.Received.BitsPerSecond / 1e9, congestion: out.End.Sender}, nil
}
