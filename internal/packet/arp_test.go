package packet

import (
	"bytes"
	"errors"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const arpRequest = `0001 0800 06 04 0001  0242ac120002 ac120002  000000000000 ac120001`

func TestARPIsRead(t *testing.T) {
	want := ARP{Op: ARPRequest, SenderMAC: MAC{0x02, 0x42, 0xac, 0x12, 0, 2},
		SenderIP: addr("172.18.0.2"), TargetIP: addr("172.18.0.1")}
	if a, err := ParseARP(wire(t, arpRequest+"ffff")); err != nil || a != want {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestOtherARPIsRefused(t *testing.T) {
	for name, s := range map[string]string{
		"nothing":              ``,
		"one byte too few":     arpRequest[:len(arpRequest)-2],
		"token ring":           `0006 0800 06 04 0001  0242ac120002 ac120002  000000000000 ac120001`,
		"IPv6 addresses":       `0001 86dd 06 04 0001  0242ac120002 ac120002  000000000000 ac120001`,
		"long MACs":            `0001 0800 08 04 0001  0242ac120002 ac120002  000000000000 ac120001`,
		"addresses of no size": `0001 0800 06 00 0001  0242ac120002 ac120002  000000000000 ac120001`,
	} {
		if a, err := ParseARP(wire(t, s)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

func TestAnARPReplyOnTheWire(t *testing.T) {
	mac := MAC{0x02, 0x42, 0xac, 0x12, 0, 1}
	dst := MAC{0x02, 0x42, 0xac, 0x12, 0, 2}
	got := ARPFrame(dst, ARP{Op: ARPReply, SenderMAC: mac, SenderIP: addr("172.18.0.1"), TargetMAC: dst, TargetIP: addr("172.18.0.2")})
	want := wire(t, `0242ac120002 0242ac120001 0806  0001 0800 06 04 0002  0242ac120001 ac120001  0242ac120002 ac120002`)
	if !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

func FuzzParseARP(f *testing.F) {
	f.Add(wire(f, arpRequest))
	f.Add(wire(f, arpRequest)[:27])
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseARP(b)
		if (err == nil) != header.ARP(b).IsValid() {
			t.Fatalf("%+v, %v; gVisor: %t", a, err, header.ARP(b).IsValid())
		}
		if err != nil {
			return
		}
		if got := ARPFrame(Broadcast, a)[EthernetLen:]; !bytes.Equal(got, b[:ARPLen]) {
			t.Errorf("%x was read and written as %x", b[:ARPLen], got)
		}
		h := header.ARP(b)
		if string(h.ProtocolAddressSender()) != string(a.SenderIP.AsSlice()) || string(h.HardwareAddressSender()) != string(a.SenderMAC[:]) ||
			string(h.ProtocolAddressTarget()) != string(a.TargetIP.AsSlice()) || uint16(h.Op()) != a.Op {
			t.Errorf("%+v; gVisor reads %v", a, h)
		}
	})
}
