package tap

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Asking for neighbours. An address is known at once or not at all, by the switch;
// what can be lost is the question, when it is asked in the milliseconds in which the
// link comes up or nobody reads the queues. It is repeated after 50 ms then and not
// after a second, for as long altogether as Linux does (three seconds).
const (
	askAgain = 50 // milliseconds
	asks     = 60
	// Of an address that was known: a second, in which a dead worker has a
	// successor.
	confirms = 20
)

// Attributes of linux/neighbour.h: struct ndtmsg's table, its parameters and theirs.
const (
	ndtaName       = 1
	ndtaParms      = 6
	ndtpaIfindex   = 1
	ndtpaRetrans   = 5 // RETRANS_TIME
	ndtpaUcastAsks = 10
	ndtpaMcastAsks = 11
	lenNdtMsg      = 4
	arpTable       = "arp_cache"
	neighborTable6 = "ndisc_cache"
)

// neighborTimers sets how neighbours are asked for. The files in /proc/sys that would do
// are not there in a user namespace; netlink is.
func (c *configurer) neighborTimers() error {
	tables := []string{arpTable}
	if !c.o.DisableIPv6 {
		tables = append(tables, neighborTable6)
	}
	for _, table := range tables {
		if err := setNeighborTimers(table, c.link.Attrs().Index); err != nil {
			// It works without, only less quickly after a loss.
			c.warnings = append(c.warnings, fmt.Sprintf("timers of %s: %v", table, err))
		}
	}
	return nil
}

func setNeighborTimers(table string, index int) error {
	req := nl.NewNetlinkRequest(unix.RTM_SETNEIGHTBL, unix.NLM_F_ACK)
	req.AddData(ndtMsg{})
	req.AddData(nl.NewRtAttr(ndtaName, nl.ZeroTerminated(table)))
	parms := nl.NewRtAttr(ndtaParms|unix.NLA_F_NESTED, nil)
	parms.AddRtAttr(ndtpaIfindex, nl.Uint32Attr(uint32(index)))
	parms.AddRtAttr(ndtpaRetrans, uint64Attr(askAgain))
	parms.AddRtAttr(ndtpaMcastAsks, nl.Uint32Attr(asks))
	parms.AddRtAttr(ndtpaUcastAsks, nl.Uint32Attr(confirms))
	req.AddData(parms)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// ndtMsg is struct ndtmsg for any family: the table's name says which.
type ndtMsg struct{}

func (ndtMsg) Len() int          { return lenNdtMsg }
func (ndtMsg) Serialize() []byte { return make([]byte, lenNdtMsg) }

func uint64Attr(v uint64) []byte { return binary.NativeEndian.AppendUint64(nil, v) }
