package netavark

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

func subnets(n Network) string {
	var out []string
	for _, s := range n.Subnets {
		out = append(out, s.Subnet.String()+" "+s.Gateway.String())
	}
	return strings.Join(out, ", ")
}

func TestANetworkIsCompleted(t *testing.T) {
	for _, c := range []struct {
		name     string
		given    Network
		want     string
		chosen   bool
		wantIPv6 bool
	}{
		{"a subnet of the host part too", Network{Subnets: []Subnet{{Subnet: netip.MustParsePrefix("10.1.2.3/24")}}}, "10.1.2.0/24 10.1.2.1", false, false},
		{"a gateway of the user's", Network{Subnets: []Subnet{{Subnet: netip.MustParsePrefix("10.1.2.0/24"), Gateway: netip.MustParseAddr("10.1.2.9")}}}, "10.1.2.0/24 10.1.2.9", false, false},
		{"internal networks have their gateway's address, too", Network{Internal: true, Subnets: []Subnet{{Subnet: netip.MustParsePrefix("10.1.2.0/24")}}}, "10.1.2.0/24 10.1.2.1", false, false},
		{"a subnet of IPv6 means it", Network{Subnets: []Subnet{{Subnet: netip.MustParsePrefix("fd00::/64")}}}, "fd00::/64 fd00::1", false, true},
	} {
		n := c.given
		n.Name, n.ID = "n", "1"
		chosen, err := n.Complete(nil, 0)
		if err != nil || chosen != c.chosen || n.IPv6 != c.wantIPv6 || subnets(n) != c.want || n.IPAM["driver"] != "host-local" {
			t.Errorf("%s: %s, chosen %v, IPv6 %v, %v, %v; want %s", c.name, subnets(n), chosen, n.IPv6, n.IPAM, err, c.want)
		}
	}
}

// A chosen subnet follows from the id, shares nothing with those that are taken, and is
// another one at the next attempt.
func TestSubnetsAreChosen(t *testing.T) {
	choose := func(id string, taken []netip.Prefix, attempt int) Network {
		n := Network{Name: "n", ID: id, IPv6: true}
		chosen, err := n.Complete(taken, attempt)
		if err != nil || !chosen || len(n.Subnets) != 2 {
			t.Fatalf("%v, %v, %v", subnets(n), chosen, err)
		}
		return n
	}
	first := choose("a", nil, 0)
	p4, p6 := first.Subnets[0].Subnet, first.Subnets[1].Subnet
	if !netip.MustParsePrefix("10.0.0.0/8").Contains(p4.Addr()) || p4.Bits() != 24 || p4.Addr().As4()[1] < 89 ||
		!netip.MustParsePrefix("fd00::/8").Contains(p6.Addr()) || p6.Bits() != 64 || p4 != p4.Masked() || p6 != p6.Masked() {
		t.Errorf("%v and %v are not of the pools", p4, p6)
	}
	if again := choose("a", nil, 0); subnets(again) != subnets(first) {
		t.Errorf("%v, and then %v", subnets(first), subnets(again))
	}
	for what, other := range map[string]Network{
		"another network": choose("b", nil, 0), "another attempt": choose("a", nil, 1), "where it is taken": choose("a", []netip.Prefix{p4, p6}, 0),
	} {
		for i := range other.Subnets {
			if other.Subnets[i].Subnet.Overlaps(first.Subnets[i].Subnet) {
				t.Errorf("%s: %v as well", what, other.Subnets[i].Subnet)
			}
		}
	}
	n := Network{Name: "n", ID: "a"}
	if _, err := n.Complete(prefixes("0.0.0.0/0"), 0); !errors.Is(err, ErrNoSubnet) {
		t.Errorf("all is taken: %v", err)
	}
}

func TestWhatIsNotThereIsRefused(t *testing.T) {
	two := []Subnet{{Subnet: netip.MustParsePrefix("10.0.0.0/24")}, {Subnet: netip.MustParsePrefix("10.0.1.0/24")}}
	for want, n := range map[string]Network{
		"--ipam-driver dhcp":     {IPAM: map[string]string{"driver": "dhcp"}},
		"--interface-name br0":   {Interface: "br0"},
		"--route":                {Routes: []json.RawMessage{[]byte("{}")}},
		"isolate=false":          {Options: map[string]string{"isolate": "false"}},
		"no_default_route=true":  {Options: map[string]string{"no_default_route": "true"}},
		"two subnets of a famil": {Subnets: two},
	} {
		n.Name, n.ID = "n", "1"
		if _, err := n.Complete(nil, 0); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestPodmansOwnSubnetsAreFound(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, ".local/share/containers/storage/networks")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"a.json": `{"name":"a","id":"1","subnets":[{"subnet":"10.93.5.0/24"},{"subnet":"fd93::/64"}]}`,
		"b.json": `{`, "c.txt": `{"subnets":[{"subnet":"10.94.5.0/24"}]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, env := range []map[string]string{{"HOME": home}, {"HOME": "/", "XDG_DATA_HOME": home + "/.local/share"}} {
		var found []string
		for _, p := range Taken(func(k string) string { return env[k] }) {
			if p != netip.MustParsePrefix("10.94.5.0/24") {
				found = append(found, p.String())
			} else {
				t.Error("a file that is no network was read")
			}
		}
		if got := strings.Join(found, " "); !strings.Contains(got, "10.93.5.0/24 fd93::/64") {
			t.Errorf("%v: %s", env, got)
		}
	}
}
