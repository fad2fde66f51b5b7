package forwarder

import (
	"fmt"
	"os"
	"sync"

	"github.com/footbridge-net/footbridge/internal/share"
)

// What the flows of all Forwarders take from the whole process is shared among
// containers: one that takes too much takes it from other networks, published
// ports and names.
var (
	// descriptors: half of the process's open files is for published ports
	// (portfwd.NewBudget), a sixteenth for names (package dns); a sixteenth stays
	// for devices, listeners and the rest.
	descriptors = share.New(share.OpenFiles() * 3 / 8)
	// ephemeral: each mapping binds a port that the kernel chooses, and has it
	// for itself on all of the host's addresses. The other half is the host's.
	ephemeral = sync.OnceValue(func() *share.Pool { return share.New(ephemeralPorts() / 2) })
)

// Settle looks how many ports the kernel chooses from, unless the first New has: for a process that may
// not look any more by then.
func Settle() { ephemeral() }

// ephemeralPorts is how many ports the kernel chooses from.
func ephemeralPorts() int {
	const usual = 60999 - 32768 + 1 // Linux's default
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return usual
	}
	return portsIn(string(b), usual)
}

// portsIn reads a range of ports as the kernel writes it.
func portsIn(text string, otherwise int) int {
	var first, last int
	if n, _ := fmt.Sscan(text, &first, &last); n != 2 || first <= 0 || last < first || last > 65535 {
		return otherwise
	}
	return last - first + 1
}
