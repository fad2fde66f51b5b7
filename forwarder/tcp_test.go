package forwarder

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// listen listens on the host's address of both families and returns where.
func listen(t testing.TB, a netip.Addr) (*net.TCPListener, netip.AddrPort) {
	t.Helper()
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, l.Addr().(*net.TCPAddr).AddrPort()
}

func TestTCPPassesBytesBothWaysWithHalfClose(t *testing.T) {
	for _, a := range []netip.Addr{host4, host6} {
		t.Run(a.String(), func(t *testing.T) {
			f, g := newWorld(t, Limits{})
			l, at := listen(t, a)
			// Package splice is tested with more.
			data := make([]byte, 1<<20)
			rand.Read(data)
			go func() { // a server that answers after it has seen the end
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				got, _ := io.ReadAll(c)
				c.Write(got)
			}()
			c, err := g.dial(t, at)
			if err != nil {
				t.Fatal(err)
			}
			go func() { c.Write(data); c.CloseWrite() }()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("got %d bytes of %d back, %v", len(got), len(data), err)
			}
			eventually(t, "the flow is forgotten", func() bool { return f.Stats().TCP == 0 })
		})
	}
}

func TestARefusedConnectionIsRefused(t *testing.T) {
	_, g := newWorld(t, Limits{})
	l, at := listen(t, host4)
	l.Close()
	if _, err := g.dial(t, at); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error %v, want refused", err)
	}
}

func TestAnUnreachableDestinationIsToldByICMP(t *testing.T) {
	for _, dst := range []netip.Addr{nowhere4, nowhere6} {
		f, g := newWorld(t, Limits{})
		done := make(chan struct{})
		go func() { defer close(done); g.dial(t, netip.AddrPortFrom(dst, 80)) }()
		e := wait(t, g.icmp, "an ICMP error")
		if want := packet.HostUnreachable(dst.Is4()); e.e != want {
			t.Errorf("%s: %+v, want %+v", dst, e.e, want)
		}
		ip, err := packet.ParseIP(e.quoted)
		if err != nil || ip.Dst != dst || ip.Proto != packet.ProtoTCP || ip.Len-ip.HeaderLen < 8 {
			t.Errorf("quoted %+v, %v", ip, err)
		}
		eventually(t, "nothing is pending", func() bool { return f.Stats().HalfOpen == 0 })
		g.container.Close()
		<-done
	}
}

func TestAForbiddenDestinationGetsNoAnswer(t *testing.T) {
	f, g := newWorld(t, Limits{})
	done := make(chan struct{})
	go func() { defer close(done); g.dial(t, netip.AddrPortFrom(closed4, 80)) }()
	eventually(t, "the policy refused", func() bool { return f.Stats().Refused["policy"] > 0 })
	if s := f.Stats(); s.HalfOpen != 0 || s.TCP != 0 {
		t.Errorf("a forbidden connection is counted: %+v", s)
	}
	g.container.Close()
	<-done
}

func TestAResetOfTheHostReachesTheContainer(t *testing.T) {
	_, g := newWorld(t, Limits{})
	l, at := listen(t, host4)
	c, err := g.dial(t, at)
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	s.SetLinger(0)
	s.Close()
	if _, err := io.ReadAll(c); err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("error %v, want reset", err)
	}
}

func TestAResetOfTheContainerReachesTheHost(t *testing.T) {
	f, g := newWorld(t, Limits{})
	l, at := listen(t, host4)
	if _, err := g.dial(t, at); err != nil {
		t.Fatal(err)
	}
	s, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	eventually(t, "the connection is counted", func() bool { return f.Stats().TCP == 1 })
	g.container.Close() // aborts its connections
	if _, err := io.ReadAll(s); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("error %v, want ECONNRESET", err)
	}
}

func TestReleasingAnAddressResetsItsConnections(t *testing.T) {
	f, g := newWorld(t, Limits{})
	l, at := listen(t, host4)
	if _, err := g.dial(t, at); err != nil {
		t.Fatal(err)
	}
	s, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	eventually(t, "the connection is counted", func() bool { return f.Stats().TCP == 1 })
	f.ReleaseAddr(ctr4)
	if _, err := io.ReadAll(s); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("error %v, want ECONNRESET", err)
	}
}

func TestOneContainerCannotHaveMoreThanItsLimitOfConnections(t *testing.T) {
	f, g := newWorld(t, Limits{TCP: 1})
	_, at := listen(t, host4)
	if _, err := g.dial(t, at); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection is counted", func() bool { return f.Stats().TCP == 1 })
	done := make(chan struct{})
	go func() { defer close(done); g.dial(t, at) }()
	eventually(t, "the second is refused", func() bool { return f.Stats().Refused["tcp_limit"] > 0 })
	g.container.Close()
	<-done
}

// A container may repeat a SYN as often and whenever it likes: each attempt comes
// to an end, and nothing of it stays.
func TestRepeatedSYNsToARefusedPortLeaveNothingPending(t *testing.T) {
	f, g := newWorld(t, Limits{})
	l, at := listen(t, host4)
	l.Close()
	syn := synTo(at)
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			for range 5000 {
				g.container.WritePacketToRemote(1, "", ipv4.ProtocolNumber, buffer.MakeWithData(syn))
			}
		})
	}
	senders.Wait()
	eventually(t, "no connection is pending", func() bool { return f.Stats().HalfOpen == 0 })
}

// A container that dies between our SYN-ACK and its ACK holds nobody up.
func TestAHandshakeEndsWithItsContainer(t *testing.T) {
	for what, end := range map[string]func(f *Forwarder, a netip.Addr){
		"released": func(f *Forwarder, a netip.Addr) { f.ReleaseAddr(a) },
		"closed":   func(f *Forwarder, _ netip.Addr) { f.Close() },
	} {
		t.Run(what, func(t *testing.T) {
			f, g := newWorld(t, Limits{})
			l, at := listen(t, host4)
			gone := ctr4.Next() // nobody has it, so nobody answers the SYN-ACK
			g.container.WritePacketToRemote(1, "", ipv4.ProtocolNumber, buffer.MakeWithData(synFrom(gone, at)))
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			eventually(t, "the SYN-ACK", func() bool { return g.stack.Stats().TCP.SegmentsSent.Value() > 0 })
			begin := time.Now()
			end(f, gone)
			eventually(t, "no connection is pending", func() bool { return f.Stats().HalfOpen == 0 })
			if took := time.Since(begin); took > handshakeTimeout/2 {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// synTo gives the container's SYN to dst, from its IP header on.
func synTo(dst netip.AddrPort) []byte { return synFrom(ctr4, dst) }

func synFrom(src netip.Addr, dst netip.AddrPort) []byte {
	b := make([]byte, packet.IPv4Len+header.TCPMinimumSize)
	packet.PutIPv4(b, src, dst.Addr(), packet.ProtoTCP, 64, len(b))
	h := header.TCP(b[packet.IPv4Len:])
	h.Encode(&header.TCPFields{SrcPort: 4000, DstPort: dst.Port(), SeqNum: 1, DataOffset: header.TCPMinimumSize, Flags: header.TCPFlagSyn, WindowSize: 65535})
	h.SetChecksum(^h.CalculateChecksum(packet.PseudoSum(src, dst.Addr(), packet.ProtoTCP, len(h))))
	return b
}
