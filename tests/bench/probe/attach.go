package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
)

// Attaching is measured as whoever starts a container feels it: what passes from the request to the moment in which a
// process in there, told that it is attached, has made its first connection.
//
//	attach ----- POST .../attach ------> daemon
//	   |    <-- attached                   |  interface, addresses, routes
//	   '-----> reach, in new namespaces <--'
//	            connect: tells the time when it is done

// reachLimit ends what will never be connected.
const reachLimit = 20 * time.Second

// now is CLOCK_MONOTONIC, which is the same one for all processes.
func now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(fmt.Sprintf("probe: the clock: %v", err)) // it has been there since Linux 2.6
	}
	return time.Duration(ts.Nano())
}

// reach says that it is there, waits for a byte, connects, and says when that was done. It ends with its input.
func reach(to *address) error {
	fmt.Println("here")
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("waiting to be told: %w", err)
	}
	if err := settle(); err != nil {
		return err
	}
	fd, err := to.dial(unix.SOCK_STREAM, reachLimit)
	if err != nil {
		return err
	}
	at := now()
	closeFD(fd)
	fmt.Println(at.Nanoseconds())
	_, _ = os.Stdin.Read(make([]byte, 1))
	return nil
}

// attachOptions are those of attach.
type attachOptions struct {
	socket, network, to string
	duration            time.Duration
	rounds              int
}

// attach measures one attachment after the other.
func attach(o attachOptions) (result Result, err error) {
	var t tally
	client := api.New(o.socket)
	defer client.Close()
	start := time.Now()
	var busy time.Duration
	// All stay until the end: the kernel takes tens of milliseconds to end namespaces, with a lock that every change of
	// a network waits for.
	var ends []func() error
	defer func() {
		for _, end := range ends {
			err = errors.Join(err, end())
		}
	}()
	for i := 0; i < o.rounds && time.Since(start) < o.duration; i++ {
		took, end, err := attachOnce(client, o, fmt.Sprintf("probe-%d-%d", os.Getpid(), i))
		if end != nil {
			ends = append(ends, end)
		}
		if err != nil {
			t.failed(err)
			if t.ops == 0 {
				break // it will not get better
			}
			continue
		}
		t.done(took)
		busy += took
	}
	return t.result("attach", busy), nil
}

// attachOnce attaches one new namespace. end, if it is not nil, ends what there is of it.
func attachOnce(client *api.Client, o attachOptions, name string) (took time.Duration, end func() error, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), reachLimit)
	defer cancel()
	c := exec.Command("/proc/self/exe", append(selfArgs(), "reach", "-to", o.to)...)
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	stdin, err := c.StdinPipe() // its end is the process's, even if this one is killed
	if err != nil {
		return 0, nil, err
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		return 0, nil, err
	}
	if err := c.Start(); err != nil {
		return 0, nil, fmt.Errorf("start a process in namespaces of its own: %w", err)
	}
	end = func() error { return errors.Join(stdin.Close(), c.Wait()) }
	said := bufio.NewReader(stdout)
	if line, err := said.ReadString('\n'); err != nil {
		return 0, end, fmt.Errorf("the process in the namespaces says %q: %w", line, err)
	}
	begin := now()
	_, err = client.NamespaceAttach(ctx, api.NamespaceRequest{Name: name, PID: c.Process.Pid, CreateRequest: container.CreateRequest{
		HostConfig:       &container.HostConfig{NetworkMode: container.NetworkMode(o.network)},
		NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{o.network: {}}},
	}})
	if err != nil {
		return 0, end, err
	}
	ended := end
	end = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), reachLimit)
		defer cancel()
		err := client.NamespaceDetach(ctx, name)
		return errors.Join(err, ended())
	}
	if _, err := io.WriteString(stdin, "\n"); err != nil {
		return 0, end, err
	}
	line, err := said.ReadString('\n')
	if err != nil {
		return 0, end, fmt.Errorf("after it was attached: %w", err)
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if err != nil {
		return 0, end, fmt.Errorf("after it was attached: %w", err)
	}
	return time.Duration(ns) - begin, end, nil
}

// selfArgs are what stands between the program and Main's arguments: nothing, or the word by which a larger program
// knows that it is to be this one.
func selfArgs() []string {
	if len(os.Args) > 1 && os.Args[1] == "probe" {
		return os.Args[1:2]
	}
	return nil
}

func parseTo(to string) (*address, error) {
	at, err := netip.ParseAddrPort(to)
	if err != nil {
		return nil, fmt.Errorf("-to: %w", err)
	}
	return kernelAddress(at), nil
}
