package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/footbridge-net/footbridge/dns"
	"github.com/footbridge-net/footbridge/engine/plane"
	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/portfwd"
)

// kind is what a fact is about.
type kind string

// The kinds, in the order in which a new worker gets them.
const (
	kindServers kind = "servers" // the host's resolvers; one
	kindBlocked kind = "blocked" // subnets that nobody reaches through a gateway; one
	kindPlane   kind = "plane"   // a network
	kindNames   kind = "names"   // an endpoint's names
	kindClient  kind = "client"  // a container's own view of names
	kindLinks   kind = "links"   // an endpoint's exceptions from ICC off
	kindPort    kind = "port"    // an endpoint, with its TAP's queues
	kindStock   kind = "stock"   // a container's address for which sockets are made inside it
	kindServe   kind = "serve"   // a published port, with its socket
)

// ranks order the kinds. From firstServed on, a worker carries packets: before, it has
// all ports, and reads none (opStart).
var ranks = map[kind]int{kindServers: 0, kindBlocked: 1, kindPlane: 2, kindNames: 3, kindClient: 4, kindLinks: 4, kindPort: 5, kindStock: 5, kindServe: 6}

const firstServed = 6

// The bodies of facts.
type (
	serversBody struct{ Config dns.Config }
	blockedBody struct{ Subnets []netip.Prefix }
	planeBody   struct{ Spec }
	namesBody   struct {
		Network string
		Owner   string
		Names   []string
		Addrs   []netip.Addr
	}
	clientBody struct {
		Network string
		Addr    netip.Addr
		View    View
	}
	linksBody struct {
		Network    string
		Exceptions []plane.Exception
	}
	portBody struct {
		Network string
		Link    plane.Link
	}
	stockBody struct {
		Network string
		Addr    netip.Addr
	}
	serveBody struct {
		Network string
		Mapping portfwd.Mapping
	}
)

// joinBody is opJoin's.
type joinBody struct {
	Network string
	Owner   string
	To      []netip.AddrPort
}

// A wish is one of opWanted's answers: so many sockets for the stock with that key.
type wish struct {
	Key   string
	Count int
}

// maxWishes bounds an answer; what is left is rung for again.
const maxWishes = 1 << 12

// supplyBody is opSupply's. The sockets may be fewer than those that were asked for.
type supplyBody struct {
	Key   string
	Asked int
}

// Spec is a network's data plane.
type Spec struct {
	ID                 string
	Name               string
	MTU                int          // bytes
	Gateway4, Gateway6 netip.Prefix // with the subnets' lengths; zero = none in that family
	Subnet4, Subnet6   netip.Prefix // zero = that of the gateway, or no such family
	Internal           bool         // no way out and none in
	Resolves           bool         // containers have names here
	Rules              plane.Rules  `json:",omitzero"`
	// Servers are asked for the names of the outside; none = the host's.
	Servers []netip.AddrPort `json:",omitempty"`
}

// View is what names look like to one container.
type View struct {
	// Networks are the ids of the container's other networks, whose names it sees.
	Networks []string
	// Servers are its own resolvers; none = the host's.
	Servers []netip.AddrPort
	// Aliases are names that it alone has for others.
	Aliases []Alias `json:",omitempty"`
	// Hosts are names of its hosts file.
	Hosts []Host `json:",omitempty"`
}

// Host is a name of a container's hosts file, with its addresses.
type Host struct {
	Name      string
	Addresses []netip.Addr
}

// Alias is a name for what is called Target on a network, which may be nobody.
type Alias struct {
	Name    string
	Network string // id
	Target  string
}

func (v View) empty() bool {
	return len(v.Networks) == 0 && len(v.Servers) == 0 && len(v.Aliases) == 0 && len(v.Hosts) == 0
}

// What the worker is asked to do.
type op string

const (
	opPut   op = "put"
	opDrop  op = "drop"
	opStart op = "start" // the facts before kindServe are complete: read frames
	opJoin  op = "join"  // the one handle is the host's end of a connection to a container
	// opWanted asks which stocks want sockets; opSupply brings some.
	opWanted op = "wanted"
	opSupply op = "supply"
	opStats  op = "stats" // Key is a network's id
	opSelf   op = "self"  // what the process uses
	opFiles  op = "files" // how many files it has open, where the kernel does not tell
)

type request struct {
	Op   op
	Kind kind            `json:",omitempty"`
	Key  string          `json:",omitempty"`
	Body json.RawMessage `json:",omitempty"`
}

type reply struct {
	Error string          `json:",omitempty"` // empty: done
	Body  json.RawMessage `json:",omitempty"`
}

// Self is what a worker tells of itself. The first message of a worker is one, as a
// reply's body: it is ready then, and nothing was sent to it before.
type Self struct {
	Version     string
	Goroutines  int
	Descriptors int
	Landlock    int      // ABI in force, which the kernel tells nobody else
	Notes       []string `json:",omitempty"`
}

// replyLimit bounds a reply, in bytes: the counters of some 10,000 ports.
const replyLimit = 8 << 20

// Parts of a reply: a message's first byte.
const (
	partMore = 'm'
	partLast = 'l'
)

// sendReply sends b in as many messages as it needs.
func sendReply(c *fdpass.Conn, b []byte) error {
	const room = fdpass.MaxMessage - 1
	for {
		part, mark := b, byte(partLast)
		if len(part) > room {
			part, mark = b[:room], partMore
		}
		if err := c.Send(append([]byte{mark}, part...)); err != nil {
			return err
		}
		if b = b[len(part):]; mark == partLast {
			return nil
		}
	}
}

// errReply: what the worker sent is not an answer.
var errReply = errors.New("not an answer")

// receiveReply takes a reply together. Descriptors are not expected, and closed.
func receiveReply(c *fdpass.Conn) ([]byte, error) {
	var all []byte
	buf := make([]byte, fdpass.MaxMessage)
	for {
		n, hs, err := c.Receive(buf)
		fdpass.Discard(hs)
		switch {
		case err != nil:
			return nil, err
		case len(hs) > 0 || n == 0 || len(all)+n > replyLimit:
			return nil, fmt.Errorf("%w: %d bytes and %d descriptors after %d bytes", errReply, n, len(hs), len(all))
		}
		all = append(all, buf[1:n]...)
		switch buf[0] {
		case partLast:
			return all, nil
		case partMore:
		default:
			return nil, fmt.Errorf("%w: part %q", errReply, buf[0])
		}
	}
}

// decode takes exactly one JSON value without unknown fields: both ends are the
// same program.
func decode(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}
