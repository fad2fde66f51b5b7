package lifecycle

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Classes of errors, as the API's clients tell them apart. Any is one of whatever class.
const (
	ok          = ""
	notFound    = "not found"
	conflict    = "conflict"
	forbidden   = "forbidden"
	invalid     = "invalid"
	notModified = "not modified"
	anyError    = "any error"
)

// Expect says what an operation has to come to: the class of its error and what there is afterwards.
func (m *Model) Expect(op Op) (string, *Model) {
	after := m.Clone()
	class := after.apply(op)
	return class, after
}

// apply does the operation to the model itself. With an error it has changed only what Docker changes then.
func (m *Model) apply(op Op) string {
	name := ctrName(op.C)
	c := m.Ctrs[name]
	switch op.Kind {
	case NetCreate:
		return m.netCreate(op)
	case NetRemove:
		return m.netRemove(netName(op.N[0]))
	case NetPrune:
		for _, n := range m.sortedNets() {
			if !n.Predefined && len(m.members(n.ID)) == 0 {
				delete(m.Nets, n.Name)
			}
		}
		return ok
	case Create:
		return m.create(op)
	case Prune:
		maps.DeleteFunc(m.Ctrs, func(_ string, c *Ctr) bool { return !c.running() })
		return ok
	case Connect, Disconnect:
		n := m.Nets[netName(op.N[0])]
		switch {
		case n == nil && c != nil && op.Kind == Disconnect:
			return m.leaveGone(c, netName(op.N[0]))
		case n == nil || c == nil:
			return notFound
		case c.Mode != "":
			return forbidden
		}
		m.follow(c)
		if op.Kind == Connect {
			return m.connect(c, n, op)
		}
		return m.disconnect(c, n)
	case Publish, Unpublish:
		switch {
		case c == nil:
			return notFound
		case c.Mode != "":
			return invalid
		case op.Kind == Publish:
			return m.publish(c, op)
		}
		return m.unpublish(c, op)
	case HostBind:
		if want := somebodys(op); m.free(&Ctr{}, []binding{{hostPort: want}}, nil) {
			m.Taken[want] = true
		}
		return ok
	case HostFree:
		delete(m.Taken, somebodys(op))
		return ok
	case NSMake:
		if m.Holder == 0 {
			m.Made++
			m.Holder = m.Made
		}
		return ok
	case NSDrop:
		m.Holder = 0
		return ok
	case Reopen:
		m.reopen()
		return ok
	case Worker:
		return ok
	}
	if c == nil {
		return notFound
	}
	switch op.Kind {
	case Start:
		if c.running() {
			return notModified
		}
		return m.start(c)
	case Stop:
		if !c.running() {
			return notModified
		}
		m.end(c)
	case Kill, End, EndShim, Exec:
		if !c.running() {
			return conflict
		}
		if op.Kind != Exec {
			m.end(c)
		}
	case Restart:
		switch {
		case c.running() && c.AutoRm:
			return conflict
		case c.running():
			m.end(c)
		}
		return m.start(c)
	case Remove:
		if c.running() && !op.Flag {
			return conflict
		}
		delete(m.Ctrs, name)
	case Rename:
		return m.rename(c, ctrName(op.Other))
	}
	return ok
}

// somebodys is the port that a HostBind takes.
func somebodys(op Op) hostPort {
	return hostPort{"tcp", netip.IPv4Unspecified(), uint16(op.Ports[0])}
}

func (m *Model) netCreate(op Op) string {
	name := netName(op.N[0])
	if name == "bridge" {
		return forbidden
	}
	if m.Nets[name] != nil {
		return conflict
	}
	s := shapes[op.Shape]
	n := &Net{Name: name, Shape: s}
	for _, p := range s.subnets(op.N[0]) {
		for _, other := range m.Nets {
			if other.V4.Overlaps(p) || other.V6.Overlaps(p) {
				return forbidden
			}
		}
		if p.Addr().Is4() {
			n.V4 = p
		} else {
			n.V6 = p
		}
	}
	m.Nets[name] = n
	return ok
}

func (m *Model) netRemove(name string) string {
	switch n := m.Nets[name]; {
	case n == nil:
		return notFound
	case n.Predefined || len(m.members(n.ID)) > 0:
		return forbidden
	}
	delete(m.Nets, name)
	return ok
}

func (m *Model) create(op Op) string {
	c := &Ctr{Name: ctrName(op.C), Mode: op.Mode, AutoRm: op.Flag, Status: created}
	if op.Mode == "" {
		for _, i := range op.Ports {
			if !slices.Contains(c.Ports, portSpecs[i]) { // twice is once
				c.Ports = append(c.Ports, portSpecs[i])
			}
		}
	}
	if m.Ctrs[c.Name] != nil {
		return conflict
	}
	switch op.Mode {
	case "container":
		other := m.Ctrs[ctrName(op.Other)]
		if other == nil {
			return invalid
		}
		c.Joined = other.ID
	case "ns":
		c.Holder = m.Holder
	case "":
		for i, number := range networksOf(op) {
			n := m.Nets[netName(number)]
			if n == nil {
				return invalid
			}
			a, class := m.attachment(n, op, i == 0)
			if class != ok {
				return class
			}
			c.Atts = append(c.Atts, a)
		}
		// The network of the mode comes first, the others by their names.
		slices.SortStableFunc(c.Atts[1:], func(a, b Att) int {
			return cmp.Compare(m.net(a.NetID).Name, m.net(b.NetID).Name)
		})
	}
	m.Ctrs[c.Name] = c
	return ok
}

