package plane

import (
	"github.com/footbridge-net/footbridge/stack"
	"github.com/footbridge-net/footbridge/tap"
)

// gatedQueue is a queue that nobody reads before its gate is open.
type gatedQueue struct {
	*tap.Queue
	gate <-chan struct{} // the reader's; nil: it has been open
}

func (q *gatedQueue) ReadFrame(hdr *[tap.HeaderSize]byte, b []byte) (int, error) {
	if q.gate != nil {
		<-q.gate
		q.gate = nil
	}
	return q.Queue.ReadFrame(hdr, b)
}

// tapDevice is a tap.Device as the switch wants it: the packages do not know
// each other, and a slice of one type is not a slice of an interface.
type tapDevice struct {
	*tap.Device
	queues []stack.Queue
}

func newTap(d *tap.Device, gate <-chan struct{}) tapDevice {
	t := tapDevice{Device: d}
	for _, q := range d.Queues() {
		if gate == nil {
			t.queues = append(t.queues, q)
			continue
		}
		t.queues = append(t.queues, &gatedQueue{q, gate})
	}
	return t
}

func (t tapDevice) Queues() []stack.Queue { return t.queues }
