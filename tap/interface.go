package tap

import (
	"errors"
	"fmt"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// An Interface is an attached TAP: what the kernel says of it, and its queues,
// which are held and not read. NewDevice makes use of them, here or in another
// process.
type Interface struct {
	Name     string // in its namespace
	Bare     bool   // others may have renamed it
	Index    int    // in its namespace
	MAC      [6]byte
	Features Features // what the kernel hands over and takes
	Created  bool     // Attach made the device; otherwise it was there
	Method   string   // by which the helper entered: "native" or "nsenter"
	Warnings []string // settings that could not be made and do no harm to others
	Queues   []*fdpass.Handle
	// Plain: the queues have no virtio headers; NewPlainDevice is for them.
	Plain bool
}

// Check makes sure that the queues are what they are taken for. Those that were
// kept for a while may have lost their device meanwhile.
func (i *Interface) Check() error {
	if len(i.Queues) == 0 {
		return errors.New("an interface without queues")
	}
	if i.Plain { // Adopt has looked
		return nil
	}
	for n, q := range i.Queues {
		name := i.Name
		if i.Bare {
			var err error
			if name, err = queueName(q.FD()); err != nil {
				return fmt.Errorf("descriptor %d: %w", n, err)
			}
		}
		if err := checkQueue(q.FD(), name); err != nil {
			return fmt.Errorf("descriptor %d is %w", n, err)
		}
	}
	return nil
}

// Close closes the queues held here. The interface stays in its namespace; see
// Detach.
func (i *Interface) Close() error {
	var errs []error
	for _, q := range i.Queues {
		errs = append(errs, q.Close())
	}
	return errors.Join(errs...)
}