// networksOf lists the networks of a new container, each once.
func networksOf(op Op) []int {
	var out []int
	for _, n := range op.N {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	if len(out) == 0 {
		out = []int{0}
	}
	return out
}

// attachment checks what is asked for on a network.
func (m *Model) attachment(n *Net, op Op, first bool) (Att, string) {
	a := Att{NetID: n.ID, Net: n.Name}
	if !first {
		return a, ok
	}
	if op.Alias > 0 {
		if n.Predefined {
			return a, invalid
		}
		a.Alias = fmt.Sprintf("alias%d", op.Alias)
	}
	if op.Static > 0 {
		a.Static = staticAddr(op, n.Name)
		if n.Predefined || n.Shape.v4 == "" || !n.V4.Contains(a.Static) {
			return a, invalid
		}
	}
	return a, ok
}

// staticAddr is the address that the operation asks for on a network.
func staticAddr(op Op, net string) netip.Addr {
	third := byte(0)
	fmt.Sscanf(net, "n%d", &third)
	second := byte(77)
	if op.Shape == 2 { // a hint of the generator's at the kind of network
		second = 78
	}
	return netip.AddrFrom4([4]byte{10, second, third, byte(op.Static)})
}

// reserve says whether a container could have an endpoint: what Docker checks when it starts.
func (m *Model) reserve(a Att) string {
	n := m.net(a.NetID)
	if n == nil || a.NetID == "" {
		return notFound
	}
	if a.Static.IsValid() && !n.V4.Contains(a.Static) { // of a network that came instead
		return invalid
	}
	if !n.Shape.has4() {
		return ok
	}
	members := m.members(n.ID)
	if !a.Static.IsValid() {
		if len(members) >= capacity(n.V4) {
			return forbidden
		}
		return ok
	}
	gateway := n.V4.Addr().Next()
	if a.Static == gateway || a.Static == n.V4.Addr() || a.Static == lastOf(n.V4) {
		return forbidden
	}
	for _, other := range members {
		if other.att(n.ID).V4 == a.Static {
			return forbidden
		}
	}
	return ok
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(b)
}

// outward: a network that leads outside takes published ports.
func (m *Model) outward(c *Ctr) bool {
	return slices.ContainsFunc(c.Atts, func(a Att) bool { n := m.net(a.NetID); return n != nil && !n.Shape.internal })
}

func (m *Model) start(c *Ctr) (class string) {
	defer func() {
		if class != ok && c.AutoRm {
			delete(m.Ctrs, c.Name)
		}
	}()
	switch c.Mode {
	case "container":
		switch other := m.ctrByID(c.Joined); {
		case other == nil:
			return notFound
		case !other.running():
			return conflict
		}
	case "ns":
		if c.Holder == 0 || c.Holder != m.Holder {
			return anyError
		}
	}
	m.follow(c)
	for _, a := range c.Atts {
		if class := m.reserve(a); class != ok {
			return class
		}
	}
	if m.outward(c) {
		bound, free := m.place(c, nil)
		if !free {
			return forbidden
		}
		c.Out, c.Bound = true, bound
	}
	c.Status = running
	for i := range c.Atts {
		if c.Atts[i].Static.IsValid() {
			c.Atts[i].V4 = c.Atts[i].Static
		}
	}
	return ok
}

// end is the end of a container's command.
func (m *Model) end(c *Ctr) {
	c.Status, c.Out, c.Bound = exited, false, nil
	for i := range c.Atts {
		a := c.Atts[i]
		c.Atts[i] = Att{NetID: a.NetID, Net: a.Net, Static: a.Static, Alias: a.Alias}
	}
	if c.AutoRm {
		delete(m.Ctrs, c.Name)
	}
}

func (m *Model) connect(c *Ctr, n *Net, op Op) string {
	a, class := m.attachment(n, op, true)
	switch {
	case class != ok:
		return class
	case c.att(n.ID) != nil:
		return forbidden
	case !c.running():
		c.Atts = append(c.Atts, a)
		return ok
	}
	if class := m.reserve(a); class != ok {
		return class
	}
	if !c.Out && !n.Shape.internal {
		bound, free := m.place(c, nil)
		if !free {
			return forbidden
		}
		c.Out, c.Bound = true, bound
	}
	a.V4 = a.Static
	c.Atts = append(c.Atts, a)
	return ok
}

func (m *Model) disconnect(c *Ctr, n *Net) string {
	if c.att(n.ID) == nil {
		return forbidden
	}
	c.Atts = slices.DeleteFunc(c.Atts, func(a Att) bool { return a.NetID == n.ID })
	if c.running() && !m.outward(c) {
		c.Out, c.Bound = false, nil
	}
	return ok
}

// leaveGone takes a container that does not run from a network that was removed.
func (m *Model) leaveGone(c *Ctr, network string) string {
	i := slices.IndexFunc(c.Atts, func(a Att) bool { return a.Net == network })
	if i < 0 {
		return notFound
	}
	c.Atts = slices.Delete(c.Atts, i, i+1)
	return ok
}

func (m *Model) rename(c *Ctr, to string) string {
	switch {
	case to == c.Name:
		return invalid
	case c.running() || m.Ctrs[to] != nil:
		return conflict
	}
	delete(m.Ctrs, c.Name)
	c.Name = to
	m.Ctrs[to] = c
	return ok
}

// reopen: containers with --rm that do not run are removed when a daemon finds them.
func (m *Model) reopen() {
	maps.DeleteFunc(m.Ctrs, func(_ string, c *Ctr) bool { return c.AutoRm && !c.running() })
}
