package stack

import (
	"bytes"
	"fmt"
	"net/netip"
	"syscall"
	"testing"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// before62 is a device of a kernel that takes no frames of several datagrams.
type before62 struct {
	*memory
	asked *int
}

func (d before62) Queues() []Queue { return []Queue{d} }

func (d before62) WriteFrame(parts [][]byte) error {
	if parts[0][1] != vnet.GSONone {
		*d.asked++
		return syscall.EINVAL
	}
	return d.memory.WriteFrame(parts)
}

// datagramsOf gives what the next frame carries, cut apart as a container's kernel does.
func datagramsOf(t *testing.T, m *memory) (src, dst netip.AddrPort, payloads []string) {
	t.Helper()
	got := m.receive()
	if err := vnet.Decode(&got.hdr).Cut(got.frame, func(b []byte) error {
		body := b[packet.EthernetLen:]
		ip, err := packet.ParseIP(body)
		if err != nil || !packet.HeaderValid(body, &ip) || !packet.TransportValid(body, &ip) {
			return fmt.Errorf("%+v, %w", ip, err)
		}
		var p []byte
		src, dst, p, err = packet.ParseUDP(body[ip.HeaderLen:ip.Len], &ip)
		payloads = append(payloads, string(p))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return src, dst, payloads
}

func TestSeveralDatagramsReachAContainerInOneFrame(t *testing.T) {
	w := newWorld(t, true)
	g := w.net.Gateway()
	for _, c := range []struct{ src, dst netip.Addr }{{out4, a4}, {out6, a6}} {
		from, to := ap(c.src, 53), ap(c.dst, 1000)
		if err := g.SendDatagrams(from, to, []byte("aaabbbccc."), 3); err != nil {
			t.Fatal(err)
		}
		if src, dst, got := datagramsOf(t, w.a); src != from || dst != to || fmt.Sprint(got) != "[aaa bbb ccc .]" {
			t.Errorf("%v -> %v: %q", src, dst, got)
		}
		for _, size := range []int{0, 3} {
			if err := g.SendDatagrams(from, to, []byte("one"), size); err != nil {
				t.Fatal(err)
			}
			if got := w.a.receive(); vnet.Decode(&got.hdr).GSOType != vnet.GSONone || !bytes.HasSuffix(got.frame, []byte("one")) {
				t.Errorf("one datagram came as %x %q", got.hdr, got.frame)
			}
		}
		// More than every kernel takes in one frame, and more than an IP packet holds.
		for _, few := range []struct{ n, size, frames int }{{100, 10, 2}, {33, 2000, 2}} {
			if err := g.SendDatagrams(from, to, make([]byte, few.n*few.size), few.size); err != nil {
				t.Fatal(err)
			}
			n := 0
			for range few.frames {
				_, _, got := datagramsOf(t, w.a)
				n += len(got)
			}
			if w.a.silent(); n != few.n {
				t.Errorf("%d datagrams of %d bytes in %d frames, want %d", n, few.size, few.frames, few.n)
			}
		}
		if err := g.SendDatagrams(from, to, make([]byte, 70001), 70000); err != syscall.EMSGSIZE {
			t.Errorf("datagrams of 70,000 bytes: %v", err)
		}
	}
	if err := g.SendDatagrams(ap(out4, 53), ap(here4, 1), []byte("aab"), 2); err != syscall.EHOSTUNREACH {
		t.Errorf("to nobody: %v", err)
	}
}

func TestSeveralDatagramsReachAContainerApartWhereItsKernelIsOld(t *testing.T) {
	w := newWorld(t, false)
	asked := 0
	m := newMemory(t)
	if _, err := w.net.AddPort(PortOptions{MAC: cMAC, Addresses: c(), Device: before62{m, &asked}}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := w.net.Gateway().SendDatagrams(ap(out4, 53), ap(c4, 1000), []byte("aabbc"), 2); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"aa", "bb", "c"} {
			if _, _, got := datagramsOf(t, m); fmt.Sprint(got) != "["+want+"]" {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
	if asked != 1 {
		t.Errorf("the device was asked %d times, want once", asked)
	}
}

func TestSeveralDatagramsAllocateNothing(t *testing.T) {
	w := newWorld(t, false)
	if _, err := w.net.AddPort(PortOptions{MAC: cMAC, Addresses: c(), Device: discarding{newMemory(t)}}); err != nil {
		t.Fatal(err)
	}
	g, payload := w.net.Gateway(), make([]byte, 44*1448)
	if n := testing.AllocsPerRun(100, func() { g.SendDatagrams(ap(out4, 53), ap(c4, 1000), payload, 1448) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
