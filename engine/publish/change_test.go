package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/network"
)

// text writes what is published as "-p" would, sorted.
func text(t *testing.T, o Options) string {
	t.Helper()
	o.Default = any46
	requests, err := Requests(o)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range requests {
		host := ""
		if r.Asked.HostIP.IsValid() {
			host = r.Asked.HostIP.String() + ":"
		}
		out = append(out, fmt.Sprintf("%s%s:%v", host, r.Asked.HostPort, r.Port))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// ports makes a map of words like "80/tcp", "80/tcp=8000", "80/tcp=127.0.0.1 8000".
func ports(words ...string) network.PortMap {
	out := network.PortMap{}
	for _, w := range words {
		port, at, given := strings.Cut(w, "=")
		p := network.MustParsePort(port)
		if !given {
			out[p] = nil
			continue
		}
		host, number, both := strings.Cut(at, " ")
		if !both {
			host, number = "", host
		}
		b := network.PortBinding{HostPort: number}
		if host != "" {
			b.HostIP = netip.MustParseAddr(host)
		}
		out[p] = append(out[p], b)
	}
	return out
}

func exposed(words ...string) network.PortSet {
	out := network.PortSet{}
	for _, w := range words {
		out[network.MustParsePort(w)] = struct{}{}
	}
	return out
}

func TestWith(t *testing.T) {
	for _, tt := range []struct {
		what string
		o    Options
		more network.PortMap
		want string
	}{
		{"the first", Options{}, ports("80/tcp=8000"), "8000:80/tcp"},
		{"another", Options{Bindings: ports("80/tcp=8000")}, ports("80/tcp=8001", "53/udp=53"), "53:53/udp 8000:80/tcp 8001:80/tcp"},
		{"the same again", Options{Bindings: ports("80/tcp=8000")}, ports("80/tcp=8000-8000"), "8000:80/tcp"},
		{"the same, written otherwise", Options{Bindings: ports("80/tcp=127.0.0.1 8000")}, ports("80/tcp=::ffff:127.0.0.1 8000"), "127.0.0.1:8000:80/tcp"},
		{"any port", Options{Bindings: ports("80/tcp=8000")}, ports("80/tcp"), "8000:80/tcp :80/tcp"},
		{"any port again", Options{Bindings: ports("80/tcp")}, ports("80/tcp=0"), ":80/tcp"},
		{"one that -P publishes", Options{Exposed: exposed("80/tcp", "81/tcp"), All: true}, ports("80/tcp=8000"), "8000:80/tcp :80/tcp :81/tcp"},
		{"one that is exposed only", Options{Exposed: exposed("80/tcp")}, ports("80/tcp=8000"), "8000:80/tcp"},
	} {
		before := text(t, tt.o)
		got, err := tt.o.With(tt.more)
		if err != nil {
			t.Errorf("%s: %v", tt.what, err)
			continue
		}
		words := strings.Fields(tt.want)
		slices.Sort(words)
		if s := text(t, got); s != strings.Join(words, " ") {
			t.Errorf("%s: %q, want %q", tt.what, s, tt.want)
		}
		if after := text(t, tt.o); after != before {
			t.Errorf("%s: what there was became %q", tt.what, after)
		}
	}
	for _, bad := range []network.PortMap{ports("80/sctp"), ports("80/tcp=x"), ports("80/tcp=224.0.0.1 80")} {
		if _, err := (Options{Bindings: ports("80/tcp=8000")}).With(bad); !errors.Is(err, ErrSpec) {
			t.Errorf("%v: %v, want ErrSpec", bad, err)
		}
	}
}

func TestWithout(t *testing.T) {
	// Whatever was asked for without a port, or as a range, has 49153.
	bound := func(id ID) []netip.AddrPort {
		first, last, err := HostPorts(id.Asked.HostPort)
		if err == nil && first == last && first != 0 {
			at := any46[0]
			if id.Asked.HostIP.IsValid() {
				at = id.Asked.HostIP
			}
			return []netip.AddrPort{netip.AddrPortFrom(at, first)}
		}
		return []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:49153")}
	}
	o := Options{
		Bindings: ports("80/tcp=8000", "80/tcp=127.0.0.1 9000", "80/tcp=7000-7010", "443/tcp", "53/udp=53"),
		Exposed:  exposed("80/tcp", "25/tcp", "110/tcp"), All: true,
	}
	const all = "53:53/udp 8000:80/tcp 127.0.0.1:9000:80/tcp 7000-7010:80/tcp :443/tcp :25/tcp :110/tcp"
	for _, tt := range []struct {
		less network.PortMap
		gone string
	}{
		{ports("80/tcp=8000"), "8000:80/tcp"},
		{ports("80/tcp=9000"), "127.0.0.1:9000:80/tcp"},
		{ports("80/tcp=127.0.0.1 9000"), "127.0.0.1:9000:80/tcp"},
		{ports("80/tcp=127.0.0.1 "), "127.0.0.1:9000:80/tcp"},
		{ports("80/tcp=0.0.0.0 8000"), "8000:80/tcp"}, // bound there, and at ::
		{ports("443/tcp=0.0.0.0 49153"), ":443/tcp"},
		{ports("80/tcp=7000-7010"), "7000-7010:80/tcp"},
		{ports("80/tcp=49153"), "7000-7010:80/tcp"},
		{ports("80/tcp"), "8000:80/tcp 127.0.0.1:9000:80/tcp 7000-7010:80/tcp"},
		{ports("80/tcp=8000", "80/tcp=9000"), "8000:80/tcp 127.0.0.1:9000:80/tcp"},
		{ports("443/tcp", "53/udp=53"), ":443/tcp 53:53/udp"},
		{ports("443/tcp=49153"), ":443/tcp"},
		{ports("25/tcp"), ":25/tcp"}, // of -P
		{ports("110/tcp=49153", "25/tcp"), ":110/tcp :25/tcp"},
	} {
		got, err := o.Without(tt.less, bound)
		if err != nil {
			t.Errorf("%v: %v", tt.less, err)
			continue
		}
		want := strings.Fields(all)
		for _, gone := range strings.Fields(tt.gone) {
			want = slices.DeleteFunc(want, func(w string) bool { return w == gone })
		}
		slices.Sort(want)
		if s := text(t, got); s != strings.Join(want, " ") {
			t.Errorf("%v: left is %q, want %q", tt.less, s, strings.Join(want, " "))
		}
	}
	for _, tt := range []struct {
		less network.PortMap
		kind error
		text string
	}{
		{ports("81/tcp"), ErrNone, "no public port '81/tcp' published"},
		{ports("80/udp"), ErrNone, "no public port '80/udp' published"},
		{ports("80/tcp=8001"), ErrNone, "no public port '80/tcp' published at host port 8001"},
		{ports("80/tcp=127.0.0.2 9000"), ErrNone, "at 127.0.0.2:9000"},
		{ports("80/tcp=::1 "), ErrNone, "at [::1]:any port"},
		{ports("80/tcp=0.0.0.0 9000"), ErrNone, "at 0.0.0.0:9000"},
		{ports("80/tcp=127.0.0.1 8000"), ErrNone, "at 127.0.0.1:8000 alone: it is published on all addresses together"},
		{ports("80/tcp=8000", "80/tcp=8001"), ErrNone, "8001"},
		{ports("80/sctp"), ErrSpec, "SCTP"},
		{ports("80/tcp=x"), ErrSpec, `host port "x"`},
	} {
		if _, err := o.Without(tt.less, bound); !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%v: %v, want %v: %q", tt.less, err, tt.kind, tt.text)
		}
	}
	want := strings.Fields(all)
	slices.Sort(want)
	if s := text(t, o); s != strings.Join(want, " ") {
		t.Errorf("what there was became %q", s)
	}
}

// Whatever a client asks for: what is added is there, and can be taken away again, and
// what there was is not changed.
func FuzzChange(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"80/tcp":[{"HostPort":"8000"}]}`, `{"80/tcp":null,"53/udp":[{"HostIp":"::1","HostPort":"53-55"}]}`},
		{`{"80/tcp":[{"HostPort":"x"}]}`, `{"80/tcp":[{"HostIp":"::ffff:127.0.0.1","HostPort":"0"}]}`},
		{`{}`, `{"80/sctp":[]}`}, {`{"90/tcp":[]}`, `{"90/tcp":[{"HostIp":"fe80::1%eth0"}]}`},
	} {
		f.Add(seed[0], seed[1], true)
	}
	f.Fuzz(func(t *testing.T, haveJSON, moreJSON string, all bool) {
		var have, more network.PortMap
		if json.Unmarshal([]byte(haveJSON), &have) != nil || json.Unmarshal([]byte(moreJSON), &more) != nil || len(more) == 0 {
			return
		}
		o := Options{Bindings: have, Exposed: exposed("90/tcp", "91/udp"), All: all}
		before := fmt.Sprint(o)
		with, err := o.With(more)
		if err != nil {
			if !errors.Is(err, ErrSpec) {
				t.Errorf("%v with %v: %v", have, more, err)
			}
			return
		}
		asked, err := Requests(Options{Bindings: more})
		if err != nil {
			t.Fatalf("%v was taken and is %v", more, err)
		}
		for _, r := range asked {
			if !with.Has(r.ID) {
				t.Errorf("%v with %v lacks %v", have, more, r.ID)
			}
		}
		without, err := with.Without(more, func(ID) []netip.AddrPort { return nil })
		if err != nil {
			t.Fatalf("%v with %v, and without it: %v", have, more, err)
		}
		for _, r := range asked {
			if without.Has(r.ID) {
				t.Errorf("%v is left of %v", r.ID, more)
			}
		}
		if now := fmt.Sprint(o); now != before {
			t.Errorf("%s became %s", before, now)
		}
	})
}
