package vnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// One test asks the kernel itself, in a user and network namespace of its own
// in which it may make a TAP device.
const inside = "FOOTBRIDGE_TEST_INSIDE"

// TestTheKernelTakesWhatCheckAccepts writes frames with all combinations of
// telling values to a TAP device. None that passes may be refused there.
func TestTheKernelTakesWhatCheckAccepts(t *testing.T) {
	if os.Getenv(inside) == "" {
		again(t)
		return
	}
	tap := openTAP(t)
	taken, refused := 0, 0
	kernelHasUSO := write(t, tap, Header{Flags: NeedsCsum, GSOType: GSOUDPL4, HdrLen: 42, GSOSize: 100, CsumStart: 34, CsumOffset: 6}, 342, etherIPv4)
	for _, etherType := range []uint16{etherIPv4, etherIPv6, etherARP} {
		for _, flags := range []uint8{0, NeedsCsum, DataValid, NeedsCsum | DataValid} {
			for _, gso := range []uint8{GSONone, GSOTCPv4, GSOTCPv6, GSOUDPL4, GSOTCPv4 | GSOECN, GSOTCPv6 | GSOECN, GSOUDPL4 | GSOECN, GSOUDP, GSOECN, 2, 0x21} {
				for _, size := range []uint16{0, 1, 100, 1448, 0xfffe, 0xffff} {
					for _, start := range []uint16{0, 14, 19, 20, 34, 39, 40, 54, 74, 100, 2980, 3000, 61440, 0xffff} {
						for _, offset := range []uint16{0, 6, 16, 100, 0xffff} {
							for _, n := range []int{14, 42, 54, 62, 74, 342, 3000, 65000} {
								h := Header{Flags: flags, GSOType: gso, HdrLen: uint16(min(int(start)+20, n)),
									GSOSize: size, CsumStart: start, CsumOffset: offset}
								if h.Check(n, etherType) != nil {
									refused++
									continue
								}
								if gso == GSOUDPL4 && (!kernelHasUSO || n-int(start)-8 > 64*int(size)) {
									continue // Linux 6.2, and 6.9 for more than 64
								}
								taken++
								if !write(t, tap, h, n, etherType) {
									t.Fatalf("%+v for %d bytes of EtherType %#x: the kernel refuses it", h, n, etherType)
								}
							}
						}
					}
				}
			}
		}
	}
	if taken < 1000 || refused < 1000 {
		t.Errorf("%d taken and %d refused: the values tell nothing", taken, refused)
	}
	t.Logf("%d headers taken by both, %d refused", taken, refused)
}

// The kernel's refusals, to see that it was asked in the right way.
func TestTheKernelRefusesLies(t *testing.T) {
	if os.Getenv(inside) == "" {
		again(t)
		return
	}
	tap := openTAP(t)
	for _, h := range []Header{
		{HdrLen: 3001},
		{Flags: NeedsCsum, CsumStart: 2999},
		{Flags: NeedsCsum, CsumStart: 19},
		{Flags: NeedsCsum, GSOType: GSOTCPv4, CsumStart: 34, CsumOffset: 16},
		{Flags: NeedsCsum, GSOType: 2, GSOSize: 100, CsumStart: 34, CsumOffset: 16},
	} {
		if write(t, tap, h, 3000, etherIPv4) {
			t.Errorf("%+v: the kernel takes it", h)
		}
		if h.Check(3000, etherIPv4) == nil {
			t.Errorf("%+v is accepted", h)
		}
	}
}

// again runs the test once more in namespaces of its own.
func again(t *testing.T) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in its namespaces: %v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// openTAP makes a device that is up and has virtio headers.
func openTAP(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatalf("/dev/net/tun: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	req, err := unix.NewIfreq("vnet0")
	if err != nil {
		t.Fatal(err)
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		t.Fatalf("TUNSETIFF: %v", err)
	}
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(sock)
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(sock, unix.SIOCSIFFLAGS, req); err != nil {
		t.Fatalf("SIOCSIFFLAGS: %v", err)
	}
	return fd
}

// write says whether the kernel takes a frame of n bytes with the header h.
func write(t *testing.T, fd int, h Header, n int, etherType uint16) bool {
	t.Helper()
	var hdr [Len]byte
	h.Encode(&hdr)
	frame := make([]byte, n)
	copy(frame, []byte{2, 9, 9, 9, 9, 9, 2, 8, 8, 8, 8, 8}) // to nobody
	binary.BigEndian.PutUint16(frame[12:], etherType)
	switch _, err := unix.Writev(fd, [][]byte{hdr[:], frame}); {
	case err == nil:
		return true
	case errors.Is(err, unix.EINVAL):
		return false
	default:
		t.Fatal(fmt.Errorf("%+v for %d bytes: %w", h, n, err))
		return false
	}
}
