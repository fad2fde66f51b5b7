package ipam

import (
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

func pfx(s string) netip.Prefix {
	if s == "" {
		return netip.Prefix{}
	}
	return netip.MustParsePrefix(s)
}

func addr(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(s)
}

func TestNewPool(t *testing.T) {
	tests := []struct {
		name                   string
		subnet, rng, gateway   string
		wantGateway, wantFirst string
		want                   error
	}{
		{name: "default bridge", subnet: "172.17.0.0/16", wantGateway: "172.17.0.1", wantFirst: "172.17.0.2"},
		{name: "gateway at the end", subnet: "10.1.0.0/24", gateway: "10.1.0.254", wantGateway: "10.1.0.254", wantFirst: "10.1.0.1"},
		{name: "range holds the gateway", subnet: "10.0.0.0/16", rng: "10.0.5.0/24", wantGateway: "10.0.5.0", wantFirst: "10.0.5.1"},
		{name: "gateway outside the range", subnet: "10.0.0.0/16", rng: "10.0.5.0/24", gateway: "10.0.0.1", wantGateway: "10.0.0.1", wantFirst: "10.0.5.0"},
		{name: "smallest with edges", subnet: "10.0.0.0/30", wantGateway: "10.0.0.1", wantFirst: "10.0.0.2"},
		{name: "point to point", subnet: "10.0.0.0/31", wantGateway: "10.0.0.0", wantFirst: "10.0.0.1"},
		{name: "single address", subnet: "10.0.0.7/32", wantGateway: "10.0.0.7"},
		{name: "v6", subnet: "fd00:1::/64", wantGateway: "fd00:1::1", wantFirst: "fd00:1::2"},
		{name: "v6 point to point", subnet: "fd00:1::/127", wantGateway: "fd00:1::", wantFirst: "fd00:1::1"},
		{name: "v6 64-bit range", subnet: "fd00::/8", rng: "fd12:3456:789a:bcde::/64", wantGateway: "fd12:3456:789a:bcde::", wantFirst: "fd12:3456:789a:bcde::1"},
		{name: "v6 end of space", subnet: "fdff::/127", rng: "fdff::1/128", gateway: "fdff::", wantGateway: "fdff::", wantFirst: "fdff::1"},
		{name: "host bits", subnet: "10.0.0.1/24", want: ErrSubnet},
		{name: "everything", subnet: "0.0.0.0/0", want: ErrSubnet},
		{name: "multicast", subnet: "224.1.0.0/16", want: ErrSubnet},
		{name: "none", want: ErrSubnet},
		{name: "gateway elsewhere", subnet: "10.0.0.0/24", gateway: "10.0.1.1", want: ErrGateway},
		{name: "gateway of the other family", subnet: "10.0.0.0/24", gateway: "fd00::1", want: ErrGateway},
		{name: "gateway is the broadcast address", subnet: "10.0.0.0/24", gateway: "10.0.0.255", want: ErrGateway},
		{name: "range elsewhere", subnet: "10.0.0.0/24", rng: "10.0.1.0/25", want: ErrRange},
		{name: "range wider", subnet: "10.0.0.0/24", rng: "10.0.0.0/16", want: ErrRange},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := NewPool(Config{Subnet: pfx(tt.subnet), Range: pfx(tt.rng), Gateway: addr(tt.gateway)})
			if !errors.Is(err, tt.want) {
				t.Fatalf("NewPool: %v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			if p.Gateway() != addr(tt.wantGateway) {
				t.Errorf("gateway %v, want %s", p.Gateway(), tt.wantGateway)
			}
			got, err := p.Next()
			if tt.wantFirst == "" {
				if !errors.Is(err, ErrExhausted) {
					t.Errorf("Next: %v, %v, want %v", got, err, ErrExhausted)
				}
			} else if err != nil || got != addr(tt.wantFirst) {
				t.Errorf("Next: %v, %v, want %s", got, err, tt.wantFirst)
			}
		})
	}
}

