package main

import (
	"fmt"
	"slices"
)

// mtus are those that are compared: Ethernet's, that of jumbo frames, and the largest that IP and slirp4netns take.
var mtus = []int{1500, 9000, largeMTU}

const largeMTU = 65520

// maxBoxes is how many containers of a system work at the same time, at most.
const maxBoxes = 4

// Units of rows.
const (
	gbps      = "Gbit/s"
	perSecond = "/s"
)

// row is one line of the table: something that is measured of several systems.
type row struct {
	group   string // the path that it is about
	name    string // without the MTU
	mtu     int    // 0 where it makes no difference
	unit    string
	quick   bool     // part of the short form
	lower   bool     // less is better
	systems []string // that may have it; footbridge is one of them
	measure func(b *bench, s system) (sample, error)
}

// title names a row. It is what -run is matched with.
func (r row) title() string {
	if r.mtu == 0 {
		return r.name
	}
	return fmt.Sprintf("%s, MTU %d", r.name, r.mtu)
}

// sample is one measurement of one system.
type sample struct {
	Round int     `json:"round"`
	Value float64 `json:"value"` // in the row's unit
	// What all processors of the machine worked meanwhile: seconds for each GB that was carried, or microseconds for each
	// operation.
	CPU        float64 `json:"cpu,omitempty"`
	P50        float64 `json:"p50_us,omitempty"` // of the latency
	P99        float64 `json:"p99_us,omitempty"`
	Congestion string  `json:"congestion,omitempty"` // control, of the sender
	Note       string  `json:"note,omitempty"`
	// Why it is not the same as the others' and is not compared with, "" where it is.
	Aside string `json:"aside,omitempty"`
}

// allRows in the order of the table.
func allRows() []row {
	return slices.Concat(bulkRows(), udpRows(), latencyRows(), nameRows(), costRows())
}

// measured runs something and says how long all processors have worked meanwhile, in seconds.
func measured[T any](f func() (T, error)) (T, float64, error) {
	var none T
	before, err := busy()
	if err != nil {
		return none, 0, err
	}
	result, err := f()
	if err != nil {
		return none, 0, err
	}
	after, err := busy()
	return result, after - before, err
}
