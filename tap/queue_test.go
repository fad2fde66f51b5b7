package tap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/vnet"
)

// pairQueue is a Queue on a socket, whose other end is returned: what is written
// comes out as one message, as with a TAP.
func pairQueue(t testing.TB) (*Queue, int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	q, err := newQueue(pair[0], "test")
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	t.Cleanup(func() { once.Do(func() { _ = q.close() }); unix.Close(pair[1]) })
	return q, pair[1]
}

func isUDPTo(port uint16) func([]byte) bool {
	return func(frame []byte) bool {
		var at int
		switch binary.BigEndian.Uint16(frame[12:]) {
		case 0x0800:
			if frame[14+9] != unix.IPPROTO_UDP {
				return false
			}
			at = 14 + 20
		case 0x86dd:
			if frame[14+6] != unix.IPPROTO_UDP {
				return false
			}
			at = 14 + 40
		default:
			return false
		}
		return binary.BigEndian.Uint16(frame[at+2:]) == port
	}
}

func TestFramesOfTheContainerHaveVirtioHeaders(t *testing.T) {
	w, ns := newWorld(t, 0)
	d := mustAttach(t, ns, testLink())
	for _, test := range []struct {
		to                        string
		length, segment           string
		frame                     int
		gso                       uint8
		gsoSize, csumStart, csumO uint16
	}{
		{"10.9.0.1:9001", "100", "0", 14 + 20 + 8 + 100, vnet.GSONone, 0, 34, 6},
		{"[fd00:9::1]:9001", "100", "0", 14 + 40 + 8 + 100, vnet.GSONone, 0, 54, 6},
		{"10.9.0.1:9001", "14000", "1400", 14 + 20 + 8 + 14000, vnet.GSOUDPL4, 1400, 34, 6},
		{"[fd00:9::1]:9001", "14000", "1400", 14 + 40 + 8 + 14000, vnet.GSOUDPL4, 1400, 54, 6},
	} {
		if test.gso == vnet.GSOUDPL4 && !kernelAtLeast(t, 6, 2) {
			continue // the kernel cuts them itself
		}
		w.MustCall("send", test.to, test.length, test.segment, "1")
		var raw [HeaderSize]byte
		frame, err := readUntil(d.Queues()[0], &raw, isUDPTo(9001))
		if err != nil {
			t.Fatal(err)
		}
		h := vnet.Decode(&raw)
		if len(frame) != test.frame || h.GSOType != test.gso || h.GSOSize != test.gsoSize ||
			h.Flags != vnet.NeedsCsum || h.CsumStart != test.csumStart || h.CsumOffset != test.csumO {
			t.Errorf("%s, %s bytes: a frame of %d bytes with %+v, want %+v", test.to, test.length, len(frame), h, test)
		}
		if !bytes.Equal(frame[:6], gatewayMAC[:]) || !bytes.Equal(frame[6:12], testMAC[:]) {
			t.Errorf("%s: MACs %x", test.to, frame[:12])
		}
	}
}

// udpFrame is a datagram from the gateway to the container whose checksum is left
// to the receiver of the virtio header.
func udpFrame(payload string) (hdr, headers, data []byte) {
	src, dst := gateway4.As4(), netip.MustParseAddr("10.9.0.2").As4()
	length := 8 + len(payload)
	b := make([]byte, 42)
	copy(b, testMAC[:])
	copy(b[6:], gatewayMAC[:])
	binary.BigEndian.PutUint16(b[12:], 0x0800)
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(20+length))
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip[:20]))
	udp := b[34:]
	binary.BigEndian.PutUint16(udp, 7000)
	binary.BigEndian.PutUint16(udp[2:], 7001)
	binary.BigEndian.PutUint16(udp[4:], uint16(length))
	pseudo := append(append(src[:], dst[:]...), 0, unix.IPPROTO_UDP, byte(length>>8), byte(length))
	binary.BigEndian.PutUint16(udp[6:], sum(pseudo))
	h := make([]byte, HeaderSize)
	h[0] = vnet.NeedsCsum
	binary.LittleEndian.PutUint16(h[6:], 34)
	binary.LittleEndian.PutUint16(h[8:], 6)
	return h, b, []byte(payload)
}

