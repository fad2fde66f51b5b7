package publish

import (
	"fmt"
	"net/netip"

	"github.com/moby/moby/api/types/network"
)

// Apart refuses bindings that cannot be together: several container ports at the same
// port of the host. What else stands in their way shows when they are opened. Errors
// wrap ErrSpec.
func Apart(m network.PortMap) error {
	requests, err := Requests(Options{Bindings: m})
	if err != nil {
		return err
	}
	for i, a := range requests {
		for _, b := range requests[:i] {
			if a.First == 0 || a.First != a.Last || a.First != b.First || a.Last != b.Last ||
				a.Port.Proto() != b.Port.Proto() || a.Port == b.Port || !overlap(a.Asked.HostIP, b.Asked.HostIP) {
				continue
			}
			first, second := b.Port, a.Port
			if second.Num() < first.Num() {
				first, second = second, first
			}
			return fmt.Errorf("%w: host port %d is asked for twice, for the container ports %v and %v: choose another one for one of them", ErrSpec, a.First, first, second)
		}
	}
	return nil
}

// overlap: nobody can listen at both of the host's addresses; the zero one
// stands for those of a network, which are known later.
func overlap(a, b netip.Addr) bool {
	switch {
	case a == b:
		return true
	case !a.IsValid() || !b.IsValid() || a.Is4() != b.Is4():
		return false
	}
	return a.IsUnspecified() || b.IsUnspecified()
}
