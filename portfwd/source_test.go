package portfwd

import (
	"net/netip"
	"testing"
)

func TestChoose(t *testing.T) {
	f := New(Options{Gateway: &testGateway{}, Subnets: subnets})
	for client, own := range map[string]bool{
		"198.51.100.7": true, "10.0.1.2": true, "172.17.0.1": true, "100.64.0.1": true,
		"127.0.0.1": false, "127.9.9.9": false, "0.0.0.0": false, "0.1.2.3": false, "169.254.1.1": false,
		"224.0.0.1": false, "255.255.255.255": false,
		"10.0.0.1": false, "10.0.0.2": false, "10.0.0.99": false, "10.0.0.255": false,
		"2001:db8::7": true, "fd00:11::1": true,
		"::1": false, "::": false, "fe80::1": false, "fe80::1%lo": false, "ff02::1": false, "ff0e::1": false,
		"fd00:10::1": false, "fd00:10::99": false,
	} {
		a := netip.AddrPortFrom(netip.MustParseAddr(client), 4000)
		for _, c := range []struct{ container, gateway netip.Addr }{{container4, gw4}, {container6, gw6}} {
			want, wantOwn := netip.AddrPortFrom(c.gateway, 0), false
			if own && a.Addr().Is4() == c.container.Is4() {
				want, wantOwn = a, true
			}
			if got, isOwn, ok := f.choose(a, c.container); got != want || isOwn != wantOwn || !ok {
				t.Errorf("client %s to %v: %v, %v, %v, want %v", client, c.container, got, isOwn, ok, want)
			}
		}
	}
	v4only := New(Options{Gateway: oneGateway{&testGateway{}, gw4}})
	if _, _, ok := v4only.choose(netip.MustParseAddrPort("127.0.0.1:1"), container6); ok {
		t.Error("a source without a gateway of the family")
	}
}