func sum(b []byte) uint16 {
	var s uint32
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

func TestFramesReachTheContainer(t *testing.T) {
	w, ns := newWorld(t, 0)
	d := mustAttach(t, ns, testLink())
	w.MustCall("receive", "10.9.0.2:7001")
	hdr, headers, data := udpFrame("hello, container")
	if err := d.Queues()[0].WriteFrame([][]byte{hdr, headers, data}); err != nil {
		t.Fatal(err)
	}
	if got := w.MustCall("receive"); got != "10.9.0.1:7000 hello, container" {
		t.Errorf("the container got %q", got)
	}
	// In more pieces than are handed over one by one.
	parts := [][]byte{hdr}
	for _, b := range append(headers, data...) {
		parts = append(parts, []byte{b})
	}
	if err := d.Queues()[0].WriteFrame(parts); err != nil {
		t.Fatal(err)
	}
	if got := w.MustCall("receive"); got != "10.9.0.1:7000 hello, container" {
		t.Errorf("of %d pieces the container got %q", len(parts), got)
	}
	w.Run("ip", "link", "set", "eth0", "down")
	if err := d.Queues()[0].WriteFrame([][]byte{hdr, headers, data}); !errors.Is(err, unix.EIO) {
		t.Errorf("WriteFrame to an interface that is down: %v, want EIO", err)
	}
}

func TestFlowsSpreadOverTheQueues(t *testing.T) {
	w, ns := newWorld(t, 0)
	o := testLink()
	o.Queues = 2
	d := mustAttach(t, ns, o)
	done := make(chan error, 2)
	for _, q := range d.Queues() {
		go func() {
			var hdr [HeaderSize]byte
			_, err := readUntil(q, &hdr, isUDPTo(9002))
			done <- err
		}()
	}
	w.MustCall("send", "10.9.0.1:9002", "10", "0", "128") // 128 flows
	for range d.Queues() {
		if err := <-done; err != nil {
			t.Error("a queue got no frame of 128 flows:", err)
		}
	}
}

func TestCloseUnblocksAReader(t *testing.T) {
	_, ns := newWorld(t, 0)
	d := mustAttach(t, ns, testLink())
	read := make(chan error)
	go func() {
		var hdr [HeaderSize]byte
		_, err := readUntil(d.Queues()[0], &hdr, nil)
		read <- err
	}()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := <-read; !errors.Is(err, os.ErrClosed) {
		t.Errorf("the reader got %v, want os.ErrClosed", err)
	}
	if err := d.Close(); err != nil {
		t.Error("Close again:", err)
	}
	q := d.Queues()[0]
	var hdr [HeaderSize]byte
	if _, err := q.ReadFrame(&hdr, make([]byte, 100)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("ReadFrame after Close: %v", err)
	}
	if err := q.WriteFrame([][]byte{hdr[:], make([]byte, 60)}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("WriteFrame after Close: %v", err)
	}
}

func TestTheEndOfTheInterfaceIsTold(t *testing.T) {
	w, ns := newWorld(t, 0)
	d := mustAttach(t, ns, testLink())
	read := make(chan error)
	go func() {
		var hdr [HeaderSize]byte
		_, err := readUntil(d.Queues()[0], &hdr, nil)
		read <- err
	}()
	w.Run("ip", "link", "del", "eth0") // the container's root may do that
	if err := <-read; !errors.Is(err, ErrGone) {
		t.Errorf("the reader got %v, want ErrGone", err)
	}
	d.Close()
	mustAttach(t, ns, testLink())
}

// TestANamespaceOutlivesItsProcessesWhileItIsHeld: nothing happens to a device
// when its container ends, so that nobody may wait for that.
func TestANamespaceOutlivesItsProcessesWhileItIsHeld(t *testing.T) {
	w, ns := newWorld(t, 0)
	d := mustAttach(t, ns, testLink())
	w.End()
	hdr, headers, data := udpFrame("hello")
	if err := d.Queues()[0].WriteFrame([][]byte{hdr, headers, data}); err != nil {
		t.Errorf("WriteFrame after the last process's end: %v", err)
	}
}

// TestCloseUnderWriters closes while many write. A descriptor that is opened
// then, and gets the freed number, must see nothing of it.
func TestCloseUnderWriters(t *testing.T) {
	for range 50 {
		q, peer := pairQueue(t)
		var writers sync.WaitGroup
		started := make(chan struct{}, 4)
		for range 4 {
			writers.Go(func() {
				hdr, frame := make([]byte, HeaderSize), make([]byte, 60)
				started <- struct{}{}
				for {
					err := q.WriteFrame([][]byte{hdr, frame})
					if errors.Is(err, os.ErrClosed) {
						return
					}
					if err != nil && !errors.Is(err, unix.EAGAIN) {
						t.Error("WriteFrame:", err)
						return
					}
				}
			})
		}
		for range 4 {
			<-started
		}
		if err := q.close(); err != nil {
			t.Fatal(err)
		}
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		writers.Wait()
		for i := range pair {
			if n, err := unix.Read(pair[i], make([]byte, 100)); !errors.Is(err, unix.EAGAIN) {
				t.Errorf("a later descriptor got %d bytes (%v)", n, err)
			}
		}
		unix.Close(pair[0])
		unix.Close(pair[1])
		_ = peer
	}
}

func TestWriteFrameJoinsParts(t *testing.T) {
	q, peer := pairQueue(t)
	for _, count := range []int{1, 2, 3, directParts - 1, directParts, directParts + 1, 3 * directParts} {
		parts := [][]byte{bytes.Repeat([]byte{0xff}, HeaderSize)}
		for i := range count - 1 {
			parts = append(parts, bytes.Repeat([]byte{byte(i)}, i%5)) // some are empty
		}
		if err := q.WriteFrame(parts); err != nil {
			t.Fatalf("%d parts: %v", count, err)
		}
		b := make([]byte, 1000)
		n, err := unix.Read(peer, b)
		if err != nil || !bytes.Equal(b[:n], bytes.Join(parts, nil)) {
			t.Errorf("%d parts became %x (%v)", count, b[:n], err)
		}
	}
	for _, parts := range [][][]byte{nil, {}, {{1, 2, 3}}, {nil, make([]byte, 60)}} {
		if err := q.WriteFrame(parts); !errors.Is(err, unix.EINVAL) {
			t.Errorf("WriteFrame without a header: %v, want EINVAL", err)
		}
	}
	long := [][]byte{make([]byte, HeaderSize)}
	for range directParts {
		long = append(long, make([]byte, 1<<16))
	}
	if err := q.WriteFrame(long); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("WriteFrame of %d pieces of 64 KiB: %v, want EMSGSIZE", len(long), err)
	}
}

