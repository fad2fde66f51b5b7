package main

import (
	"encoding/binary"
	"errors"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// FloodArgs are frames sent again and again, a little different each time.
type FloodArgs struct {
	Interface string
	Frames    [][]byte // sent in turn
	Head      vnet.Header
	Vary      []Field
	Seal      bool // the IPv4 header's checksum is computed anew
	Rate      int  // frames a second; 0: as many as the machine can
	Time      time.Duration
	Most      int // frames in all; 0: no limit
}

// Field is a number of two bytes in a frame that changes with each frame.
type Field struct {
	Offset int
	Mode   int
	Every  int // counts up only with each so many frames; 0 is 1
}

// Ways in which a field changes.
const (
	countUp    = iota // by one
	countDown         // the complement of countUp: the checksum of both together stays
	randomly          // any value
	alphabetic        // two letters
)

// Flood sends frames for a time, and says how many.
func (a *Actor) Flood(args FloodArgs, sent *int) error {
	fd, err := openPacket(args.Interface, 0, unix.PACKET_VNET_HDR)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	random := rand.New(rand.NewSource(1))
	frames := make([][]byte, len(args.Frames))
	for i, f := range args.Frames {
		frames[i] = withHeader(args.Head, f)
	}
	begin := time.Now()
	const batch = 32
	for n := 0; args.Most == 0 || n < args.Most; n++ {
		if n%batch == 0 {
			passed := time.Since(begin)
			if passed > args.Time {
				break
			}
			if args.Rate > 0 {
				if due := time.Duration(n) * time.Second / time.Duration(args.Rate); due > passed+time.Millisecond {
					time.Sleep(due - passed)
				}
			}
		}
		f := frames[n%len(frames)]
		for _, v := range args.Vary {
			b := f[vnet.Len+v.Offset:]
			value := uint16(n / max(v.Every, 1))
			switch v.Mode {
			case countDown:
				value = ^value
			case randomly:
				value = uint16(random.Intn(65536))
			case alphabetic:
				value = uint16('a'+random.Intn(26))<<8 | uint16('a'+random.Intn(26))
			}
			binary.BigEndian.PutUint16(b, value)
		}
		if args.Seal {
			seal4(f[vnet.Len+packet.EthernetLen:])
		}
		_, err := unix.Write(fd, f)
		if err == unix.ENOBUFS || err == unix.EAGAIN || err == unix.EINTR {
			continue // her own queue is full: lost, as a flood's frames are
		}
		if err != nil {
			return err
		}
		*sent++
	}
	return nil
}

// Memory begins to look at what processes have resident together, by pid; Peak says how much that was at most.
func (a *Actor) Memory(pids []int, reply *struct{}) error {
	if _, err := resident(pids); err != nil {
		return err
	}
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		tick := time.NewTicker(memoryEach)
		defer tick.Stop()
		var most uint64
		for {
			now, _ := resident(pids) // one that has died is told by others
			most = max(most, now)
			select {
			case <-tick.C:
			case <-stop:
				peak <- most
				return
			}
		}
	}()
	a.peak = func() uint64 {
		close(stop)
		return <-peak
	}
	return nil
}

// memoryEach is how often memory is looked at.
const memoryEach = 20 * time.Millisecond

// Peak ends Memory; in bytes.
func (a *Actor) Peak(_ struct{}, bytes *uint64) error {
	if a.peak == nil {
		return errors.New("nobody has looked at the memory")
	}
	*bytes, a.peak = a.peak(), nil
	return nil
}

// resident bytes of processes together.
func resident(pids []int) (total uint64, err error) {
	for _, pid := range pids {
		status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(status)) {
			if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
				if err != nil {
					return 0, err
				}
				total += kib << 10
			}
		}
	}
	return total, nil
}
