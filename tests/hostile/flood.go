package main

import (
	"encoding/binary"
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

// Usage is what processes take.
type Usage struct {
	Memory uint64 // the most resident bytes since the last ResetPeak
	Files  int    // open descriptors
}

// Usage looks at processes, by pid.
func (a *Actor) Usage(pids []int, reply *Usage) error {
	for _, pid := range pids {
		dir := "/proc/" + strconv.Itoa(pid)
		status, err := os.ReadFile(dir + "/status")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(status)) {
			if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
				if err != nil {
					return err
				}
				reply.Memory += kib << 10
			}
		}
		files, err := os.ReadDir(dir + "/fd")
		if err != nil {
			return err
		}
		reply.Files += len(files)
	}
	return nil
}

// ResetPeak makes processes forget the most memory that they had.
func (a *Actor) ResetPeak(pids []int, reply *struct{}) error {
	const peak = "5" // Documentation/filesystems/proc.rst, clear_refs
	for _, pid := range pids {
		if err := os.WriteFile("/proc/"+strconv.Itoa(pid)+"/clear_refs", []byte(peak), 0); err != nil {
			return err
		}
	}
	return nil
}
