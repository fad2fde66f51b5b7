package plane

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// A container's connection is known by where it comes from, from before it is there to its
// end, and nobody else's is.
func TestHairpins(t *testing.T) {
	var h hairpins
	for _, v4 := range []bool{true, false} {
		family := unix.AF_INET6
		if v4 {
			family = unix.AF_INET
		}
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		from, err := h.Bind(fd, v4)
		if err != nil || !from.Addr().IsLoopback() || from.Addr().Is4() != v4 || from.Port() == 0 {
			t.Fatalf("bound to %v, %v", from, err)
		}
		if !h.has(from) || h.has(netip.AddrPortFrom(from.Addr(), from.Port()+1)) {
			t.Error("it is not known, or another is")
		}
		h.Forget(from)
		if h.has(from) {
			t.Error("it is known after its end")
		}
		if _, err := h.Bind(fd, v4); err == nil {
			t.Error("bound twice")
		}
	}
}
