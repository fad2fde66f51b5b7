package plane

import (
	"github.com/footbridge-net/footbridge/stack"
	"github.com/footbridge-net/footbridge/tap"
)

// tapDevice is a tap.Device as the switch wants it: the packages do not know
// each other, and a slice of one type is not a slice of an interface.
type tapDevice struct {
	*tap.Device
	queues []stack.Queue
}

func newTap(d *tap.Device) tapDevice {
	t := tapDevice{Device: d}
	for _, q := range d.Queues() {
		t.queues = append(t.queues, q)
	}
	return t
}

func (t tapDevice) Queues() []stack.Queue { return t.queues }
