package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/vnet"
)

// What an attacker can do with TAP devices: make some of her own, and open further queues of the one that footbridge has
// made, which is as much hers as all in her namespaces.

// QueueArgs ask for a queue of a TAP device.
type QueueArgs struct {
	Name      string
	Single    bool // a device of one queue, for those that are made by this
	HeaderLen int  // bytes of the virtio header; 0 leaves it
	BigEndian bool // virtio headers are read and written that way
	Offloads  int  // of TUNSETOFFLOAD; negative leaves them
	Persist   bool // the device stays when the last queue is closed
	Steal     bool // throw away whatever comes on the queue
}

// Queue opens a queue and keeps it until Release. Settings of a device hold for all of its queues.
func (a *Actor) Queue(args QueueArgs, reply *struct{}) error {
	fd, err := openQueue(args)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), args.Name)
	a.mu.Lock()
	if a.queues == nil {
		a.queues = make(map[string]*os.File)
	}
	a.queues[args.Name] = f
	a.mu.Unlock()
	a.Hold(func() {
		a.mu.Lock()
		delete(a.queues, args.Name)
		a.mu.Unlock()
		f.Close()
	})
	if args.Steal {
		go func() {
			b := make([]byte, 70000)
			for {
				if _, err := f.Read(b); err != nil && !errors.Is(err, unix.EINTR) {
					return
				}
			}
		}()
	}
	return nil
}

func openQueue(args QueueArgs) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("/dev/net/tun: %w", err)
	}
	fail := func(what string, err error) (int, error) {
		unix.Close(fd)
		return -1, fmt.Errorf("%s of %s: %w", what, args.Name, err)
	}
	request, err := unix.NewIfreq(args.Name)
	if err != nil {
		return fail("name", err)
	}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if !args.Single {
		flags |= unix.IFF_MULTI_QUEUE
	}
	request.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return fail("a queue", err)
	}
	if args.HeaderLen != 0 {
		if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, args.HeaderLen); err != nil {
			return fail("header length", err)
		}
	}
	if args.BigEndian {
		if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETBE, 1); err != nil && !errors.Is(err, unix.EINVAL) {
			return fail("byte order", err)
		}
	}
	if args.Offloads >= 0 {
		if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, args.Offloads); err != nil {
			return fail("offloads", err)
		}
	}
	if args.Persist {
		if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
			return fail("persistence", err)
		}
	}
	return fd, nil
}

// InjectArgs are frames for a queue that the actor holds: what is written there arrives on the device.
type InjectArgs struct {
	Name   string
	Frames [][]byte // each with its virtio header
}

// Inject writes frames to a queue, as the network card that the device stands for.
func (a *Actor) Inject(args InjectArgs, reply *SendReply) error {
	a.mu.Lock()
	f := a.queues[args.Name]
	a.mu.Unlock()
	if f == nil {
		return fmt.Errorf("no queue of %s is open", args.Name)
	}
	for _, frame := range args.Frames {
		if _, err := f.Write(frame); err != nil {
			reply.Refused++
		} else {
			reply.Sent++
		}
	}
	return nil
}

// StaleArgs are lies about a frame's header. A device's header length holds for all of its queues: when it is raised by n, a
// reader that expects the usual one finds n bytes behind the header which the kernel has skipped: those that the frame before
// has left in its buffer. So a cover is sent first, and then, with another header length, the core: the reader sees the
// cover's first n bytes, the core, and the core's virtio header, which the sender's kernel has found right for the core.
type StaleArgs struct {
	Interface string
	Pairs     []StalePair
}

// StalePair is such a lie.
type StalePair struct {
	Cover  []byte // an echo request, whose answer shows that it was read
	Answer []byte // what the answer contains
	Take   int    // bytes of the cover
	Head   vnet.Header
	Core   []byte
}

// usualHeader is the length of the virtio header that footbridge reads.
const usualHeader = vnet.Len

// setHeader changes the header length of a device, through a queue that is there only for that.
func setHeader(name string, length int) error {
	fd, err := openQueue(QueueArgs{Name: name, HeaderLen: length, Offloads: -1})
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// Stale tells lies, and puts the header length right again.
func (a *Actor) Stale(args StaleArgs, reply *SendReply) (err error) {
	fd, err := openPacket(args.Interface, unix.ETH_P_ALL, unix.PACKET_VNET_HDR)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	defer func() { err = errors.Join(err, setHeader(args.Interface, usualHeader)) }()
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2})
	for i, p := range args.Pairs {
		if err := setHeader(args.Interface, usualHeader); err != nil {
			return err
		}
		if err := sendFrame(fd, withHeader(vnet.Header{}, p.Cover)); err != nil {
			return fmt.Errorf("cover %d: %w", i, err)
		}
		if err := await(fd, p.Answer); err != nil {
			return fmt.Errorf("cover %d has no answer: %w", i, err)
		}
		if err := setHeader(args.Interface, usualHeader+p.Take); err != nil {
			return err
		}
		read, err := framesRead(args.Interface)
		if err != nil {
			return err
		}
		if sendFrame(fd, withHeader(p.Head, p.Core)) != nil {
			reply.Refused++
			continue
		}
		reply.Sent++
		for begin := time.Now(); ; {
			now, err := framesRead(args.Interface)
			if err != nil {
				return err
			}
			if now > read {
				break
			}
			if time.Since(begin) > 2*time.Second {
				return fmt.Errorf("core %d is not read", i)
			}
			runtime.Gosched()
		}
	}
	return nil
}

// framesRead is how many frames have been read from a TAP device: for its kernel they are sent then.
func framesRead(name string) (uint64, error) {
	text, err := os.ReadFile("/sys/class/net/" + name + "/statistics/tx_packets")
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}

// await reads frames until one that arrived holds the pattern.
func await(fd int, pattern []byte) error {
	b := make([]byte, 70000)
	for {
		n, from, err := unix.Recvfrom(fd, b, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype != unix.PACKET_OUTGOING && bytes.Contains(b[:n], pattern) {
			return nil
		}
	}
}
