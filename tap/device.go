package tap

import (
	"errors"
	"fmt"
	"sync"
)

// A Device is an attached TAP: its queues, held by this process.
type Device struct {
	name     string
	index    int
	mac      [6]byte
	features Features
	created  bool
	method   string
	warnings []string
	queues   []*Queue
	close    func() error
}

// newDevice takes over fds, which it closes on error.
func newDevice(req request, r reply, method string, fds []int) (*Device, error) {
	d := &Device{
		name: req.Link.Name, index: r.Index, mac: r.MAC, features: r.Features,
		created: r.Created, method: method, warnings: r.Warnings,
	}
	d.close = sync.OnceValue(d.closeQueues)
	for i, fd := range fds {
		q, err := newQueue(fd, fmt.Sprintf("%s queue %d", d.name, i))
		if err != nil {
			closeAll(fds[i+1:])
			_ = d.closeQueues()
			return nil, err
		}
		d.queues = append(d.queues, q)
	}
	return d, nil
}

// Name is the interface's name in its namespace.
func (d *Device) Name() string { return d.name }

// Index is the interface's index in its namespace.
func (d *Device) Index() int { return d.index }

// MAC is the interface's address.
func (d *Device) MAC() [6]byte { return d.mac }

// Features are what the kernel hands over and takes on this device.
func (d *Device) Features() Features { return d.features }

// Created reports whether Attach made the device; otherwise it was there.
func (d *Device) Created() bool { return d.created }

// Method is the way by which the helper entered: "native" or "nsenter".
func (d *Device) Method() string { return d.method }

// Warnings are settings that could not be made and do no harm to others.
func (d *Device) Warnings() []string { return d.warnings }

// Queues returns the device's queues. The kernel spreads flows over them; a flow's
// frames stay on one, the one on which its answers were written last.
func (d *Device) Queues() []*Queue { return d.queues }

// Close closes the queues, and returns when their descriptors are closed. Readers
// and later callers get os.ErrClosed. The interface stays in its namespace, without
// carrier; see Detach. Closing again returns what the first time returned.
func (d *Device) Close() error { return d.close() }

func (d *Device) closeQueues() error {
	var errs []error
	for _, q := range d.queues {
		errs = append(errs, q.close())
	}
	return errors.Join(errs...)
}
