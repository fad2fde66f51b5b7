package plane

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/footbridge-net/footbridge/engine/plane/dhcp"
	"github.com/footbridge-net/footbridge/internal/packet"
)

func TestABeaconGoesOnUntilItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		b := newBeacon(time.Hour, func() { n++ })
		time.Sleep(3*time.Hour + time.Minute)
		synctest.Wait()
		if n != 3 {
			t.Errorf("%d times in three hours", n)
		}
		b.stop()
		b.stop()
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if n != 3 {
			t.Errorf("%d times after its end", n-3)
		}
	})
}

func TestABeaconIsStoppedWhileItIsLit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		var b atomic.Pointer[beacon]
		b.Store(newBeacon(time.Hour, func() { n++; b.Load().stop() }))
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		if n != 1 {
			t.Errorf("%d times", n)
		}
	})
}

// discovers reports what a client at the endpoint's MAC would be offered.
func discovers(t *testing.T, p *Plane) netip.Addr {
	t.Helper()
	m, err := dhcpv4.NewDiscovery(link.MAC[:])
	if err != nil {
		t.Fatal(err)
	}
	a, ok := p.config.server.DHCPv4(dhcp.Question{Endpoint: packet.MAC(link.MAC), Station: packet.MAC(link.MAC), Src: netip.IPv4Unspecified(), Message: m.ToBytes()})
	if !ok {
		return netip.Addr{}
	}
	r, err := dhcpv4.FromBytes(a.Message)
	if err != nil {
		t.Fatal(err)
	}
	offered, _ := netip.AddrFromSlice(r.YourIPAddr.To4())
	return offered
}

// An endpoint is known while it has its port; one that is refused changes nothing.
func TestWhoIsConfigured(t *testing.T) {
	p := newPlane(t, Options{Rules: Rules{DHCP: DHCP{On: true}, RA: true}})
	a, b := newGuest(t), newGuest(t)
	if got := discovers(t, p); got.IsValid() {
		t.Errorf("nobody is offered %s", got)
	}
	port, err := a.attach(p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.attach(p); err == nil {
		t.Fatal("two containers have one address")
	}
	if got := discovers(t, p); got != link.Addresses[0].Addr() {
		t.Errorf("it is offered %s", got)
	}
	if err := port.Close(); err != nil {
		t.Fatal(err)
	}
	if got := discovers(t, p); got.IsValid() {
		t.Errorf("who has gone is offered %s", got)
	}
}

func TestWithoutRulesNothingIsConfigured(t *testing.T) {
	if p := newPlane(t, Options{}); p.config != nil {
		t.Error("there is a server")
	}
}
