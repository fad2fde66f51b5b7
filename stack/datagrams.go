package stack

import (
	"net/netip"
	"syscall"

	"github.com/footbridge-net/footbridge/internal/dgram"
	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// SendDatagrams is SendUDP for several datagrams of size bytes, of which the last may be
// shorter, or for one if size is 0. They go in one frame, which the container's kernel
// takes apart, or does not where its program wants them as they are; and one by one where
// it cannot (Linux before 6.2). With an error some may have arrived.
func (g *Gateway) SendDatagrams(src, dst netip.AddrPort, payload []byte, size int) error {
	if size <= 0 || size >= len(payload) {
		return g.SendUDP(src, dst, payload)
	}
	to, ok := g.route(src.Addr(), dst.Addr())
	if !ok {
		return errNoHost
	}
	most := min(dgram.MaxSegments, maxUDP(dst.Addr())/size)
	if most == 0 {
		return errTooLong
	}
	for len(payload) > 0 {
		if to.port.noSegments.Load() {
			most = 1
		}
		n := min(len(payload), most*size)
		err := g.writeUDP(to, src, dst, payload[:n], size)
		switch {
		case err == syscall.EINVAL && n > size: // what the header asks is not known
			to.port.noSegments.Store(true)
			continue
		case err != nil:
			return errDevice
		}
		payload = payload[n:]
	}
	return nil
}

// writeUDP gives a container a frame with one datagram, or with several of size bytes if
// payload is longer than that and size is not 0.
func (g *Gateway) writeUDP(to hop, src, dst netip.AddrPort, payload []byte, size int) error {
	o := outgoingPool.Get().(*outgoing)
	defer o.release()
	n := packet.PutUDPPartial(o.head[:], to.mac, g.mac, src, dst, len(payload))
	h := vnet.Header{Flags: vnet.NeedsCsum, CsumStart: uint16(n - packet.UDPLen), CsumOffset: udpCsumOffset}
	if size != 0 && len(payload) > size {
		h.GSOType, h.GSOSize, h.HdrLen = vnet.GSOUDPL4, uint16(size), uint16(n)
	}
	h.Encode(&o.vnet)
	parts := append(o.parts[:0], o.vnet[:], o.head[:n])
	if len(payload) > 0 {
		parts = append(parts, payload)
	}
	return to.port.tryWrite(0, parts)
}
