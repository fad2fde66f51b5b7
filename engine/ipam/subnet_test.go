package ipam

import (
	"errors"
	"net/netip"
	"testing"
)

func TestNextSubnet(t *testing.T) {
	tests := []struct {
		name  string
		taken []string
		want  string
	}{
		{name: "first", want: "172.17.0.0/16"},
		{name: "in sequence", taken: []string{"172.17.0.0/16"}, want: "172.18.0.0/16"},
		{name: "a hole is filled", taken: []string{"172.17.0.0/16", "172.19.0.0/16"}, want: "172.18.0.0/16"},
		{name: "a small overlap counts", taken: []string{"172.17.9.0/24"}, want: "172.18.0.0/16"},
		{name: "a wide route is stepped over", taken: []string{"172.16.0.0/12"}, want: "192.168.0.0/20"},
		{name: "a home router's network", taken: []string{"172.16.0.0/12", "192.168.0.0/24", "192.168.17.0/24"}, want: "192.168.32.0/20"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var taken []netip.Prefix
			for _, s := range tt.taken {
				taken = append(taken, pfx(s))
			}
			got, err := NextSubnet(DefaultBases(), taken)
			if err != nil || got != pfx(tt.want) {
				t.Errorf("NextSubnet = %v, %v, want %s", got, err, tt.want)
			}
		})
	}
}

func TestNextSubnetRunsOut(t *testing.T) {
	var taken []netip.Prefix
	for {
		p, err := NextSubnet(DefaultBases(), taken)
		if err != nil {
			if !errors.Is(err, ErrNoSubnet) {
				t.Fatal(err)
			}
			break
		}
		if other, hit := Overlapping(p, taken); hit {
			t.Fatalf("%v overlaps %v", p, other)
		}
		taken = append(taken, p)
	}
	if len(taken) != 15+16 {
		t.Errorf("%d networks fit, want 31", len(taken))
	}
}

func TestNextSubnetOfHugePools(t *testing.T) {
	got, err := NextSubnet([]Base{{pfx("fd00::/8"), 64}}, []netip.Prefix{pfx("fd00::/9")})
	if err != nil || got != pfx("fd80::/64") {
		t.Errorf("NextSubnet = %v, %v", got, err)
	}
	if _, err := NextSubnet([]Base{{pfx("10.0.0.0/8"), 4}}, nil); err == nil {
		t.Error("a piece larger than its pool was accepted")
	}
	if _, err := NextSubnet([]Base{{pfx("255.255.0.0/16"), 24}}, []netip.Prefix{pfx("255.0.0.0/8")}); !errors.Is(err, ErrNoSubnet) {
		t.Errorf("at the end of the address space: %v", err)
	}
}

func TestRandomULA(t *testing.T) {
	a, err := RandomULA(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := RandomULA(0, []netip.Prefix{a})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []netip.Prefix{a, b} {
		if p.Bits() != 64 || p != p.Masked() || !pfx("fd00::/8").Contains(p.Addr()) {
			t.Errorf("%v is no ULA /64", p)
		}
	}
	if a.Overlaps(b) {
		t.Errorf("%v and %v overlap", a, b)
	}
	if _, err := RandomULA(0, []netip.Prefix{pfx("fd00::/8")}); !errors.Is(err, ErrNoSubnet) {
		t.Errorf("with all of fd00::/8 taken: %v", err)
	}
}

func TestLastAndSize(t *testing.T) {
	for _, tt := range []struct {
		p, last string
		size    uint64
	}{
		{"10.0.0.0/8", "10.255.255.255", 1 << 24},
		{"10.0.0.4/30", "10.0.0.7", 4},
		{"10.0.0.4/32", "10.0.0.4", 1},
		{"fd00::/64", "fd00::ffff:ffff:ffff:ffff", 1<<64 - 1},
		{"fd00::/65", "fd00::7fff:ffff:ffff:ffff", 1 << 63},
		{"::/1", "7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1<<64 - 1},
	} {
		if got := Last(pfx(tt.p)); got != addr(tt.last) {
			t.Errorf("Last(%s) = %v, want %s", tt.p, got, tt.last)
		}
		if got := saturate(span(pfx(tt.p).Addr(), Last(pfx(tt.p)))); got != tt.size {
			t.Errorf("span(%s) = %d, want %d", tt.p, got, tt.size)
		}
	}
}
