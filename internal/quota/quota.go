package quota

import (
	"iter"
	"maps"
	"net/netip"
	"runtime"

	"github.com/footbridge-net/footbridge/internal/turn"
)

// Account is embedded in what a package keeps of a container.
type Account[L any] struct {
	// Limits are those that hold now.
	Limits L
	// Turn is for all that works for the container.
	Turn *turn.Turn

	addr  netip.Addr // by which the container is known
	known bool       // SetLimits was called
}

func (a *Account[L]) account() *Account[L] { return a }

// Entry is a pointer to what embeds an Account.
type Entry[L any] interface {
	comparable
	account() *Account[L]
	// Idle reports whether nothing is counted in it.
	Idle() bool
}

// Options of a Table. New is required.
type Options[E Entry[L], L any] struct {
	// New makes an entry. The Table fills in its Account.
	New func() E
	// Limits are those of containers that have none of their own.
	Limits L
	// Owner gives the address by which a container is known, for any of its addresses;
	// nil: each address is a container.
	Owner func(netip.Addr) netip.Addr
	// Yield is the Turns'; nil means runtime.Gosched.
	Yield func()
}

// Table are the accounts of one network's containers.
type Table[E Entry[L], L any] struct {
	opts Options[E, L]
	all  map[netip.Addr]E
}

// New makes a Table without accounts.
func New[E Entry[L], L any](o Options[E, L]) *Table[E, L] {
	if o.Owner == nil {
		o.Owner = func(a netip.Addr) netip.Addr { return a }
	}
	if o.Yield == nil {
		o.Yield = runtime.Gosched
	}
	return &Table[E, L]{opts: o, all: map[netip.Addr]E{}}
}

// Owner gives the address by which the container is known that has a.
func (t *Table[E, L]) Owner(a netip.Addr) netip.Addr { return t.opts.Owner(a) }

// Of gives the account of the container that has address a. Whoever counts nothing in it
// has to call Forget.
func (t *Table[E, L]) Of(a netip.Addr) E {
	a = t.opts.Owner(a)
	e, ok := t.all[a]
	if !ok {
		e = t.opts.New()
		*e.account() = Account[L]{Limits: t.opts.Limits, Turn: turn.New(t.opts.Yield), addr: a}
		t.all[a] = e
	}
	return e
}

// Find gives the account of the container known by address a; nil when there is none.
func (t *Table[E, L]) Find(a netip.Addr) E { return t.all[a] }

// All gives the accounts, in no particular order.
func (t *Table[E, L]) All() iter.Seq[E] { return maps.Values(t.all) }

// Len counts the accounts.
func (t *Table[E, L]) Len() int { return len(t.all) }

// Forget drops an account if nothing is known of it, and reports whether it did.
func (t *Table[E, L]) Forget(e E) bool {
	a := e.account()
	if a.known || !e.Idle() || t.all[a.addr] != e {
		return false
	}
	delete(t.all, a.addr)
	return true
}

// SetLimits sets those of the container known by address a, until Release or Remove. What
// is counted already stays.
func (t *Table[E, L]) SetLimits(a netip.Addr, l L) {
	x := t.Of(a).account()
	x.Limits, x.known = l, true
}

// Release takes back what SetLimits did.
func (t *Table[E, L]) Release(a netip.Addr) {
	if e, ok := t.all[a]; ok {
		x := e.account()
		x.Limits, x.known = t.opts.Limits, false
		t.Forget(e)
	}
}

// Remove drops the account of the container known by address a, whatever is counted in it,
// and gives it; nil when there is none.
func (t *Table[E, L]) Remove(a netip.Addr) E {
	e := t.all[a]
	delete(t.all, a)
	return e
}
