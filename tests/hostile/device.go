package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// What an attacker can do with TAP devices: make some of her own, and open further queues of the one that footbridge has
// made, which is as much hers as all in her namespaces.

// QueueArgs ask for a queue of a TAP device.
type QueueArgs struct {
	Name     string
	Single   bool // a device of one queue, for those that are made by this
	Offloads int  // of TUNSETOFFLOAD; 0 leaves them
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
	if args.Offloads != 0 {
		if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, args.Offloads); err != nil {
			return fail("offloads", err)
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
