package dgram

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nowait"
)

// MaxPayload is more than the largest payload of a message, in bytes: a buffer for
// receiving is that large.
const MaxPayload = 64 << 10

// Message is what a socket received at once: a datagram, or several of one sender.
type Message struct {
	// From is the sender, without zone; invalid if the kernel does not know it.
	From netip.AddrPort
	// Payload is in the buffer that Receive was given.
	Payload []byte
	Info
}

// Count is how many datagrams n bytes are in which each but the last has size bytes, or
// which are one if size is 0.
func Count(n, size int) int {
	if size <= 0 || n <= size {
		return 1
	}
	return (n + size - 1) / size
}

// Receiver is room for what comes with a message.
type Receiver struct {
	from    nowait.Address
	control [maxControl]byte
}

// Receive takes the next message of the socket fd into b, of MaxPayload bytes. EAGAIN:
// there is none.
func (r *Receiver) Receive(fd int, b []byte) (Message, syscall.Errno) {
	n, control, e := r.from.Recvmsg(uintptr(fd), b, r.control[:], 0)
	if e != 0 {
		return Message{}, e
	}
	return Message{From: r.from.Get(), Payload: b[:n], Info: parseControl(r.control[:control])}, 0
}

// TakeSeveral makes the UDP socket fd receive several datagrams at once where the kernel
// has them together. Linux before 5.0 does not know it and need not.
func TakeSeveral(fd int) {
	_ = nowait.SetOption(uintptr(fd), unix.SOL_UDP, unix.UDP_GRO, 1)
}
