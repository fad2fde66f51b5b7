package dns

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

	miekg "github.com/miekg/dns"
)

// Zone knows the containers of one network. It is asked once per query on the
// goroutine that delivered it, so it must not block.
type Zone interface {
	// Lookup returns all addresses of name: lower-case, without trailing dot.
	// The slice is shared; the caller doesn't change it. ok false means that
	// no container has the name, ok true without addresses that one has it
	// and none.
	Lookup(name string) (addrs []netip.Addr, ok bool)
	// Reverse returns the full name of the container that has addr.
	Reverse(addr netip.Addr) (name string, ok bool)
}

// Names is a [Zone] in memory, filled as endpoints come and go.
type Names struct {
	network string // as given
	suffix  string // "." + lower-case network

	mu     sync.RWMutex
	owners map[string]*owner
	names  map[string]*nameEntry
	addrs  map[netip.Addr]*owner
}

// owner is an endpoint. It is not changed after it was added.
type owner struct {
	names []string // lower-case, unique
	addrs []netip.Addr
	full  string // the PTR name; "" = has none
}

// nameEntry is one name's owners, in the order they came.
type nameEntry struct {
	owners []*owner
	addrs  []netip.Addr // all of theirs; replaced, never changed
}

// NewNames returns an empty zone for the network of that name. The network's
// name is a suffix under which every container is known as well ("c3.my_bridge");
// with an empty one there is no suffix.
func NewNames(network string) *Names {
	n := &Names{
		network: strings.TrimSuffix(network, "."),
		owners:  make(map[string]*owner),
		names:   make(map[string]*nameEntry),
		addrs:   make(map[netip.Addr]*owner),
	}
	if n.network != "" {
		n.suffix = "." + strings.ToLower(n.network)
	}
	return n
}

// Add makes names lead to addrs on behalf of an owner, the endpoint's id; it
// replaces what the owner had before. The first name is the one that
// the addresses lead back to. A name that several owners have leads to all their
// addresses. Names that cannot be asked for in DNS are left out, but for those that are
// too long: an [Alias] may stand for them.
func (n *Names) Add(id string, names []string, addrs []netip.Addr) {
	o := &owner{}
	for _, name := range names {
		name = strings.TrimSuffix(name, ".")
		key := strings.ToLower(name)
		long := len(name) > maxLabelLen && !strings.ContainsAny(name, `\.`)
		if !askable(name) && !long || slices.Contains(o.names, key) {
			continue
		}
		o.names = append(o.names, key)
		if full := n.qualify(name); o.full == "" && askable(full) {
			o.full = full
		}
	}
	for _, a := range addrs {
		// Zones and 4-in-6 forms never come back in an answer or a PTR name.
		a = a.Unmap().WithZone("")
		if a.IsValid() && !slices.Contains(o.addrs, a) {
			o.addrs = append(o.addrs, a)
		}
	}

	n.mu.Lock()
	defer n.mu.Unlock()
	n.remove(id)
	n.owners[id] = o
	for _, name := range o.names {
		e := n.names[name]
		if e == nil {
			e = &nameEntry{}
			n.names[name] = e
		}
		e.owners = append(e.owners, o)
		e.collect()
	}
	for _, a := range o.addrs {
		n.addrs[a] = o
	}
}

// Remove takes back all that was added for the owner. Removing one that isn't
// there does nothing.
func (n *Names) Remove(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.remove(id)
}

func (n *Names) remove(id string) {
	o := n.owners[id]
	if o == nil {
		return
	}
	delete(n.owners, id)
	for _, name := range o.names {
		e := n.names[name]
		e.owners = slices.DeleteFunc(e.owners, func(other *owner) bool { return other == o })
		if len(e.owners) == 0 {
			delete(n.names, name)
			continue
		}
		e.collect()
	}
	for _, a := range o.addrs {
		if n.addrs[a] == o {
			delete(n.addrs, a)
		}
	}
}

// collect makes a new address list; answers being written may still read the old one.
func (e *nameEntry) collect() {
	var all []netip.Addr
	for _, o := range e.owners {
		all = append(all, o.addrs...)
	}
	e.addrs = all
}

// Lookup implements [Zone].
func (n *Names) Lookup(name string) ([]netip.Addr, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	e := n.names[name]
	if e == nil && n.suffix != "" {
		if short, ok := strings.CutSuffix(name, n.suffix); ok {
			e = n.names[short]
		}
	}
	if e == nil {
		return nil, false
	}
	return e.addrs, true
}

// Reverse implements [Zone]: the owner's first name, a dot and the network's name.
func (n *Names) Reverse(addr netip.Addr) (string, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	o := n.addrs[addr.Unmap()]
	if o == nil || o.full == "" {
		return "", false
	}
	return o.full, true
}

func (n *Names) qualify(name string) string {
	if n.network == "" {
		return name
	}
	return name + "." + n.network
}

// askable tells whether name can stand in a question as it is written: labels
// within RFC 1035's limits, and no backslash, which would mean an escape.
func askable(name string) bool {
	if name == "" || strings.ContainsRune(name, '\\') {
		return false
	}
	var wire [maxNameLen]byte
	_, err := miekg.PackDomainName(name+".", wire[:], 0, nil, false)
	return err == nil
}