func TestReadFrameRefusesWhatDoesNotFit(t *testing.T) {
	q, peer := pairQueue(t)
	var hdr [HeaderSize]byte
	for _, test := range []struct {
		message, buffer int
		n               int
		err             error
	}{
		{HeaderSize + 60, 61, 60, nil},
		{HeaderSize + 60, 60, 0, io.ErrShortBuffer},
		{HeaderSize + 60, 0, 0, io.ErrShortBuffer},
		{HeaderSize, 60, 0, nil},
		{HeaderSize - 1, 60, 0, io.ErrUnexpectedEOF},
	} {
		if test.buffer > 0 { // otherwise nothing is read
			if _, err := unix.Write(peer, make([]byte, test.message)); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := q.ReadFrame(&hdr, make([]byte, test.buffer)); n != test.n || !errors.Is(err, test.err) {
			t.Errorf("message of %d bytes, buffer of %d: %d, %v; want %d, %v", test.message, test.buffer, n, err, test.n, test.err)
		}
	}
}

func TestWhoIsIdleIsAskedBeforeHeSleeps(t *testing.T) {
	q, peer := pairQueue(t)
	frame := func() {
		if _, err := unix.Write(peer, make([]byte, HeaderSize+60)); err != nil {
			t.Error(err)
		}
	}
	asked, more := 0, false
	q.OnIdle(func() bool {
		asked++
		if more {
			frame()
		} else {
			time.AfterFunc(time.Millisecond, frame)
		}
		return more
	})
	for i, want := range []struct {
		there, more bool
		asked       int
		waited      bool
	}{
		{there: true},
		{more: true, asked: 1},
		{asked: 2, waited: true},
	} {
		if more = want.more; want.there {
			frame()
		}
		var hdr [HeaderSize]byte
		if n, err := q.ReadFrame(&hdr, make([]byte, 100)); n != 60 || err != nil || asked != want.asked || q.Waited() != want.waited {
			t.Errorf("frame %d: %d, %v, asked %d times, waited %v; want %+v", i, n, err, asked, q.Waited(), want)
		}
	}
}

func TestNewQueueRefusesWhatCannotBePolled(t *testing.T) {
	fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newQueue(fd, "null"); err == nil {
		t.Error("newQueue took /dev/null")
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
		t.Errorf("the descriptor is still open (%v)", err)
	}
}

// TestFramesCostNoAllocation: the budget of the data path is 0 per frame.
func TestFramesCostNoAllocation(t *testing.T) {
	q, peer := pairQueue(t)
	message, b := make([]byte, HeaderSize+1500), make([]byte, MaxFrame+1)
	var hdr [HeaderSize]byte
	read := testing.AllocsPerRun(200, func() {
		if _, err := unix.Write(peer, message); err != nil {
			t.Fatal(err)
		}
		if _, err := q.ReadFrame(&hdr, b); err != nil {
			t.Fatal(err)
		}
	})
	parts := [][]byte{hdr[:], make([]byte, 54), make([]byte, 1000), make([]byte, 446)}
	many := [][]byte{hdr[:]}
	for range 2 * directParts {
		many = append(many, make([]byte, 20))
	}
	write := func(parts [][]byte) float64 {
		return testing.AllocsPerRun(200, func() {
			if err := q.WriteFrame(parts); err != nil {
				t.Fatal(err)
			}
			if _, err := unix.Read(peer, b); err != nil {
				t.Fatal(err)
			}
		})
	}
	if w := write(parts); read != 0 || w != 0 {
		t.Errorf("allocations: %v per ReadFrame, %v per WriteFrame; want 0", read, w)
	}
	// The pool may be emptied by a collection: not exactly 0.
	if w := write(many); w >= 1 {
		t.Errorf("allocations: %v per WriteFrame of %d parts", w, len(many))
	}
}

// TestWaitingReadersCostNoAllocation is the same for a reader that had to wait.
func TestWaitingReadersCostNoAllocation(t *testing.T) {
	q, peer := pairQueue(t)
	if err := unix.SetNonblock(peer, true); err != nil {
		t.Fatal(err)
	}
	ask, stop := make(chan struct{}), make(chan struct{})
	defer close(stop)
	message := make([]byte, HeaderSize+60)
	go func() {
		for {
			select {
			case <-ask: // the reader is about to wait
				if _, err := unix.Write(peer, message); err != nil {
					t.Error(err)
				}
			case <-stop:
				return
			}
		}
	}()
	var hdr [HeaderSize]byte
	b := make([]byte, 100)
	if n := testing.AllocsPerRun(200, func() {
		ask <- struct{}{}
		if _, err := q.ReadFrame(&hdr, b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("allocations: %v per ReadFrame, want 0", n)
	}
}

// BenchmarkWriteFrame writes into a container that drops what comes.
func BenchmarkWriteFrame(b *testing.B) {
	_, ns := newWorld(b, 0)
	d := mustAttach(b, ns, testLink())
	hdr, headers, data := udpFrame(string(make([]byte, 1400)))
	headers[0] = 0x04 // another MAC: the kernel takes the frame and drops it
	parts := [][]byte{hdr, headers, data}
	q := d.Queues()[0]
	b.ReportAllocs()
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if err := q.WriteFrame(parts); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			parts := [][]byte{hdr, headers, data}
			for pb.Next() {
				if err := q.WriteFrame(parts); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// BenchmarkReadFrame reads messages of 1,500 bytes from a socket, whose write is
// part of the figure.
func BenchmarkReadFrame(b *testing.B) {
	q, peer := pairQueue(b)
	message, buffer := make([]byte, HeaderSize+1500), make([]byte, MaxFrame+1)
	var hdr [HeaderSize]byte
	b.ReportAllocs()
	for range b.N {
		if _, err := unix.Write(peer, message); err != nil {
			b.Fatal(err)
		}
		if _, err := q.ReadFrame(&hdr, buffer); err != nil {
			b.Fatal(err)
		}
	}
}
