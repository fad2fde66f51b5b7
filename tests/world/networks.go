package world

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// sysctls of every machine: no waiting for duplicate address detection, no addresses that nobody gave, no limits
// on ICMP errors that a test waits for.
var sysctls = [][2]string{
	{"net.ipv6.conf.all.disable_ipv6", "0"},
	{"net.ipv6.conf.default.disable_ipv6", "0"},
	{"net.ipv6.conf.default.accept_dad", "0"},
	{"net.ipv6.conf.default.accept_ra", "0"},
	{"net.ipv4.ip_default_ttl", "64"},
	{"net.ipv4.icmp_ratelimit", "0"},
	{"net.ipv4.icmp_ratemask", "0"}, // nor the limit that all machines of the kernel share
	{"net.ipv6.icmp.ratelimit", "0"},
	{pingGroups, "1000 1000"},
}

// forwarding is what makes a machine a router: that is who sends "host unreachable".
var forwarding = [][2]string{{"net.ipv4.ip_forward", "1"}, {"net.ipv6.conf.all.forwarding", "1"}}

func writeSysctls(list [][2]string) error {
	for _, s := range list {
		if err := writeSysctl(s[0], s[1]); err != nil {
			return err
		}
	}
	return nil
}

// pingGroups is the sysctl that says whose ping sockets are allowed. What the kernel gives a new namespace, nobody,
// cannot be written back where only one group exists.
const pingGroups = "net.ipv4.ping_group_range"

// makeNetworks makes the machines behind the host and the links between them.
func makeNetworks(options setup) error {
	for _, place := range []Place{Client, Internet} {
		if err := makeNetns(place); err != nil {
			return err
		}
	}
	steps := []struct {
		place Place
		links string
	}{{Host, hostLinks}, {Client, clientLinks}, {Internet, internetLinks}, {Host, hostRoutes}}
	for i, step := range steps {
		err := inPlace(step.place, func() error {
			if i < 3 {
				for _, s := range sysctls {
					if options.NoPing && step.place == Host && s[0] == pingGroups {
						continue
					}
					if err := writeSysctl(s[0], s[1]); err != nil {
						return err
					}
				}
			}
			if step.place == Internet {
				if err := writeSysctls(forwarding); err != nil {
					return err
				}
			}
			return ipBatch(step.links)
		})
		if err != nil {
			return fmt.Errorf("setting up the network of %s: %w", step.place, err)
		}
	}
	if options.Routers {
		if err := makeRouters(); err != nil {
			return err
		}
	}
	// Refused where the machine's administrator has not allowed cubic to all; CongestionControl then says what runs.
	_ = writeSysctl("net.ipv4.tcp_congestion_control", "cubic")
	return nil
}

// makeNetns makes a named network namespace, in the folder where iproute2 looks for them.
func makeNetns(place Place) error {
	const dir = "/run/netns"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends in its new namespace
		result <- func() error {
			handle, err := netns.New()
			if err != nil {
				return fmt.Errorf("making a network namespace: %w", err)
			}
			defer handle.Close()
			path := dir + "/" + string(place)
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				return fmt.Errorf("naming the namespace %s: %w", place, err)
			}
			if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
				return fmt.Errorf("naming the namespace %s: %w", place, err)
			}
			return nil
		}()
	}()
	return <-result
}

// inPlace runs a function on a thread that is in a place's network namespace.
func inPlace(place Place, f func() error) error {
	if place == Host || place == Admin {
		return f()
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		handle, err := netns.GetFromName(string(place))
		if err != nil {
			result <- fmt.Errorf("there is no machine named %q: %w", place, err)
			return
		}
		defer handle.Close()
		if err := netns.Set(handle); err != nil {
			result <- fmt.Errorf("entering %s: %w", place, err)
			return
		}
		result <- f()
	}()
	return <-result
}

// ipBatch gives commands to iproute2, on this thread's network namespace.
func ipBatch(commands string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(commands)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ip -batch: %w: %s", err, strings.TrimSpace(out.String()))
	}
	return nil
}