// A range may be given by its ends, and parts of it kept for others, whatever their
// size.
func TestRangesAndWhatIsKept(t *testing.T) {
	tests := []struct {
		name, subnet, first, last string
		kept                      []string
		want                      []string // all, or as many as there are here
		free                      uint64   // with the gateway taken
		more                      bool
		shown                     string
		err                       error
	}{
		{name: "ends", subnet: "10.0.0.0/24", first: "10.0.0.10", last: "10.0.0.13", want: []string{"10.0.0.11", "10.0.0.12", "10.0.0.13"}, free: 3, shown: "10.0.0.10-10.0.0.13"},
		{name: "ends of a prefix", subnet: "fd00::/64", first: "fd00::10", last: "fd00::13", want: []string{"fd00::11", "fd00::12", "fd00::13"}, free: 3, shown: "fd00::10/126"},
		{name: "over 64 bits", subnet: "fd00::/32", first: "fd00::ffff:ffff:ffff:fffe", last: "fd00:0:0:1::1", want: []string{"fd00::ffff:ffff:ffff:ffff", "fd00:0:0:1::", "fd00:0:0:1::1"}, free: 3, shown: "fd00::ffff:ffff:ffff:fffe-fd00:0:0:1::1"},
		{name: "kept", subnet: "10.0.0.0/28", kept: []string{"10.0.0.4/30", "10.0.0.8/31"}, want: []string{"10.0.0.2", "10.0.0.3", "10.0.0.10", "10.0.0.11", "10.0.0.12", "10.0.0.13", "10.0.0.14"}, free: 7, shown: "10.0.0.0/28"},
		{name: "kept with the edge", subnet: "10.0.0.0/29", kept: []string{"10.0.0.4/30"}, want: []string{"10.0.0.2", "10.0.0.3"}, free: 2, shown: "10.0.0.0/29"},
		{name: "kept from the start", subnet: "fd00::/16", kept: []string{"fd00::/17"}, want: []string{"fd00:8000::1"}, free: math.MaxUint64, more: true, shown: "fd00::/16"},
		{name: "all kept", subnet: "10.0.0.0/24", kept: []string{"10.0.0.0/24"}, err: ErrExhausted},
		{name: "kept elsewhere", subnet: "10.0.0.0/24", kept: []string{"10.0.1.0/25"}, err: ErrRange},
		{name: "ends elsewhere", subnet: "10.0.0.0/24", first: "10.0.0.3", last: "10.0.1.3", err: ErrRange},
		{name: "ends the wrong way round", subnet: "10.0.0.0/24", first: "10.0.0.3", last: "10.0.0.2", err: ErrRange},
		{name: "ends of two families", subnet: "10.0.0.0/24", first: "10.0.0.3", last: "fd00::1", err: ErrRange},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Config{Subnet: pfx(tt.subnet), First: addr(tt.first), Last: addr(tt.last)}
			for _, k := range tt.kept {
				c.Kept = append(c.Kept, pfx(k))
			}
			p, err := NewPool(c)
			if !errors.Is(err, tt.err) {
				t.Fatalf("NewPool: %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if p.Range() != tt.shown {
				t.Errorf("range %s, want %s", p.Range(), tt.shown)
			}
			if p.Free() != tt.free {
				t.Errorf("%d free, want %d", p.Free(), tt.free)
			}
			for _, want := range tt.want {
				if a, err := p.Next(); err != nil || a != addr(want) {
					t.Errorf("Next: %v, %v, want %s", a, err, want)
				}
			}
			if a, err := p.Next(); !tt.more && !errors.Is(err, ErrExhausted) {
				t.Errorf("one more: %v, %v", a, err)
			}
			for _, k := range c.Kept {
				if err := p.Take(k.Addr()); !errors.Is(err, ErrKept) && !errors.Is(err, ErrReserved) {
					t.Errorf("Take(%v): %v", k.Addr(), err)
				}
			}
		})
	}
	if _, err := NewPool(Config{Subnet: pfx("10.0.0.0/24"), Gateway: addr("10.0.0.9"), Kept: []netip.Prefix{pfx("10.0.0.8/29")}}); !errors.Is(err, ErrGateway) || !errors.Is(err, ErrKept) {
		t.Errorf("a gateway in what is kept: %v", err)
	}
}

// What is avoided for now is given when it need not be avoided any more.
func TestAvoidedIsNotForgotten(t *testing.T) {
	p, err := NewPool(Config{Subnet: pfx("10.0.0.0/29")})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := p.NextOutside([]netip.Prefix{pfx("10.0.0.0/30")}); err != nil || a != addr("10.0.0.4") {
		t.Errorf("outside: %v, %v", a, err)
	}
	if a, err := p.Next(); err != nil || a != addr("10.0.0.2") {
		t.Errorf("inside: %v, %v", a, err)
	}
}

