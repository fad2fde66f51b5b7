package platform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/songgao/water"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/tests/world"
)

// insideVariable marks the process that is in namespaces of its own.
const insideVariable = "FOOTBRIDGE_PLATFORM_INSIDE"

func TestMain(m *testing.M) {
	world.Dispatch()
	if os.Getenv(insideVariable) != "" {
		os.Exit(m.Run())
	}
	os.Setenv(world.BinaryVariable, "/bin/true")
	os.Exit(world.Main(nil, runInside))
}

// runInside starts this test again as root of a new user and network namespace.
func runInside() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode()
		}
		fmt.Fprintln(os.Stderr, "making a user and network namespace:", err)
		return 1
	}
	return 0
}

// require judges a probe: missing is an error where the kernel is new enough, and present is one where it is too old
// (then the version in the table is wrong).
func require(t *testing.T, f Feature, missing error) {
	t.Helper()
	kernel, err := Running()
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case missing != nil && kernel.AtLeast(f.Since):
		t.Fatalf("Linux %v should have %s, which came with %v: %v", kernel, f.Name, f.Since, missing)
	case missing != nil:
		t.Logf("Linux %v has no %s, which came with %v: %v", kernel, f.Name, f.Since, missing)
	}
}

func TestKernelReleasesAreRead(t *testing.T) {
	for release, want := range map[string]Kernel{"6.1.0-18-amd64": {6, 1}, "5.15.0": {5, 15}, "6.18.44-fc\n": {6, 18}, "4.4": {4, 4}} {
		if got, err := ParseKernel(release); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", release, got, err, want)
		}
	}
	if _, err := ParseKernel("unknown"); err == nil {
		t.Error("nonsense was read as a kernel release")
	}
	if !(Kernel{6, 2}).AtLeast(Kernel{5, 15}) || (Kernel{5, 4}).AtLeast(Kernel{5, 15}) || !(Kernel{6, 2}).AtLeast(Kernel{6, 2}) {
		t.Error("versions are compared wrongly")
	}
}

const queueFlags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE

// attach opens one more queue of a TAP device.
func attach(t *testing.T, name string) int {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatalf("opening /dev/net/tun: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	ifr.SetUint16(queueFlags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		t.Fatalf("attaching a queue to %s: %v", name, err)
	}
	return fd
}

// makeTAP makes a persistent device and leaves it without a queue.
func makeTAP(t *testing.T, name string) {
	t.Helper()
	device, err := water.New(water.Config{DeviceType: water.TAP, PlatformSpecificParams: water.PlatformSpecificParams{
		Name: name, Persist: true, MultiQueue: true,
	}})
	if err != nil {
		t.Fatalf("making the device: %v", err)
	}
	if err := device.Close(); err != nil {
		t.Fatal(err)
	}
}

func hasVnetHeader(fd int) (bool, error) {
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return false, err
	}
	if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr); err != nil {
		return false, err
	}
	return ifr.Uint16()&unix.IFF_VNET_HDR != 0, nil
}

func TestQueuesOfAPersistentTAPHaveTheVirtioHeader(t *testing.T) {
	makeTAP(t, "tap0")
	for i := range 2 {
		ok, err := hasVnetHeader(attach(t, "tap0"))
		if err == nil && !ok {
			err = fmt.Errorf("queue %d was attached without it", i)
		}
		require(t, VnetHeader, err)
	}
}

func TestATAPEndsWithItsLastQueue(t *testing.T) {
	makeTAP(t, "tap1")
	a, b := attach(t, "tap1"), attach(t, "tap1")
	if err := unix.IoctlSetInt(a, unix.TUNSETPERSIST, 0); err != nil {
		t.Fatalf("ending the persistence: %v", err)
	}
	unix.Close(a)
	if _, err := net.InterfaceByName("tap1"); err != nil {
		t.Errorf("the device is gone although it has a queue: %v", err)
	}
	unix.Close(b)
	if !world.Poll(5*time.Second, func() bool {
		_, err := net.InterfaceByName("tap1")
		return err != nil
	}) {
		t.Error("the device is there without a queue, 5 s later")
	}
}

func TestTCPSegmentsAreLeftToTheReader(t *testing.T) {
	makeTAP(t, "tap2")
	fd := attach(t, "tap2")
	require(t, TCPOffload, unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6))
}

