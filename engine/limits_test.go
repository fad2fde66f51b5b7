package engine

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// Each limit is read into a field of its own, its bounds are kept, and the
// refusal names option, value and range.
func TestLimitsAreParsed(t *testing.T) {
	seen := map[string]string{}
	for _, l := range limits {
		for _, n := range []int{l.least, l.most} {
			got, err := parseLimits(map[string]string{limitPrefix + l.name: fmt.Sprint(n), "other": "x"})
			if err != nil || *l.fieldOf(&got) != n {
				t.Errorf("%s=%d: %+v, %v", l.name, n, got, err)
			}
			*l.fieldOf(&got) = 0
			if got != (Limits{}) {
				t.Errorf("%s sets more than its field: %+v", l.name, got)
			}
		}
		var marked Limits
		*l.fieldOf(&marked) = 1
		if key := fmt.Sprint(marked); seen[key] != "" {
			t.Errorf("%s and %s are one field", l.name, seen[key])
		} else {
			seen[key] = l.name
		}
		for _, bad := range []string{fmt.Sprint(l.least - 1), fmt.Sprint(l.most + 1), "", "many", "1e3", "-1", "99999999999999999999", " 5"} {
			_, err := parseLimits(map[string]string{limitPrefix + l.name: bad})
			if err == nil {
				t.Errorf("%s=%q is taken", l.name, bad)
				continue
			}
			for _, part := range []string{limitPrefix + l.name, fmt.Sprintf("%q", bad), fmt.Sprint(l.least), fmt.Sprint(l.most), l.unit} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not name %s", err, part)
				}
			}
		}
	}
	if _, err := parseLimits(map[string]string{limitPrefix + "tpc": "5"}); err == nil || !strings.Contains(err.Error(), limitPrefix+"tcp") {
		t.Errorf("an unknown limit: %v", err)
	}
}

func TestLimitsOfAnEndpoint(t *testing.T) {
	n := &NetworkDef{Name: "n", Options: map[string]string{limitPrefix + "tcp": "100", limitPrefix + "udp": "200", optMTU: "1500"}}
	a := &Attachment{DriverOpts: map[string]string{limitPrefix + "udp": "5", optIfname: "net0"}}
	got, err := endpointLimits(n, a)
	if want := (Limits{TCP: 100, UDP: 5}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

// Options reach the endpoint of a container that runs, are shown where Docker
// shows them, and what is wrong in them is refused before anything is made.
func TestLimitOptionsFromEndToEnd(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	_, err := e.NetworkCreate(context.Background(), network.CreateRequest{Name: "bad", Options: map[string]string{limitPrefix + "dns": "0"}})
	if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), limitPrefix+`dns="0"`) {
		t.Errorf("network: %v", err)
	}
	e.testNetwork(t, network.CreateRequest{Name: "net", Options: map[string]string{limitPrefix + "half_open": "7"}})
	opts := func(m map[string]string) map[string]*network.EndpointSettings {
		return map[string]*network.EndpointSettings{"net": {DriverOpts: m}}
	}
	_, err = e.testCreate(spec{name: "bad", mode: "net", nets: opts(map[string]string{limitPrefix + "tcp": "lots"})})
	if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), limitPrefix+`tcp="lots"`) {
		t.Errorf("endpoint: %v", err)
	}
	e.testRun(t, spec{name: "c", mode: "net", nets: opts(map[string]string{limitPrefix + "tcp": "9", optNested: "true"})})
	check := func() {
		t.Helper()
		c, _ := e.container("c")
		ep := c.def.Attachments[0].Endpoint
		if want := (Limits{HalfOpen: 7, TCP: 9}); ep.Limits != want || !ep.More.Nested {
			t.Errorf("endpoint %+v, want %+v", ep, want)
		}
		in := e.testInspect(t, "c")
		if got := in.NetworkSettings.Networks["net"].DriverOpts[limitPrefix+"tcp"]; got != "9" {
			t.Errorf("inspect shows %q", got)
		}
		nw, err := e.NetworkInspect(context.Background(), "net", api.NetworkInspectOptions{})
		if err != nil || nw.Options[limitPrefix+"half_open"] != "7" {
			t.Errorf("network inspect shows %v, %v", nw.Options, err)
		}
	}
	check()
	e = w.restart(e)
	check()
	e.testStop(t, "c")
	w.checkClean(e)
}

