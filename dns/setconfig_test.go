package dns

import (
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"strconv"
	"sync"
	"testing"

	miekg "github.com/miekg/dns"
)

// The keeper reads the file, the worker is told as JSON.
func TestConfigGoesToAnotherProcess(t *testing.T) {
	r := startResolver(t, answering("203.0.113.7"))
	reader := asking(t, UpstreamOptions{}, r.addr)
	told := asking(t, UpstreamOptions{})
	var calls []Config
	told.Subscribe(func(c Config) { calls = append(calls, c) })

	want := Config{Servers: []netip.AddrPort{r.addr, netip.MustParseAddrPort("[fe80::1%3]:53")}, Search: []string{"corp.example"}, Options: []string{"ndots:2"}}
	reader.SetConfig(want)
	want.Servers = []netip.AddrPort{r.addr} // its own stay
	text, err := json.Marshal(reader.Config())
	must(t, err)
	var got Config
	must(t, json.Unmarshal(text, &got))
	must(t, told.SetConfig(got))
	must(t, told.SetConfig(got))
	if !reflect.DeepEqual(told.Config(), want) || len(calls) != 1 || !reflect.DeepEqual(calls[0], want) {
		t.Errorf("in force: %+v, subscribers were told %+v; want %+v, once", told.Config(), calls, want)
	}
	q := pack(t, question("example.com.", miekg.TypeA))
	if _, err := told.Exchange(t.Context(), q, false); err != nil {
		t.Error(err)
	}
	must(t, told.SetConfig(Config{}))
	if _, err := told.Exchange(t.Context(), q, false); !errors.Is(err, ErrNoServers) {
		t.Errorf("without servers: %v", err)
	}
	for _, bad := range []string{"[fe80::1%eth0]:53", "127.0.0.1:0"} {
		if err := told.SetConfig(Config{Servers: []netip.AddrPort{netip.MustParseAddrPort(bad)}}); err == nil {
			t.Errorf("server %s was accepted", bad)
		}
	}
}

// Under the race detector.
func TestConfigChangesWhileNamesAreAskedFor(t *testing.T) {
	a, b := startResolver(t, answering("203.0.113.7")), startResolver(t, answering("203.0.113.8"))
	u := asking(t, UpstreamOptions{})
	must(t, u.SetConfig(Config{Servers: []netip.AddrPort{a.addr}}))
	q := pack(t, question("example.com.", miekg.TypeA))
	var asked sync.WaitGroup
	for range 4 {
		asked.Go(func() {
			for range 50 {
				if _, err := u.Exchange(t.Context(), q, false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 50 {
		must(t, u.SetConfig(Config{Servers: []netip.AddrPort{[]netip.AddrPort{a.addr, b.addr}[i%2]}}))
	}
	asked.Wait()
}

func TestZonesOfTheFileBecomeNumbers(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	must(t, err)
	c := ParseConfig([]byte("nameserver fe80::1%lo\nnameserver fe80::2%nosuch0\nnameserver 192.0.2.1\n"))
	want := []string{"[fe80::1%" + strconv.Itoa(lo.Index) + "]:53", "192.0.2.1:53"}
	for range 2 { // numbers stay
		c.Servers = numbered(c.Servers)
		if len(c.Servers) != 2 || c.Servers[0].String() != want[0] || c.Servers[1].String() != want[1] {
			t.Errorf("got %v, want %v", c.Servers, want)
		}
	}
}
