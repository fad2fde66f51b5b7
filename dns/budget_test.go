//go:build !race

package dns

import (
	"testing"

	miekg "github.com/miekg/dns"
)

// The one allocation is the name as a string, which zones are asked with. (Not
// under the race detector: it makes sync.Pool forget on purpose.)
func TestContainerNameBudget(t *testing.T) {
	s := newServer(t, Options{Zone: myBridge(), Subnets: subnets})
	q := question("c3.my_bridge.", miekg.TypeA)
	q.SetEdns0(1232, false)
	query := pack(t, q)
	replies := 0
	reply := func([]byte) { replies++ }
	if got := testing.AllocsPerRun(1000, func() { s.HandleDatagram(client1, query, reply) }); got > 1 {
		t.Errorf("%v allocations for a container's A question, budget 1", got)
	}
	if replies == 0 {
		t.Error("nothing was answered")
	}
}
