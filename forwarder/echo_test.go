package forwarder

import (
	"net/netip"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
)

func TestPingReachesTheOutsideAndComesBackWithItsOwnIdentifier(t *testing.T) {
	for _, c := range []struct{ ctr, host netip.Addr }{{ctr4, host4}, {ctr6, host6}} {
		f, g := newWorld(t, Limits{})
		f.HandleEcho(packet.Echo{Src: c.ctr, Dst: c.host, ID: 77, Seq: 3, TTL: 64, Data: []byte("ping")})
		want := reply{src: c.host, dst: c.ctr, id: 77, seq: 3, data: "ping"}
		if got := wait(t, g.echo, "an echo reply"); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestPingOfAnUnreachableAddressIsToldByICMP(t *testing.T) {
	f, g := newWorld(t, Limits{})
	f.HandleEcho(packet.Echo{Src: ctr4, Dst: nowhere4, ID: 1, Seq: 1, TTL: 64})
	if e := wait(t, g.icmp, "host unreachable"); e.e != packet.HostUnreachable(true) {
		t.Errorf("%+v", e.e)
	}
}

func TestPingsEndBySilenceAndAreBounded(t *testing.T) {
	f, g := newWorld(t, Limits{Echo: 2})
	for id := range uint16(4) {
		f.HandleEcho(packet.Echo{Src: ctr4, Dst: host4, ID: id, Seq: 1, TTL: 64})
	}
	if s := f.Stats(); s.Echo != 2 || s.Refused["echo_limit"] != 2 {
		t.Errorf("%+v, want 2 pings and 2 refused", s)
	}
	wait(t, g.echo, "an echo reply")
	wait(t, g.echo, "an echo reply")
	f.expire(time.Now().Add(echoTimeout + time.Second))
	if s := f.Stats(); s.Echo != 0 {
		t.Errorf("%d pings after the timeout", s.Echo)
	}
}