func TestUDPSegmentsAreLeftToTheReader(t *testing.T) {
	makeTAP(t, "tap3")
	fd := attach(t, "tap3")
	offloads := unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_USO4 | unix.TUN_F_USO6
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloads); err != nil {
		require(t, UDPOffload, err)
		return
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_USO4); !errors.Is(err, unix.EINVAL) {
		t.Errorf("one family's USO alone: %v, expected %v", err, unix.EINVAL)
	}
	ip(t, "addr add 10.9.0.2/24 dev tap3", "link set tap3 up", "neigh add 10.9.0.1 lladdr 02:00:00:00:00:01 dev tap3")
	c, err := net.Dial("udp4", "10.9.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const segment, total = 1400, 14000
	raw.Control(func(s uintptr) { err = unix.SetsockoptInt(int(s), unix.IPPROTO_UDP, unix.UDP_SEGMENT, segment) })
	require(t, UDPSegment, err)
	if _, err := c.Write(make([]byte, total)); err != nil {
		t.Fatalf("sending %d bytes in segments of %d: %v", total, segment, err)
	}
	const header, ethernet, ipUDP = 10, 14, 28
	b := make([]byte, 1<<16)
	var gsoType byte
	var gsoSize uint16
	if !world.Poll(5*time.Second, func() bool {
		n, err := unix.Read(fd, b)
		gsoType, gsoSize = b[1], binary.LittleEndian.Uint16(b[4:])
		return err == nil && n == header+ethernet+ipUDP+total
	}) {
		t.Fatalf("waited 5 s for one frame with %d bytes of UDP", total)
	}
	if udp := byte(unix.VIRTIO_NET_HDR_GSO_UDP_L4); gsoType != udp || gsoSize != segment {
		t.Errorf("the frame has GSO type %d and size %d, expected %d and %d", gsoType, gsoSize, udp, segment)
	}
}

func TestPingSocketsAreForWhomTheNamespaceAllows(t *testing.T) {
	const sysctl = "/proc/sys/net/ipv4/ping_group_range"
	// A new network namespace allows nobody.
	if fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP); err == nil {
		unix.Close(fd)
		t.Error("a ping socket was made although no group is allowed to")
	}
	if err := os.WriteFile(sysctl, []byte("0 0"), 0); err != nil {
		require(t, PingGroups, err)
		return
	}
	ip(t, "link set lo up")
	for _, c := range []struct {
		family, protocol int
		to               unix.Sockaddr
		request, reply   byte
	}{
		{unix.AF_INET, unix.IPPROTO_ICMP, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, 8, 0},
		{unix.AF_INET6, unix.IPPROTO_ICMPV6, &unix.SockaddrInet6{Addr: [16]byte{15: 1}}, 128, 129},
	} {
		require(t, PingSockets, func() error {
			fd, err := unix.Socket(c.family, unix.SOCK_DGRAM, c.protocol)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			// The kernel writes its own id into the request and checks it in the answer.
			if err := unix.Sendto(fd, []byte{c.request, 0, 0, 0, 0x77, 0x77, 0, 1, 'p'}, 0, c.to); err != nil {
				return err
			}
			if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
				return err
			}
			b := make([]byte, 100)
			n, _, err := unix.Recvfrom(fd, b, 0)
			for err == unix.EINTR { // the Go runtime's signals; a bounded wait is not begun again
				n, _, err = unix.Recvfrom(fd, b, 0)
			}
			if err != nil {
				return err
			}
			if n != 9 || b[0] != c.reply || b[8] != 'p' {
				return fmt.Errorf("the answer is % x", b[:n])
			}
			if id := binary.BigEndian.Uint16(b[4:]); id == 0x7777 {
				return errors.New("the request went out with the sender's own id")
			}
			return nil
		}())
	}
}

func TestANamespaceLeadsToItsOwner(t *testing.T) {
	cmd := exec.Command("sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("making a namespace in a namespace: %v", err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	require(t, NamespaceInfo, func() error {
		network, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
		if err != nil {
			return err
		}
		defer network.Close()
		user, err := unix.IoctlRetInt(int(network.Fd()), unix.NS_GET_USERNS)
		if err != nil {
			return fmt.Errorf("NS_GET_USERNS: %w", err)
		}
		defer unix.Close(user)
		var got, want unix.Stat_t
		if err := unix.Fstat(user, &got); err != nil {
			return err
		}
		if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid), &want); err != nil {
			return err
		}
		if got.Ino != want.Ino {
			return errors.New("NS_GET_USERNS led to another namespace")
		}
		owner, err := unix.IoctlGetUint32(user, unix.NS_GET_OWNER_UID)
		if err != nil {
			return fmt.Errorf("NS_GET_OWNER_UID: %w", err)
		}
		if int(owner) != os.Getuid() {
			return fmt.Errorf("the owner is %d and not %d", owner, os.Getuid())
		}
		return nil
	}())
}

func TestARouteChoosesItsCongestionControl(t *testing.T) {
	ip(t, "link set lo up")
	require(t, RouteCC, func() error {
		out, err := exec.Command("ip", "route", "add", "local", "127.9.0.0/16", "dev", "lo", "table", "local", "congctl", "reno").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}())
	l, err := net.Listen("tcp4", "127.9.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var name string
	raw.Control(func(fd uintptr) { name, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION) })
	if got := strings.TrimRight(name, "\x00"); err != nil || got != "reno" {
		t.Errorf("the connection uses %q, %v, expected the route's reno", got, err)
	}
}

// ip gives commands to iproute2 in the test's namespace.
func ip(t *testing.T, commands ...string) {
	t.Helper()
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v: %s", commands, err, out)
	}
}
