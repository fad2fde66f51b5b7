package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	miekg "github.com/miekg/dns"
)

func TestNames(t *testing.T) {
	a, b := netip.MustParseAddr("172.20.0.5"), netip.MustParseAddr("172.20.0.6")
	n := NewNames("My_Bridge")
	n.Add("1", []string{"Web", "web", "api."}, []netip.Addr{a, a})
	n.Add("2", []string{"api"}, []netip.Addr{b})
	n.Add("3", []string{"bare"}, nil)

	lookups := []struct {
		name string
		want []netip.Addr
		ok   bool
	}{
		{"web", []netip.Addr{a}, true},
		{"web.my_bridge", []netip.Addr{a}, true},
		{"web.other", nil, false},
		{"api", []netip.Addr{a, b}, true},
		{"api.my_bridge", []netip.Addr{a, b}, true},
		{"bare", nil, true},
		{"my_bridge", nil, false},
		{".my_bridge", nil, false},
		{"", nil, false},
	}
	for _, l := range lookups {
		if got, ok := n.Lookup(l.name); ok != l.ok || !slices.Equal(got, l.want) {
			t.Errorf("Lookup(%q) = %v, %v; want %v, %v", l.name, got, ok, l.want, l.ok)
		}
	}
	if got, ok := n.Reverse(a); got != "Web.My_Bridge" || !ok {
		t.Errorf("Reverse(%v) = %q, %v", a, got, ok)
	}
	if got, ok := n.Reverse(netip.MustParseAddr("::ffff:172.20.0.6")); got != "api.My_Bridge" || !ok {
		t.Errorf("4-in-6 address: %q, %v", got, ok)
	}

	n.Remove("1")
	n.Remove("1")
	n.Remove("nobody")
	if got, ok := n.Lookup("api"); !ok || !slices.Equal(got, []netip.Addr{b}) {
		t.Errorf("after one owner left, api = %v, %v", got, ok)
	}
	if _, ok := n.Lookup("web"); ok {
		t.Error("web is still there after its owner left")
	}
	if _, ok := n.Reverse(a); ok {
		t.Error("the address still has a name after its owner left")
	}
}

func TestAddReplacesWhatTheOwnerHad(t *testing.T) {
	n := myBridge()
	moved := netip.MustParseAddr("172.20.0.9")
	n.Add("ep3", []string{"c4"}, []netip.Addr{moved})
	if _, ok := n.Lookup("c3"); ok {
		t.Error("the old name is still there")
	}
	if _, ok := n.Reverse(c3v4); ok {
		t.Error("the old address still has a name")
	}
	if got, _ := n.Lookup("c4"); !slices.Equal(got, []netip.Addr{moved}) {
		t.Errorf("c4 = %v", got)
	}
}

func TestAddressThatMovedOnKeepsItsNewName(t *testing.T) {
	n := NewNames("net")
	n.Add("old", []string{"a"}, []netip.Addr{c3v4})
	n.Add("new", []string{"b"}, []netip.Addr{c3v4})
	n.Remove("old")
	if got, _ := n.Reverse(c3v4); got != "b.net" {
		t.Errorf("Reverse = %q, want b.net", got)
	}
}

func TestNamesThatCannotBeAsked(t *testing.T) {
	long := strings.Repeat("x", 64)
	n := NewNames("net")
	n.Add("1", []string{"", ".", "a..b", `a\.b`, long + ".b", "good"}, []netip.Addr{c3v4})
	for _, name := range []string{"", "a..b", `a\.b`, "a.b", long + ".b"} {
		if _, ok := n.Lookup(name); ok {
			t.Errorf("Lookup(%q) finds something", name)
		}
	}
	if got, _ := n.Reverse(c3v4); got != "good.net" {
		t.Errorf("Reverse = %q, want the first name that can be written", got)
	}
}

// A name that is too long to be asked for is known to aliases, and an address does not lead back to it.
func TestALongNameIsForAliases(t *testing.T) {
	n := NewNames("net")
	long := strings.Repeat("0123456789abcdef", 4)
	n.Add("1", []string{long}, []netip.Addr{c3v4})
	if got, ok := n.Lookup(long); !ok || !slices.Equal(got, []netip.Addr{c3v4}) {
		t.Errorf("Lookup = %v, %v", got, ok)
	}
	if got, ok := n.Reverse(c3v4); ok {
		t.Errorf("Reverse = %q", got)
	}
	s := newServer(t, Options{Zone: n, Client: func(netip.Addr) Client {
		return Client{Aliases: map[string]Alias{"db": {Zone: n, Name: long}}}
	}})
	if got := addrsOf(ask(t, s, client1, question("db.", miekg.TypeA))); !slices.Equal(got, []netip.Addr{c3v4}) {
		t.Errorf("by an alias: %v", got)
	}
}

func TestNamesWithoutNetworkName(t *testing.T) {
	n := NewNames("")
	n.Add("1", []string{"a"}, []netip.Addr{c3v4})
	if got, _ := n.Reverse(c3v4); got != "a" {
		t.Errorf("Reverse = %q, want a", got)
	}
}

func TestNamesFromManyGoroutines(t *testing.T) {
	n := NewNames("net")
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			id := fmt.Sprint(g)
			for i := range 200 {
				addr := netip.AddrFrom4([4]byte{10, 0, byte(g), byte(i)})
				n.Add(id, []string{"all", "n" + id}, []netip.Addr{addr})
				for range 3 {
					if got, ok := n.Lookup("all"); !ok || !slices.Contains(got, addr) {
						t.Errorf("all = %v, %v; %v is missing", got, ok, addr)
					}
				}
				n.Remove(id)
			}
		})
	}
	wg.Wait()
	if got, ok := n.Lookup("all"); ok {
		t.Errorf("when all have left, all = %v", got)
	}
}
