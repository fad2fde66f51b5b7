package publish

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/network"
)

var any46 = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}

func TestRequests(t *testing.T) {
	p := network.MustParsePort
	lo := netip.MustParseAddr("127.0.0.1")
	got, err := Requests(Options{
		Bindings: network.PortMap{
			p("80/tcp"):  {{HostPort: ""}, {HostIP: lo, HostPort: "8000-8010"}, {HostPort: "8080"}, {HostPort: "0"}, {HostPort: "8080-8080"}},
			p("53/udp"):  {{HostIP: netip.MustParseAddr("::ffff:10.0.0.1"), HostPort: "5353"}},
			p("443/tcp"): nil,
		},
		Exposed: network.PortSet{p("80/tcp"): {}, p("81/tcp"): {}},
		All:     true, Default: any46,
	})
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, r := range got {
		text = append(text, fmt.Sprintf("%v %v %d-%d", r.Port, r.Hosts, r.First, r.Last))
	}
	want := []string{
		"53/udp [10.0.0.1] 5353-5353", "80/tcp [0.0.0.0 ::] 8080-8080", "80/tcp [127.0.0.1] 8000-8010",
		"80/tcp [0.0.0.0 ::] 0-0", "81/tcp [0.0.0.0 ::] 0-0", "443/tcp [0.0.0.0 ::] 0-0",
	}
	if !slices.Equal(text, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(text, "\n"), strings.Join(want, "\n"))
	}
}

func TestRequestsRefuse(t *testing.T) {
	p := network.MustParsePort
	var many []network.PortBinding
	for i := range maxRequests + 1 {
		many = append(many, network.PortBinding{HostPort: fmt.Sprint(i + 1)})
	}
	for what, b := range map[string]network.PortMap{
		"SCTP":      {p("80/sctp"): {{HostPort: "80"}}},
		"dccp":      {p("80/dccp"): {{HostPort: "80"}}},
		"port zero": {p("0/tcp"): nil},
		"nonsense":  {p("80/tcp"): {{HostPort: "http"}}},
		"backwards": {p("80/tcp"): {{HostPort: "9-8"}}},
		"multicast": {p("80/tcp"): {{HostIP: netip.MustParseAddr("224.0.0.1"), HostPort: "80"}}},
		"nothing":   {network.Port{}: nil},
		"no link":   {p("80/tcp"): {{HostIP: netip.MustParseAddr("fe80::1"), HostPort: "80"}}},
		"interface": {p("80/tcp"): {{HostIP: netip.MustParseAddr("::%eth0"), HostPort: "80"}}},
		"mapped":    {p("80/tcp"): {{HostIP: netip.MustParseAddr("::ffff:0.0.0.0%eth0"), HostPort: "80"}}},
		"too many":  {p("80/tcp"): many},
	} {
		if got, err := Requests(Options{Bindings: b, Default: any46}); !errors.Is(err, ErrSpec) {
			t.Errorf("%s: %v, %v, want ErrSpec", what, got, err)
		}
	}
}

func FuzzPortSpec(f *testing.F) {
	for _, s := range []string{"", "0", "80", "8000-8010", "65535-65536", "-1", "1-", "+1", " 1", "0x10", "1-2-3", "00080"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, err := HostPorts(s)
		if err != nil {
			if !errors.Is(err, ErrSpec) || first != 0 || last != 0 {
				t.Fatalf("%q: %d-%d, %v", s, first, last, err)
			}
			return
		}
		if first > last || (first == 0) != (last == 0) {
			t.Fatalf("%q: %d-%d", s, first, last)
		}
		// What was understood, written again, is understood the same.
		again := fmt.Sprintf("%d-%d", first, last)
		if first == last {
			again = fmt.Sprint(first)
		}
		if f2, l2, err := HostPorts(again); err != nil || f2 != first || l2 != last {
			t.Fatalf("%q became %q: %d-%d, %v", s, again, f2, l2, err)
		}
	})
}