func TestAuxAddressesAreNeverGiven(t *testing.T) {
	p, err := NewPool(Config{
		Subnet: pfx("10.0.0.0/29"),
		Aux:    map[string]netip.Addr{"a": addr("10.0.0.1"), "b": addr("10.0.0.3")},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := []netip.Addr{p.Gateway()}
	for a, err := p.Next(); err == nil; a, err = p.Next() {
		got = append(got, a)
	}
	want := []netip.Addr{addr("10.0.0.2"), addr("10.0.0.4"), addr("10.0.0.5"), addr("10.0.0.6")}
	if !slices.Equal(got, want) {
		t.Errorf("gave %v, want %v", got, want)
	}
	_, err = NewPool(Config{Subnet: pfx("10.0.0.0/29"), Aux: map[string]netip.Addr{"x": addr("10.1.0.1")}})
	if !errors.Is(err, ErrAux) || !errors.Is(err, ErrOutside) {
		t.Errorf("an auxiliary address elsewhere: %v", err)
	}
}

func TestTakeAndRelease(t *testing.T) {
	p, err := NewPool(Config{Subnet: pfx("192.168.9.0/29")})
	if err != nil {
		t.Fatal(err)
	}
	for a, want := range map[string]error{
		"192.168.9.0": ErrReserved, "192.168.9.7": ErrReserved,
		"192.168.9.1": ErrTaken, "192.168.10.1": ErrOutside, "fd00::1": ErrOutside, "192.168.9.3": nil,
	} {
		if err := p.Take(addr(a)); !errors.Is(err, want) {
			t.Errorf("Take(%s): %v, want %v", a, err, want)
		}
	}
	if err := p.Take(addr("192.168.9.3")); !errors.Is(err, ErrTaken) {
		t.Errorf("second Take: %v", err)
	}
	var got []netip.Addr
	for a, err := p.Next(); err == nil; a, err = p.Next() {
		got = append(got, a)
	}
	if want := []netip.Addr{addr("192.168.9.2"), addr("192.168.9.4"), addr("192.168.9.5"), addr("192.168.9.6")}; !slices.Equal(got, want) {
		t.Fatalf("gave %v, want %v", got, want)
	}
	p.Release(addr("192.168.9.5"))
	p.Release(addr("192.168.9.4"))
	p.Release(addr("192.168.9.1")) // the gateway is not anybody's to give back
	if a, err := p.Next(); err != nil || a != addr("192.168.9.4") {
		t.Errorf("after Release: %v, %v, want the lowest free one", a, err)
	}
}

// A pool never gives an address twice, never one that is reserved or outside
// its range, always the lowest free one, and counts right, whatever the order of
// operations. The model is a plain map.
func TestPoolAgainstModel(t *testing.T) {
	for _, subnet := range []string{"10.0.0.0/27", "10.0.0.0/31", "fd00::/123", "255.255.255.240/28"} {
		for seed := range uint64(40) {
			r := rand.New(rand.NewPCG(seed, 7))
			p, err := NewPool(Config{Subnet: pfx(subnet)})
			if err != nil {
				t.Fatal(err)
			}
			var free []netip.Addr
			for a := p.subnet.Addr(); a.IsValid() && p.subnet.Contains(a); a = a.Next() {
				if _, ok := p.reserved[a]; !ok {
					free = append(free, a)
				}
			}
			var used []netip.Addr
			for step := range 300 {
				switch op := r.IntN(5); {
				case op < 2:
					a, err := p.Next()
					if len(free) == 0 {
						if !errors.Is(err, ErrExhausted) {
							t.Fatalf("%s seed %d step %d: Next gave %v from a full pool", subnet, seed, step, a)
						}
						continue
					}
					if err != nil || a != free[0] {
						t.Fatalf("%s seed %d step %d: Next = %v, %v, want %v", subnet, seed, step, a, err, free[0])
					}
					used, free = append(used, a), free[1:]
				case op == 2 && len(free) > 0:
					i := r.IntN(len(free))
					if err := p.Take(free[i]); err != nil {
						t.Fatalf("%s seed %d step %d: Take(%v): %v", subnet, seed, step, free[i], err)
					}
					used, free = append(used, free[i]), slices.Delete(free, i, i+1)
				case len(used) > 0:
					i := r.IntN(len(used))
					p.Release(used[i])
					p.Release(used[i])
					at, _ := slices.BinarySearchFunc(free, used[i], netip.Addr.Compare)
					free, used = slices.Insert(free, at, used[i]), slices.Delete(used, i, i+1)
				}
				if p.Free() != uint64(len(free)) {
					t.Fatalf("%s seed %d step %d: Free = %d, want %d", subnet, seed, step, p.Free(), len(free))
				}
			}
		}
	}
}

func TestHugePoolIsCheap(t *testing.T) {
	p, err := NewPool(Config{Subnet: pfx("fd00::/8"), Range: pfx("fd12::/16")})
	if err != nil {
		t.Fatal(err)
	}
	for range 50_000 {
		if _, err := p.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.Free(); got != math.MaxUint64 {
		t.Errorf("Free = %d, want the largest number", got)
	}
}

func TestNextOutside(t *testing.T) {
	p, err := NewPool(Config{Subnet: netip.MustParsePrefix("fd00::/64")})
	if err != nil {
		t.Fatal(err)
	}
	avoid := []netip.Prefix{netip.MustParsePrefix("fd00::2/127"), netip.MustParsePrefix("fd00::8000:0:0:0/65"), netip.MustParsePrefix("fd00::4/128")}
	for _, want := range []string{"fd00::5", "fd00::6"} {
		if a, err := p.NextOutside(avoid); err != nil || a.String() != want {
			t.Errorf("%v, %v, want %s", a, err, want)
		}
	}
	// What was avoided is still free.
	if a, err := p.Next(); err != nil || a.String() != "fd00::2" {
		t.Errorf("%v, %v, want fd00::2", a, err)
	}
	if _, err := p.NextOutside([]netip.Prefix{netip.MustParsePrefix("fd00::/64")}); !errors.Is(err, ErrExhausted) {
		t.Errorf("everything is avoided: %v", err)
	}
}
