package probe

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// lostAfter is how long a datagram's answer is waited for: ten times what the slowest path here needs when it is
	// busy. One that comes later is of no use to who asked.
	lostAfter = 200 * time.Millisecond
	// brokenAfter is how long a TCP connection may stand still: the third SYN that is sent again has an answer by then.
	brokenAfter = 8 * time.Second
	// maxErrors one after the other, and a thread gives up: nothing is there to be measured.
	maxErrors = 1000
	// maxSize is the longest request. It fits into the smallest socket buffers on the way, so client and server may
	// write all of it before they read.
	maxSize = 32 << 10
)

// options are those of a client.
type options struct {
	to       *address
	duration time.Duration
	parallel int
	size     int
	rate     int
	sockets  int
	name     string
	close    string
}

// A job is what each thread does until stop. ready is called once when everything is set up, and waits for the others.
type job func(o options, thread int, t *tally, ready func() (stop time.Time))

var kinds = map[string]job{"rr": rr, "crr": crr, "udprr": udprr, "udpburst": udpburst, "dns": lookups, "hold": hold}

const usage = "probe serve -port P [-listen ADDR] | rr|crr|udprr|udpburst|dns|hold|attach -to ADDR:PORT [options]"

// Main is the program; args do not include its name. It returns the exit status: 0 where something was measured.
func Main(args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage:", usage)
		return 2
	}
	var err error
	switch args[0] {
	case "serve":
		err = serveMain(args[1:])
	case "attach":
		err = attachMain(args[1:])
	case "reach":
		err = reachMain(args[1:])
	default:
		err = clientMain(args[0], args[1:])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "probe %s: %v\n", args[0], err)
		return 1
	}
	return 0
}

func serveMain(args []string) error {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	port := f.Uint("port", 0, "TCP and UDP port")
	listen := f.String("listen", "::", "address; by default all, of both families")
	if err := f.Parse(args); err != nil {
		return err
	}
	at, err := netip.ParseAddr(*listen)
	if err != nil || *port > 65535 {
		return fmt.Errorf("port %d of address %q is nothing to serve on", *port, *listen)
	}
	s, err := newServer(netip.AddrPortFrom(at, uint16(*port)))
	if err != nil {
		return err
	}
	defer s.close()
	fmt.Println("serving", s.port)
	return s.run()
}

func clientMain(kind string, args []string) error {
	f := flag.NewFlagSet(kind, flag.ContinueOnError)
	to := f.String("to", "", "address and port of the server")
	o := options{}
	f.DurationVar(&o.duration, "time", 2*time.Second, "how long")
	f.IntVar(&o.parallel, "parallel", 1, "how many at the same time")
	f.IntVar(&o.size, "size", 1, "bytes of a request (udpburst: 1400 by default)")
	f.IntVar(&o.rate, "rate", 0, "udpburst: datagrams a second, of all threads together; 0: as many as go")
	f.IntVar(&o.sockets, "sockets", 1, "dns: from how many ports")
	f.StringVar(&o.name, "name", "", "dns: the name to ask for")
	f.StringVar(&o.close, "close", "server", "crr: who closes first, server or client")
	if err := f.Parse(args); err != nil {
		return err
	}
	var err error
	if o.to, err = parseTo(*to); err != nil {
		return err
	}
	sized := false
	f.Visit(func(f *flag.Flag) { sized = sized || f.Name == "size" })
	if kind == "udpburst" && !sized {
		o.size = 1400
	}
	switch {
	case kinds[kind] == nil:
		return fmt.Errorf("no such kind of measurement; %s", usage)
	case o.parallel < 1, o.sockets < 1, o.rate < 0, o.duration <= 0:
		return errors.New("-parallel, -sockets and -time are at least 1, -rate at least 0")
	case o.size < 1 || o.size > maxSize:
		return fmt.Errorf("-size is from 1 to %d", maxSize)
	case o.close != "server" && o.close != "client":
		return errors.New("-close is server or client")
	}
	if err := show(measure(kind, o)); err != nil {
		return err
	}
	if kind == "hold" {
		time.Sleep(o.duration)
	}
	return nil
}

func attachMain(args []string) error {
	f := flag.NewFlagSet("attach", flag.ContinueOnError)
	o := attachOptions{}
	f.StringVar(&o.to, "to", "", "address and port that the new container connects to")
	f.StringVar(&o.socket, "socket", filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "footbridge", "footbridge.sock"), "the daemon's")
	f.StringVar(&o.network, "network", "", "the network that is attached to")
	f.DurationVar(&o.duration, "time", 10*time.Second, "how long, at most")
	f.IntVar(&o.rounds, "rounds", 20, "how many, at most")
	if err := f.Parse(args); err != nil {
		return err
	}
	if _, err := parseTo(o.to); err != nil {
		return err
	}
	r, err := attach(o)
	if err != nil {
		return err
	}
	return show(r)
}

func reachMain(args []string) error {
	f := flag.NewFlagSet("reach", flag.ContinueOnError)
	to := f.String("to", "", "address and port")
	if err := f.Parse(args); err != nil {
		return err
	}
	address, err := parseTo(*to)
	if err != nil {
		return err
	}
	return reach(address)
}

func show(r Result) error {
	out, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", out)
	return nil
}

// measure runs the job's threads and puts together what they counted.
func measure(kind string, o options) Result {
	threads := o.parallel
	switch kind {
	case "dns":
		threads = o.sockets
	case "hold":
		threads = 1
	}
	// See raw.go: each thread keeps a P of its own while it waits, and none is asked to stop.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + threads))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))

	tallies := make([]tally, threads)
	var prepared, ended sync.WaitGroup
	prepared.Add(threads)
	begun := make(chan struct{})
	var start time.Time
	for i := range threads {
		ended.Go(func() {
			told := false
			ready := func() time.Time {
				told = true
				prepared.Done()
				<-begun
				return start.Add(o.duration)
			}
			if err := settle(); err != nil {
				tallies[i].failed(err)
			} else {
				kinds[kind](o, i, &tallies[i], ready)
			}
			if !told {
				prepared.Done() // it failed before
			}
		})
	}
	prepared.Wait()
	start = time.Now()
	close(begun)
	ended.Wait()
	elapsed := time.Since(start)
	all := &tallies[0]
	for i := range tallies[1:] {
		all.add(&tallies[i+1])
	}
	return all.result(kind, elapsed)
}
