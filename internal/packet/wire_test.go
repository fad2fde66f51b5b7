package packet

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// wire reads bytes as they stand on the wire, in hexadecimal, with white space
// between them where it helps.
func wire(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return b
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// gvisor gives the address as gVisor writes it, whose header package is asked
// for a second opinion.
func gvisor(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }
