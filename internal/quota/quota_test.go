package quota

import (
	"net/netip"
	"testing"
)

type held struct {
	Account[int]
	n int
}

func (h *held) Idle() bool { return h.n == 0 }

var (
	own4, own6 = netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")
	other      = netip.MustParseAddr("10.0.0.3")
)

// newTable knows own4 and own6 as one container.
func newTable() *Table[*held, int] {
	return New(Options[*held, int]{
		New: func() *held { return new(held) }, Limits: 7,
		Owner: func(a netip.Addr) netip.Addr {
			if a == own6 {
				return own4
			}
			return a
		},
	})
}

func TestAContainerHasOneAccount(t *testing.T) {
	accounts := newTable()
	a := accounts.Of(own4)
	if a.Limits != 7 || a.Turn == nil {
		t.Errorf("a new account: %+v", a)
	}
	if accounts.Of(own6) != a || accounts.Find(own4) != a || accounts.Owner(own6) != own4 {
		t.Error("its other address has another account")
	}
	if accounts.Find(own6) != nil {
		t.Error("it is known by another address than the owner's")
	}
	if accounts.Of(other) == a || accounts.Len() != 2 {
		t.Error("two containers have one account")
	}
	n := 0
	for range accounts.All() {
		n++
	}
	if n != 2 {
		t.Errorf("%d accounts", n)
	}
}

func TestAnAccountGoesWhenNothingIsCounted(t *testing.T) {
	accounts := newTable()
	a := accounts.Of(own4)
	a.n++
	if accounts.Forget(a) || accounts.Find(own4) != a {
		t.Error("something is counted in it, and it has gone")
	}
	a.n--
	if !accounts.Forget(a) || accounts.Len() != 0 {
		t.Error("nothing is counted in it, and it stays")
	}
	// What is forgotten twice must not take the next one's place.
	next := accounts.Of(own4)
	if accounts.Forget(a) || accounts.Find(own4) != next {
		t.Error("an earlier account's end has dropped the one that is there")
	}
}

func TestLimitsAreKeptUntilTheyAreTakenBack(t *testing.T) {
	accounts := newTable()
	accounts.SetLimits(own4, 9)
	a := accounts.Of(own6)
	if a.Limits != 9 || accounts.Forget(a) {
		t.Errorf("%d, and forgotten", a.Limits)
	}
	a.n++
	accounts.Release(own4)
	if a.Limits != 7 || accounts.Find(own4) != a {
		t.Error("released: other limits, or what it holds is forgotten")
	}
	a.n--
	accounts.Release(own4)
	accounts.Release(other) // of which nothing is known
	if accounts.Len() != 0 {
		t.Error("it stays")
	}
}

func TestRemove(t *testing.T) {
	accounts := newTable()
	a := accounts.Of(own4)
	a.n++
	if accounts.Remove(own4) != a || accounts.Len() != 0 || accounts.Remove(own4) != nil {
		t.Error("it is there")
	}
}
