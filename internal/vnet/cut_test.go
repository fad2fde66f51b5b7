package vnet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

var (
	from4, to4 = tcpip.AddrFrom4([4]byte{10, 0, 2, 2}), tcpip.AddrFrom4([4]byte{10, 0, 2, 100})
	from6      = tcpip.AddrFrom16([16]byte{0: 0xfd, 15: 2})
	to6        = tcpip.AddrFrom16([16]byte{0: 0xfd, 15: 100})
)

// super makes a TCP super-segment as netstack leaves it: with the pseudo header's sum alone.
func super(v4 bool, payload []byte) (Header, []byte) {
	ip := header.IPv6MinimumSize
	if v4 {
		ip = header.IPv4MinimumSize
	}
	b := make([]byte, ethernet+ip+header.TCPMinimumSize+len(payload))
	copy(b[ethernet+ip+header.TCPMinimumSize:], payload)
	h := Header{Flags: NeedsCsum, GSOSize: 1000, CsumStart: uint16(ethernet + ip), CsumOffset: tcpCsum, HdrLen: uint16(len(b) - len(payload))}
	t := header.TCP(b[ethernet+ip:])
	fields := header.TCPFields{SrcPort: 80, DstPort: 4000, SeqNum: 0xffffff00, AckNum: 7, DataOffset: 20, Flags: header.TCPFlagAck | header.TCPFlagPsh | header.TCPFlagFin, WindowSize: 100}
	t.Encode(&fields)
	if v4 {
		h.GSOType = GSOTCPv4
		binary.BigEndian.PutUint16(b[12:], 0x0800)
		header.IPv4(b[ethernet:]).Encode(&header.IPv4Fields{TotalLength: uint16(len(b) - ethernet), ID: 0xffff, TTL: 64, Protocol: 6, SrcAddr: from4, DstAddr: to4})
		t.SetChecksum(header.PseudoHeaderChecksum(6, from4, to4, uint16(len(t))))
	} else {
		h.GSOType = GSOTCPv6
		binary.BigEndian.PutUint16(b[12:], 0x86dd)
		header.IPv6(b[ethernet:]).Encode(&header.IPv6Fields{PayloadLength: uint16(len(t)), TransportProtocol: 6, HopLimit: 64, SrcAddr: from6, DstAddr: to6})
		t.SetChecksum(header.PseudoHeaderChecksum(6, from6, to6, uint16(len(t))))
	}
	return h, b
}

func TestASuperSegmentIsCutAsAKernelCutsIt(t *testing.T) {
	payload := bytes.Repeat([]byte("0123456789"), 250)
	for _, v4 := range []bool{true, false} {
		h, frame := super(v4, payload)
		var got []byte
		var flags []header.TCPFlags
		err := h.Cut(frame, func(b []byte) error {
			src, dst, ip := from6, to6, header.IPv6MinimumSize
			if v4 {
				src, dst, ip = from4, to4, header.IPv4MinimumSize
				p := header.IPv4(b[ethernet:])
				if !p.IsChecksumValid() || int(p.TotalLength()) != len(b)-ethernet || p.ID() != 0xffff+uint16(len(flags)) {
					t.Errorf("IPv4 header of segment %d: %x", len(flags), b[:ethernet+ip])
				}
			} else if n := int(header.IPv6(b[ethernet:]).PayloadLength()); n != len(b)-ethernet-ip {
				t.Errorf("IPv6 length %d of %d", n, len(b)-ethernet-ip)
			}
			p := header.TCP(b[ethernet+ip:])
			if want := 0xffffff00 + uint32(len(got)); p.SequenceNumber() != want {
				t.Errorf("sequence %x, not %x", p.SequenceNumber(), want)
			}
			if !p.IsChecksumValid(src, dst, checksum.Checksum(p.Payload(), 0), uint16(len(p.Payload()))) {
				t.Errorf("checksum of segment %d", len(flags))
			}
			got, flags = append(got, p.Payload()...), append(flags, p.Flags())
			return nil
		})
		if err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(payload), err)
		}
		last := header.TCPFlagAck | header.TCPFlagPsh | header.TCPFlagFin
		if fmt.Sprint(flags) != fmt.Sprint([]header.TCPFlags{header.TCPFlagAck, header.TCPFlagAck, last}) {
			t.Errorf("flags %v", flags)
		}
	}
}

