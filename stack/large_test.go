package stack

import (
	"encoding/binary"
	"net/netip"
	"os"
	"testing"
	"unsafe"

	gvisor "gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// kept is a device with one frame, which keeps where it was read to.
type kept struct {
	*memory
	frame []byte
	at    []byte
}

func (k *kept) Queues() []Queue { return []Queue{k} }

func (k *kept) ReadFrame(hdr *[vnet.Len]byte, b []byte) (int, error) {
	if k.at != nil {
		<-k.done
		return 0, os.ErrClosed
	}
	k.at = b
	vnet.Header{Flags: vnet.DataValid}.Encode(hdr)
	return copy(b, k.frame), nil
}

// segmentFrame is a SYN with data, as a frame.
func segmentFrame(to packet.MAC, src, dst netip.Addr, data int) []byte {
	const tcpLen = 24 // with an option
	typ, ipLen := uint16(packet.TypeIPv4), packet.IPv4Len
	if src.Is6() {
		typ, ipLen = packet.TypeIPv6, packet.IPv6Len
	}
	b := make([]byte, packet.EthernetLen+ipLen+tcpLen+data)
	packet.PutEthernet(b, to, cMAC, typ)
	ip, t := b[packet.EthernetLen:], b[packet.EthernetLen+ipLen:]
	if src.Is4() {
		ip[0], ip[8], ip[9] = 0x45, 64, packet.ProtoTCP
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		copy(ip[12:], src.AsSlice())
		copy(ip[16:], dst.AsSlice())
		binary.BigEndian.PutUint16(ip[10:], ^packet.Sum(ip[:ipLen], 0))
	} else {
		ip[0], ip[6], ip[7] = 0x60, packet.ProtoTCP, 64
		binary.BigEndian.PutUint16(ip[4:], uint16(len(t)))
		copy(ip[8:], src.AsSlice())
		copy(ip[24:], dst.AsSlice())
	}
	binary.BigEndian.PutUint16(t[0:], 4000)
	binary.BigEndian.PutUint16(t[2:], 80)
	t[12], t[13] = tcpLen/4<<4, 0x02
	t[20], t[21] = 1, 1 // no operation
	return b
}

// What a large frame carries reaches netstack in the memory that it was read to, although netstack
// looks at the headers again while it holds on to them.
func TestLargeFramesAreNotCopied(t *testing.T) {
	const data = 30000
	for _, c := range []struct{ src, dst netip.Addr }{{c4, out4}, {c6, out6}} {
		n, err := New(Options{Name: "large", Gateway4: gw4, Gateway6: gw6, MTU: 65520})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		k := &kept{memory: newMemory(t), frame: segmentFrame(n.Gateway().MAC(), c.src, c.dst, data)}
		done := make(chan struct{})
		n.Gateway().SetHandlers(Handlers{TCP: func(_ gvisor.TransportEndpointID, pkt *gvisor.PacketBuffer) bool {
			defer close(done)
			if size := pkt.Data().Size(); size != data {
				t.Errorf("%d bytes of data", size)
			}
			views, _ := pkt.AsViewList()
			b := views.Back().AsSlice()
			at, first, last := uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&k.at[0])), uintptr(unsafe.Pointer(&k.at[len(k.at)-1]))
			// The first bytes may stand where the headers leave room.
			if len(b) < data-64 || at < first || at > last {
				t.Error("the data were copied")
			}
			return true
		}})
		if _, err := n.AddPort(PortOptions{Name: "c", MAC: cMAC, Addresses: []netip.Addr{c.src}, Device: k}); err != nil {
			t.Fatal(err)
		}
		<-done
	}
}