func TestMoreAddressesAreParsed(t *testing.T) {
	n := &NetworkDef{Name: "n", Subnets: []SubnetDef{
		{Prefix: netip.MustParsePrefix("10.7.0.0/24"), Gateway: netip.MustParseAddr("10.7.0.1")},
		{Prefix: netip.MustParsePrefix("fd00:7::/64"), Gateway: netip.MustParseAddr("fd00:7::1")},
	}}
	many := strings.Builder{}
	for i := range maxMore + 1 {
		fmt.Fprintf(&many, "10.7.0.%d;", i+2)
	}
	for _, test := range []struct {
		list, want string // want: the prefixes, or a part of the refusal
		ok         bool
	}{
		{"10.7.0.9", "[10.7.0.9/32]", true},
		{"10.7.0.9; 10.7.0.16/28,fd00:7::9 10.7.0.9", "[10.7.0.9/32 10.7.0.16/28 fd00:7::9/128]", true},
		{"", "list of addresses", false},
		{" ; ", "list of addresses", false},
		{"10.8.0.9", "not inside a subnet of network n (10.7.0.0/24, fd00:7::/64)", false},
		{"10.7.0.0/16", "not inside", false},
		{"10.7.0.0/24", "gateway's address 10.7.0.1", false},
		{"10.7.0.1", "gateway's address", false},
		{"fd00:7::/127", "gateway's address fd00:7::1", false},
		{"10.7.0.255", "no station's", false},
		{"10.7.0.9/28", "should be 10.7.0.0/28", false},
		{"::ffff:10.7.0.9", "plain IPv4", false},
		{"fe80::1%eth0", "not inside", false},
		{"web", "neither", false},
		{many.String(), "more than 64", false},
	} {
		m, err := parseMore(n, map[string]string{optAddresses: test.list})
		switch {
		case test.ok && (err != nil || fmt.Sprint(m.Addresses) != test.want):
			t.Errorf("%q: %v, %v, want %s", test.list, m.Addresses, err, test.want)
		case !test.ok && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), optAddresses)):
			t.Errorf("%q: %v, want %q", test.list, err, test.want)
		}
	}
	for v, want := range map[string]bool{"": false, "false": false, "true": true} {
		if m, err := parseMore(n, map[string]string{optNested: v}); err != nil || m.Nested != want {
			t.Errorf("%s=%q: %+v, %v", optNested, v, m, err)
		}
	}
	if _, err := parseMore(n, map[string]string{optNested: "yes"}); err == nil || !strings.Contains(err.Error(), optNested) {
		t.Errorf("nested=yes: %v", err)
	}
}

// What a container claims beside its own addresses is given to no other one, may
// be claimed twice, and cannot be another's own.
func TestMoreAddressesAreKept(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net", IPAM: subnet("10.7.0.0/24")})
	more := func(list string) map[string]*network.EndpointSettings {
		return map[string]*network.EndpointSettings{"net": {DriverOpts: map[string]string{optAddresses: list}}}
	}
	e.testRun(t, spec{name: "a", mode: "net", nets: more("10.7.0.3;10.7.0.8/29")})
	e.testRun(t, spec{name: "b", mode: "net", nets: more("10.7.0.3")}) // would have had .3
	for name, want := range map[string]string{"a": "10.7.0.2", "b": "10.7.0.4"} {
		if got := e.testInspect(t, name).NetworkSettings.Networks["net"].IPAddress.String(); got != want {
			t.Errorf("%s has %s, want %s", name, got, want)
		}
	}
	fixed := map[string]*network.EndpointSettings{"net": {IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr("10.7.0.9")}}}
	for name, nets := range map[string]map[string]*network.EndpointSettings{"c": fixed, "d": more("10.7.0.4")} {
		if _, err := e.testCreate(spec{name: name, mode: "net", nets: nets}); err != nil {
			t.Fatal(err)
		}
		err := e.ContainerStart(context.Background(), name)
		if err == nil || !strings.Contains(err.Error(), optAddresses) || !strings.Contains(err.Error(), "container") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"a", "b"} {
		e.testStop(t, name)
	}
	w.checkClean(e)
}
