package dns

import (
	"net/netip"
	"strings"
	"testing"

	miekg "github.com/miekg/dns"
)

func TestParseArpa(t *testing.T) {
	for _, s := range []string{"172.20.0.4", "0.0.0.0", "255.255.255.255", "fd00:20::4", "::", "2001:db8::abcd:ef01"} {
		name, err := miekg.ReverseAddr(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := parseArpa(strings.TrimSuffix(name, ".")); !ok || got != netip.MustParseAddr(s) {
			t.Errorf("%s = %v, %v; want %s", name, got, ok, s)
		}
	}
	nibbles := strings.TrimSuffix(strings.Repeat("0.", 32), ".")
	for _, name := range []string{
		"", "c3", "in-addr.arpa", "ip6.arpa", "4.3.2.1",
		"3.2.1.in-addr.arpa", "5.4.3.2.1.in-addr.arpa", "04.3.2.1.in-addr.arpa",
		"256.3.2.1.in-addr.arpa", "x.3.2.1.in-addr.arpa", "::1.in-addr.arpa",
		nibbles[2:] + ".ip6.arpa", "0." + nibbles + ".ip6.arpa",
		"g" + nibbles[1:] + ".ip6.arpa", nibbles[:61] + "0" + nibbles[62:] + ".ip6.arpa",
	} {
		if got, ok := parseArpa(name); ok {
			t.Errorf("%q = %v, want no address", name, got)
		}
	}
}
