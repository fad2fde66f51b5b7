package worker

import (
	"io"
	"log/slog"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/engine/plane"
	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/tap"
)

// An interface that somebody else has made, without a virtio header and without a lock on
// disk: what there is outside of a namespace and a daemon.
func TestAnInterfaceOfOthersIsPlugged(t *testing.T) {
	s, err := New(Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	_ = unix.SetsockoptTimeval(fds[1], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
	i, err := tap.Adopt(fdpass.NewHandle(fds[0]))
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.NewPlane(netSpec())
	if err != nil {
		t.Fatal(err)
	}
	mac, own := packet.MAC{2, 0, 0, 0, 0, 5}, netip.MustParseAddr("10.99.0.5")
	if _, err := p.Plug(i, Link{Endpoint: "e", Link: plane.Link{Container: "c", MAC: mac, Addresses: []netip.Prefix{netip.PrefixFrom(own, 24)}}}); err != nil {
		t.Fatal(err)
	}
	gateway := netip.MustParseAddr("10.99.0.1")
	ask := func(what string) {
		t.Helper()
		frame := packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: mac, SenderIP: own, TargetIP: gateway})
		if _, err := unix.Write(fds[1], frame); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 2000)
		for {
			n, err := unix.Read(fds[1], b)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if a, err := packet.ParseARP(b[packet.EthernetLen:n]); err == nil && a.Op == packet.ARPReply && a.SenderIP == gateway {
				return
			}
		}
	}
	ask("plugged")
	// The next worker has it, too.
	before := s.Status().PID
	if err := unix.Kill(before, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ask("after the worker's death")
	if now := s.Status().PID; now == before {
		t.Errorf("worker %d is still %d", before, now)
	}
}
