package portfwd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// The tests' world: the test binary runs itself once more in a user and network
// namespace of its own, where "the host" has the addresses below on loopback.
// Clients are sockets bound to one of them, so that there are real clients with
// addresses of their own, and nothing leaves the namespace.
const (
	host4   = "192.0.2.2"
	host6   = "2001:db8:1::2"
	client4 = "198.51.100.7"
	other4  = "198.51.100.8"
	client6 = "2001:db8:9::7"
	inside4 = "10.0.0.99" // a client with an address of the network's own subnet
	inside6 = "fd00:10::99"
)

const worldEnv = "FOOTBRIDGE_PORTFWD_WORLD"

func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-test.fuzzworker") {
		os.Exit(m.Run()) // it parses bytes in the world of its coordinator
	}
	if os.Getenv(worldEnv) == "" {
		os.Exit(enterWorld())
	}
	if err := makeWorld(); err != nil {
		fmt.Fprintln(os.Stderr, "making the tests' network namespace:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func enterWorld() int {
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), worldEnv+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	err := c.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "these tests need user namespaces (`footbridge doctor` says what forbids them):", err)
	return 1
}

func makeWorld() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	for _, a := range []string{
		host4 + "/32", client4 + "/32", other4 + "/32", inside4 + "/32",
		host6 + "/128", client6 + "/128", inside6 + "/128", "fe80::7/64",
	} {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			return err
		}
		addr.Flags = syscall.IFA_F_NODAD
		if err := netlink.AddrAdd(lo, addr); err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
	}
	// Loopback does no multicast: that needs an Ethernet device.
	host0 = &netlink.Tuntap{
		LinkAttrs:  netlink.LinkAttrs{Name: "host0"},
		Mode:       netlink.TUNTAP_MODE_TAP,
		Flags:      netlink.TUNTAP_DEFAULTS,
		NonPersist: true,
		Queues:     1,
	}
	if err := netlink.LinkAdd(host0); err != nil {
		return fmt.Errorf("host0: %w", err)
	}
	if err := netlink.LinkSetUp(host0); err != nil {
		return err
	}
	addr, _ := netlink.ParseAddr("fe80::8/64")
	addr.Flags = syscall.IFA_F_NODAD
	return netlink.AddrAdd(host0, addr)
}

// host0 is kept: the device lives as long as its file.
var host0 *netlink.Tuntap