func TestAFrameIsSummedWhereItsHeaderSaysSo(t *testing.T) {
	h, frame := super(true, []byte("hello"))
	h.GSOType, h.GSOSize = GSONone, 0
	n := 0
	if err := h.Cut(frame, func(b []byte) error {
		n++
		p := header.TCP(b[ethernet+20:])
		if !p.IsChecksumValid(from4, to4, checksum.Checksum(p.Payload(), 0), uint16(len(p.Payload()))) {
			t.Error("checksum")
		}
		return nil
	}); err != nil || n != 1 {
		t.Errorf("%d frames, %v", n, err)
	}
	plain := bytes.Clone(frame)
	if err := (Header{}).Cut(frame, func(b []byte) error { n++; return nil }); err != nil || n != 2 || !bytes.Equal(plain, frame) {
		t.Errorf("a frame that is complete: %d, %v", n, err)
	}
}

func TestDatagramsAreCutApart(t *testing.T) {
	const ip = header.IPv4MinimumSize
	payload := []byte("aaabbbccc.")
	b := make([]byte, ethernet+ip+udp+len(payload))
	copy(b[ethernet+ip+udp:], payload)
	binary.BigEndian.PutUint16(b[12:], 0x0800)
	header.IPv4(b[ethernet:]).Encode(&header.IPv4Fields{TotalLength: uint16(len(b) - ethernet), TTL: 64, Protocol: 17, SrcAddr: from4, DstAddr: to4})
	header.UDP(b[ethernet+ip:]).Encode(&header.UDPFields{SrcPort: 53, DstPort: 4000})
	h := Header{Flags: NeedsCsum, GSOType: GSOUDPL4, GSOSize: 3, HdrLen: ethernet + ip + udp, CsumStart: ethernet + ip, CsumOffset: udpCsum}
	var got []string
	if err := h.Cut(b, func(b []byte) error {
		u := header.UDP(b[ethernet+ip:])
		if int(u.Length()) != len(u) || !u.IsChecksumValid(from4, to4, checksum.Checksum(u.Payload(), 0)) {
			t.Errorf("datagram %x", u)
		}
		got = append(got, string(u.Payload()))
		return nil
	}); err != nil || fmt.Sprint(got) != "[aaa bbb ccc .]" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestCuttingEndsAtAnError(t *testing.T) {
	h, frame := super(true, make([]byte, 5000))
	stop, n := errors.New("stop"), 0
	if err := h.Cut(frame, func([]byte) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("%d frames, %v", n, err)
	}
	frame[h.CsumStart+12] = 0xf0 // a header longer than the frame would have
	if err := h.Cut(frame[:h.CsumStart+20], nil); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

// Whatever a header says: nothing is read or written beyond the frame, and what comes out
// carries what went in.
func FuzzCut(f *testing.F) {
	for _, v4 := range []bool{true, false} {
		h, frame := super(v4, make([]byte, 3000))
		var b [Len]byte
		h.Encode(&b)
		f.Add(b[:], frame)
	}
	f.Add(make([]byte, Len), []byte{})
	f.Fuzz(func(t *testing.T, b, frame []byte) {
		if len(b) != Len {
			return
		}
		h := Decode((*[Len]byte)(b))
		frames, bytes := 0, 0
		err := h.Cut(frame, func(out []byte) error {
			frames++
			bytes += len(out)
			if len(out) > len(frame) {
				t.Fatalf("%d bytes of %d", len(out), len(frame))
			}
			return nil
		})
		if err != nil && frames > 0 || err == nil && bytes < len(frame) {
			t.Fatalf("%d frames with %d bytes of %d: %v", frames, bytes, len(frame), err)
		}
	})
}
