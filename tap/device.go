package tap

import (
	"errors"
	"fmt"
	"sync"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// A Device is an attached TAP whose frames this process reads and writes.
type Device struct {
	queues []*Queue
	close  func() error
}

// NewDevice reads and writes by the queues of the interface called name. It takes
// the handles over, also when it fails.
func NewDevice(name string, queues []*fdpass.Handle) (*Device, error) {
	d := &Device{}
	d.close = sync.OnceValue(d.closeQueues)
	for i, h := range queues {
		q, err := newQueue(h.Take(), fmt.Sprintf("%s queue %d", name, i))
		if err != nil {
			fdpass.CloseAll(queues)
			_ = d.closeQueues()
			return nil, err
		}
		d.queues = append(d.queues, q)
	}
	return d, nil
}

// Queues returns the device's queues. The kernel spreads flows over them; a flow's
// frames stay on one, the one on which its answers were written last.
func (d *Device) Queues() []*Queue { return d.queues }

// Close closes the queues, and returns when their descriptors are closed. Readers
// and later callers get os.ErrClosed. The interface stays in its namespace, without
// carrier when nobody else holds a queue; see Detach. Closing again returns what the
// first time returned.
func (d *Device) Close() error { return d.close() }

func (d *Device) closeQueues() error {
	var errs []error
	for _, q := range d.queues {
		errs = append(errs, q.close())
	}
	return errors.Join(errs...)
}
