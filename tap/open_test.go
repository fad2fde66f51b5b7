package tap

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/nstest"
)

func init() { nstest.Register("plain-tap", plainTAP) }

func openOptions() OpenOptions {
	return OpenOptions{Name: "tap0", Setup: &Setup{
		MAC: [6]byte{2, 0, 0, 0, 0, 9}, MTU: 9000, Address: netip.MustParsePrefix("10.0.2.100/24"), Gateway: netip.MustParseAddr("10.0.2.2"),
	}}
}

func TestOpenMakesAnInterfaceThatGoesWithItsHolder(t *testing.T) {
	w, ns := newWorld(t, 0)
	i, err := Open(testContext(t), ns, openOptions())
	if err != nil {
		t.Fatal(err)
	}
	v := viewLink(t, w, "tap0")
	if !i.Created || i.MAC != [6]byte{2, 0, 0, 0, 0, 9} || v.Address != "02:00:00:00:00:09" || v.MTU != 9000 ||
		!slices.Contains(v.addresses(), "10.0.2.100/24") || !slices.Contains(v.Flags, "LOWER_UP") {
		t.Errorf("%+v: %+v", i, v)
	}
	if routes := w.Run("ip", "route"); !strings.Contains(routes, "default via 10.0.2.2 dev tap0") {
		t.Errorf("routes: %s", routes)
	}
	if lo := viewLink(t, w, "lo"); !slices.Contains(lo.Flags, "UP") {
		t.Errorf("lo: %+v", lo)
	}
	if got := w.MustCall("sysctl", "net/ipv6/conf/tap0/accept_ra"); got == "0" {
		t.Error("router advertisements are not listened to")
	}
	if _, err := Open(testContext(t), ns, openOptions()); !errors.Is(err, ErrBusy) {
		t.Errorf("once more: %v, want ErrBusy", err)
	}
	d := use(t, i)
	if w.Run("ip", "link", "show", "tap0") == "" {
		t.Error("it is gone")
	}
	d.Close()
	if out, err := w.Call("exec", "ip", "link", "show", "tap0"); err == nil {
		t.Errorf("it is there still: %s", out)
	}
}

func TestOpenWithoutSetupTouchesNothing(t *testing.T) {
	w, ns := newWorld(t, 0)
	i, err := Open(testContext(t), ns, OpenOptions{Name: "tap0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	if v := viewLink(t, w, "tap0"); slices.Contains(v.Flags, "UP") || len(v.AddrInfo) > 0 {
		t.Errorf("%+v", v)
	}
	if lo := viewLink(t, w, "lo"); slices.Contains(lo.Flags, "UP") {
		t.Error("lo is up")
	}
}

// What others have made is attached to as it is, and stays.
func TestOpenAttachesToAPersistentTAP(t *testing.T) {
	for _, kind := range [][]string{nil, {"multi_queue"}} {
		w, ns := newWorld(t, 0)
		w.Run(append([]string{"ip", "tuntap", "add", "name", "tap0", "mode", "tap"}, kind...)...)
		w.Run("ip", "link", "set", "tap0", "up", "mtu", "1400")
		w.Run("ip", "addr", "add", "192.0.2.7/24", "dev", "tap0")
		i, err := Open(testContext(t), ns, OpenOptions{Name: "tap0"})
		if err != nil {
			t.Fatal(kind, err)
		}
		v := viewLink(t, w, "tap0")
		if i.Created || v.MTU != 1400 || !slices.Contains(v.addresses(), "192.0.2.7/24") || fmt.Sprintf("%x", i.MAC) != strings.ReplaceAll(v.Address, ":", "") {
			t.Errorf("%v: %+v: %+v", kind, i, v)
		}
		use(t, i).Close()
		w.Run("ip", "link", "show", "tap0")
	}
}

func TestOpenRefuses(t *testing.T) {
	w, ns := newWorld(t, 0)
	w.Run("ip", "link", "add", "tap0", "type", "veth", "peer", "name", "other0")
	if _, err := Open(testContext(t), ns, openOptions()); !errors.Is(err, ErrNameTaken) {
		t.Errorf("another kind of device: %v", err)
	}
	for name, change := range map[string]func(*OpenOptions){
		"name":    func(o *OpenOptions) { o.Name = "a name that is too long" },
		"MTU":     func(o *OpenOptions) { o.Setup.MTU = 60 },
		"address": func(o *OpenOptions) { o.Setup.Address = netip.MustParsePrefix("fd00::1/64") },
		"gateway": func(o *OpenOptions) { o.Setup.Gateway = netip.MustParseAddr("10.9.9.9") },
		"MAC":     func(o *OpenOptions) { o.Setup.MAC[0] = 1 },
	} {
		o := openOptions()
		change(&o)
		if _, err := Open(testContext(t), ns, o); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v, want ErrOptions", name, err)
		}
	}
	// A default route that is there already stays the only one.
	w.Run("ip", "link", "set", "tap0", "up")
	w.Run("ip", "route", "add", "default", "dev", "tap0")
	o := openOptions()
	o.Name = "tap1"
	if _, err := Open(testContext(t), ns, o); !errors.Is(err, unix.EEXIST) {
		t.Errorf("a second default route: %v", err)
	}
	if out, err := w.Call("exec", "ip", "link", "show", "tap1"); err == nil {
		t.Errorf("the failure has left %s", out)
	}
}

