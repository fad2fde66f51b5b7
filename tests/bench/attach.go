package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Roles of this program in the world, besides the probe.
const (
	roleAttach = "attach" // times attachments: prints milliseconds, one a line
	roleDial   = "dial"   // in a namespace without network: connects as soon as that is possible, prints when it was
)

// timeAttachments attaches namespaces to a network, one after the other, and prints how many milliseconds passed each time
// between the start of the command and the moment at which a program inside had a connection.
func timeAttachments(args []string) error {
	f := flag.NewFlagSet(roleAttach, flag.ContinueOnError)
	binary := f.String("footbridge", "footbridge", "the program")
	network := f.String("network", "", "the network")
	to := f.String("to", "", "address and port of a TCP server outside")
	count := f.Int("count", 20, "how often")
	if err := f.Parse(args); err != nil {
		return err
	}
	for i := range *count + 1 {
		took, err := timeAttachment(*binary, *network, *to, fmt.Sprintf("attached-%d", i))
		if err != nil {
			return err
		}
		if i > 0 { // the first finds a daemon that has to be started, or caches that are cold
			fmt.Printf("%.3f\n", float64(took.Microseconds())/1000)
		}
	}
	return nil
}

func timeAttachment(binary, network, to, name string) (time.Duration, error) {
	inside := exec.Command("/proc/self/exe", roleDial, to)
	inside.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	inside.Stderr = os.Stderr
	if _, err := inside.StdinPipe(); err != nil { // open until Wait
		return 0, err
	}
	stdout, err := inside.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := inside.Start(); err != nil {
		return 0, err
	}
	defer inside.Wait()
	defer inside.Process.Kill()
	said := bufio.NewReader(stdout)
	if line, err := said.ReadString('\n'); err != nil || line != "trying\n" {
		return 0, fmt.Errorf("the program in the namespace said %q: %w", line, err)
	}
	begin := monotonic()
	attach := exec.Command(binary, "attach", "--pid", strconv.Itoa(inside.Process.Pid), "--name", name, "--network", network)
	if out, err := attach.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", strings.Join(attach.Args, " "), err, out)
	}
	line, err := said.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("the program in the namespace found no way: %w", err)
	}
	end, err := parseMonotonic(line)
	if err != nil {
		return 0, err
	}
	if out, err := exec.Command(binary, "detach", name).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("detaching %s: %w: %s", name, err, out)
	}
	return end - begin, nil
}

// dialLimit is how long there may be no way.
const dialLimit = 20 * time.Second

// dialSoon tries to connect all the time and prints the moment at which that worked. A connection that is not there after
// some milliseconds is tried again: its SYN may have gone before anybody was there to carry it, and would be sent again
// after a second only.
func dialSoon(to string) error {
	fmt.Println("trying")
	deadline := time.Now().Add(dialLimit)
	var err error
	for time.Now().Before(deadline) {
		var c net.Conn
		if c, err = net.DialTimeout("tcp", to, 5*time.Millisecond); err == nil {
			fmt.Println(int64(monotonic()))
			c.Close()
			_, err := io.Copy(io.Discard, os.Stdin) // a namespace whose process has ended is detached already
			return err
		}
		time.Sleep(100 * time.Microsecond) // it must leave the processors to those who make the network
	}
	return err
}

// monotonic is a clock that all processes share.
func monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(fmt.Sprintf("bench: the kernel has no monotonic clock: %v", err))
	}
	return time.Duration(ts.Nano())
}

func parseMonotonic(line string) (time.Duration, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return time.Duration(n), err
}

// parseTimes reads one figure a line.
func parseTimes(text string) ([]float64, error) {
	var times []float64
	for _, field := range strings.Fields(text) {
		t, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return nil, err
		}
		times = append(times, t)
	}
	if len(times) == 0 {
		return nil, errors.New("no times were printed")
	}
	return times, nil
}

// percentile of some values, the smallest that at least this part of them does not exceed.
func percentile(sorted []float64, part float64) float64 {
	return sorted[min(int(part*float64(len(sorted))), len(sorted)-1)]
}
