package stack

import "time"

// Announce is how the others are told that an endpoint's addresses are on the network:
// gratuitous ARP (RFC 5227, section 3) and unsolicited neighbour advertisements
// (RFC 9131) of the endpoint's MAC. The switch learns nothing from them. They are for
// the kernels of the other containers, which may remember another MAC for an address
// that is given out again. The zero value is Docker's default.
type Announce struct {
	// Off: nobody is told. Whoever knew the address before finds out when its kernel
	// asks again, some seconds after the answers have stopped.
	Off bool `json:",omitzero"`
	// Messages for each address; 0 is 3. The first goes out at once, and is lost only
	// where a container has not read for a while.
	Messages int `json:",omitzero"`
	// Interval between two of them; 0 is a second.
	Interval time.Duration `json:",omitzero"`
}

// Defaults of Announce.
const (
	defaultMessages = 3
	defaultInterval = time.Second
)

// announce tells the others of p, now and, unless once, some more times while p is on
// the network.
func (n *Network) announce(p *Port, once bool) {
	a := n.opts.Announce
	if a.Off {
		return
	}
	n.tell(p, p.mac, p.addrs)
	if a.Messages == 0 {
		a.Messages = defaultMessages
	}
	if a.Interval == 0 {
		a.Interval = defaultInterval
	}
	if once || a.Messages < 2 {
		return
	}
	p.readers.Go(func() {
		tick := time.NewTicker(a.Interval)
		defer tick.Stop()
		for range a.Messages - 1 {
			select {
			case <-tick.C:
				n.tell(p, p.mac, p.addrs)
			case <-p.left:
				return
			}
		}
	})
}
