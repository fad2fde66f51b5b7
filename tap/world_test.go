package tap

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

// What processes in a world are asked to do.
func init() {
	nstest.Register("send", sendUDP)
	nstest.Register("receive", receiveUDP)
	nstest.Register("sysctl", readSysctl)
	nstest.Register("open-self", openSelf)
}

// sendUDP sends zeros: destination, length, size of a segment (0: one
// datagram), number of sockets.
func sendUDP(args []string) (string, error) {
	length, _ := strconv.Atoi(args[1])
	segment, _ := strconv.Atoi(args[2])
	sockets, _ := strconv.Atoi(args[3])
	for range sockets {
		conn, err := net.Dial("udp", args[0])
		if err != nil {
			return "", err
		}
		if segment > 0 {
			raw, err := conn.(*net.UDPConn).SyscallConn()
			if err != nil {
				return "", err
			}
			if err := raw.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, segment)
			}); err != nil {
				return "", err
			}
		}
		if _, err := conn.Write(make([]byte, length)); err != nil {
			return "", err
		}
		conn.Close()
	}
	return "", nil
}

// receiveUDP opens a socket on an address when called first, and returns what
// comes when called again.
func receiveUDP(args []string) (string, error) {
	if listener == nil {
		var err error
		listener, err = net.ListenPacket("udp", args[0])
		return "", err
	}
	if err := listener.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	b := make([]byte, 2000)
	n, from, err := listener.ReadFrom(b)
	return fmt.Sprintf("%s %s", from, b[:n]), err
}

var listener net.PacketConn

// readSysctl goes through this process's own /proc/sys/net.
func readSysctl(args []string) (string, error) {
	b, err := os.ReadFile("/proc/sys/" + args[0])
	return strings.TrimSpace(string(b)), err
}

func openSelf([]string) (string, error) {
	ns, err := OpenNamespaces(os.Getpid())
	if err == nil {
		ns.Close()
	}
	return "", err
}

// A linkView is what `ip -j addr` says about an interface.
type linkView struct {
	Ifindex  int        `json:"ifindex"`
	Ifname   string     `json:"ifname"`
	Flags    []string   `json:"flags"`
	MTU      int        `json:"mtu"`
	State    string     `json:"operstate"`
	Qlen     int        `json:"txqlen"`
	Address  string     `json:"address"`
	AddrInfo []addrView `json:"addr_info"`
}

type addrView struct {
	Local     string `json:"local"`
	Prefixlen int    `json:"prefixlen"`
}

func viewLink(t *testing.T, w *nstest.World, name string) linkView {
	t.Helper()
	var views []linkView
	if err := json.Unmarshal([]byte(w.Run("ip", "-j", "addr", "show", "dev", name)), &views); err != nil {
		t.Fatal("ip -j addr:", err)
	}
	for _, v := range views {
		if v.Ifname == name {
			return v
		}
	}
	t.Fatalf("ip shows no %s", name)
	return linkView{}
}

// addresses are those that are not automatic, sorted.
func (v linkView) addresses() []string {
	var all []string
	for _, a := range v.AddrInfo {
		if !strings.HasPrefix(a.Local, "fe80:") {
			all = append(all, fmt.Sprintf("%s/%d", a.Local, a.Prefixlen))
		}
	}
	slices.Sort(all)
	return all
}

func (v linkView) hasLinkLocal() bool {
	return slices.ContainsFunc(v.AddrInfo, func(a addrView) bool { return strings.HasPrefix(a.Local, "fe80:") })
}

// defaultRoutes are "gateway dev name", of one family ("-4" or "-6").
func defaultRoutes(t *testing.T, w *nstest.World, familyFlag string) []string {
	t.Helper()
	var routes []struct {
		Gateway string `json:"gateway"`
		Dev     string `json:"dev"`
	}
	if err := json.Unmarshal([]byte(w.Run("ip", familyFlag, "-j", "route", "show", "default")), &routes); err != nil {
		t.Fatal("ip -j route:", err)
	}
	var all []string
	for _, r := range routes {
		all = append(all, r.Gateway+" dev "+r.Dev)
	}
	return all
}

func prefixes(all ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, s := range all {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

var (
	testMAC    = [6]byte{0x02, 0x42, 0x0a, 0x09, 0x00, 0x02}
	gatewayMAC = [6]byte{0x02, 0x42, 0x0a, 0x09, 0x00, 0x01}
	gateway4   = netip.MustParseAddr("10.9.0.1")
	gateway6   = netip.MustParseAddr("fd00:9::1")
)

// testLink is a dual stack interface whose gateway's MAC is known, so that no
// frame has to wait for an answer that no switch gives.
func testLink() LinkOptions {
	return LinkOptions{
		Name: "eth0", MAC: testMAC, MTU: 1500,
		Addresses: prefixes("10.9.0.2/24", "fd00:9::2/64"),
		Gateway4:  gateway4, Gateway6: gateway6,
		Neighbors: []Neighbor{{gateway4, gatewayMAC}, {gateway6, gatewayMAC}},
	}
}

// attached is an interface and the device that its queues became.
type attached struct {
	*Interface
	*Device
}

func (a attached) Close() error { return a.Device.Close() }

func (a attached) Queues() []*Queue { return a.Device.Queues() }

func mustAttach(t testing.TB, ns Namespaces, o LinkOptions) attached {
	t.Helper()
	i, err := Attach(testContext(t), ns, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(i.Warnings) > 0 {
		t.Errorf("warnings: %q", i.Warnings)
	}
	return use(t, i)
}

func use(t testing.TB, i *Interface) attached {
	t.Helper()
	d, err := NewDevice(i.Name, i.Queues)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return attached{i, d}
}

// kernelAtLeast compares the running kernel's version.
func kernelAtLeast(t *testing.T, major, minor int) bool {
	t.Helper()
	var name syscall.Utsname
	if err := syscall.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var release []byte
	for _, c := range name.Release {
		release = append(release, byte(c))
	}
	var a, b int
	if _, err := fmt.Sscanf(string(release), "%d.%d", &a, &b); err != nil {
		t.Fatal(err)
	}
	return a > major || (a == major && b >= minor)
}

// openFDs counts this process's descriptors.
func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