// plainTAP opens a TAP without virtio headers in the guest, adopts it, and gives the guest's
// kernel a super-segment by it.
func plainTAP(args []string) (string, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if args[0] == "headers" {
		flags |= unix.IFF_VNET_HDR
	}
	if args[0] == "tun" {
		flags = unix.IFF_TUN
	}
	ifr, err := unix.NewIfreq("tap7")
	if err != nil {
		return "", err
	}
	ifr.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return "", err
	}
	i, err := Adopt(fdpass.NewHandle(fd))
	if err != nil {
		return "", err
	}
	open := NewDevice
	if i.Plain {
		open = NewPlainDevice
	}
	d, err := open(i.Name, i.Queues)
	if err != nil {
		return "", err
	}
	defer d.Close()
	if out, err := exec.Command("ip", "link", "set", "tap7", "up").CombinedOutput(); err != nil {
		return string(out), err
	}
	h := [HeaderSize]byte{1, 1, 54, 0, 100, 0, 34, 0, 16, 0} // TCP over IPv4, in segments of 100 bytes
	frame := make([]byte, 54+250)
	frame[12], frame[14], frame[16], frame[17], frame[23] = 8, 0x45, 1, 0x22, 6
	frame[46] = 0x50
	if err := d.Queues()[0].WriteFrame([][]byte{h[:], frame[:20], frame[20:]}); err != nil {
		return "", err
	}
	var buf [MaxFrame + 1]byte
	n, err := d.Queues()[0].ReadFrame(&h, buf[:]) // what the kernel sends by itself: router solicitations and such
	if err != nil || n < 14 || h != [HeaderSize]byte{} && i.Plain {
		return "", fmt.Errorf("read %d bytes with header %x: %w", n, h, err)
	}
	received, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(received)) {
		if f := strings.Fields(line); f[0] == "tap7:" {
			return fmt.Sprintf("%s plain=%t packets=%s mac=%t", i.Name, i.Plain, f[2], i.MAC != [6]byte{}), nil
		}
	}
	return "", errors.New("no tap7")
}

func TestATAPOfOthersIsAdopted(t *testing.T) {
	w, _ := newWorld(t, 0)
	for kind, want := range map[string]string{
		"plain":   "tap7 plain=true packets=3 mac=true",
		"headers": "tap7 plain=false packets=1 mac=true",
	} {
		if got := w.MustCall("plain-tap", kind); got != want {
			t.Errorf("%s: %s, want %s", kind, got, want)
		}
	}
	if _, err := w.Call("plain-tap", "tun"); err == nil || !strings.Contains(err.Error(), ErrNotFrames.Error()) {
		t.Errorf("a TUN: %v", err)
	}
}

func TestASocketOfFramesIsAdopted(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	i, err := Adopt(fdpass.NewHandle(fds[0]))
	if err != nil {
		t.Fatal(err)
	}
	if !i.Plain || i.Check() != nil {
		t.Errorf("%+v, %v", i, i.Check())
	}
	d, err := NewPlainDevice("socket", i.Queues)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	q := d.Queues()[0]
	var h [HeaderSize]byte
	if err := q.WriteFrame([][]byte{h[:], []byte("fourteen bytes"), []byte(" and more")}); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, MaxFrame+1)
	if n, err := unix.Read(fds[1], b); string(b[:n]) != "fourteen bytes and more" || err != nil {
		t.Errorf("%q, %v", b[:n], err)
	}
	if _, err := unix.Write(fds[1], []byte("a frame")); err != nil {
		t.Fatal(err)
	}
	h[0] = 7
	if n, err := q.ReadFrame(&h, b); string(b[:n]) != "a frame" || h != [HeaderSize]byte{} || err != nil {
		t.Errorf("%q, %x, %v", b[:n], h, err)
	}
	unix.Close(fds[1])
	if _, err := q.ReadFrame(&h, b); !errors.Is(err, ErrGone) {
		t.Errorf("after the other end's end: %v", err)
	}
	if err := q.WriteFrame([][]byte{h[:], []byte("fourteen bytes")}); !errors.Is(err, ErrGone) {
		t.Errorf("written after the other end's end: %v", err)
	}
}

func TestWhatCarriesNoFramesIsNotAdopted(t *testing.T) {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	for _, fd := range []int{null, fds[0]} {
		if _, err := Adopt(fdpass.NewHandle(fd)); !errors.Is(err, ErrNotFrames) {
			t.Errorf("%v, want ErrNotFrames", err)
		}
		if unix.Close(fd) == nil {
			t.Error("it was not closed")
		}
	}
}
