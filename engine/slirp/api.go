package slirp

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/netip"
)

// maxRequest bounds a request, in bytes.
const maxRequest = 4095

// errors of the API, in slirp4netns's words: callers and tests look for them.
const (
	badTooLarge  = "bad request: too large message"
	badJSON      = "bad request: cannot parse JSON"
	badObject    = "bad request: json_object() failed"
	badExecute   = "bad request: no execute found"
	badUnknown   = "bad request: unknown execute"
	badAdd       = "bad request: add_hostfwd: bad arguments."
	badAddFailed = "bad request: add_hostfwd: slirp_add_hostfwd failed"
	badRemoveID  = "bad request: remove_hostfwd: bad arguments.id"
	badRemove    = "bad request: remove_hostfwd: slirp_remove_hostfwd failed"
)

// problem is an error of the API.
type problem string

func (p problem) Error() string { return string(p) }

// Forward is a port of the host that leads to one of the guest's.
type Forward struct {
	ID        int        `json:"id"`
	Proto     string     `json:"proto"`
	HostAddr  netip.Addr `json:"host_addr"`
	HostPort  uint16     `json:"host_port"`
	GuestAddr netip.Addr `json:"guest_addr"`
	GuestPort uint16     `json:"guest_port"`
}

// request is what a client of the API asks for: one of them.
type request struct {
	add    *Forward // without ID
	list   bool
	remove *int
}

// parseRequest reads a request. Anything behind its JSON value is passed over. Errors are
// problems.
func parseRequest(b []byte, guest netip.Addr) (request, error) {
	var value json.RawMessage
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&value); err != nil {
		return request{}, problem(badJSON)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(value, &all); err != nil || all == nil {
		return request{}, problem(badObject)
	}
	execute, ok := text(all["execute"])
	if !ok {
		return request{}, problem(badExecute)
	}
	var args map[string]json.RawMessage
	_ = json.Unmarshal(all["arguments"], &args) // what is no object has nothing in it
	switch execute {
	case "add_hostfwd":
		f, err := parseForward(args, guest)
		return request{add: &f}, err
	case "list_hostfwd":
		return request{list: true}, nil
	case "remove_hostfwd":
		id, ok := whole(args["id"])
		if !ok {
			return request{}, problem(badRemoveID)
		}
		return request{remove: &id}, nil
	}
	return request{}, problem(badUnknown)
}

func parseForward(args map[string]json.RawMessage, guest netip.Addr) (f Forward, err error) {
	if f.Proto, _ = text(args["proto"]); f.Proto != "tcp" && f.Proto != "udp" {
		return f, problem(badAdd + "proto")
	}
	var ok bool
	if f.HostAddr, ok = address(args["host_addr"], netip.IPv4Unspecified()); !ok {
		return f, problem(badAdd + "host_addr")
	}
	if f.HostPort, ok = port(args["host_port"]); !ok {
		return f, problem(badAdd + "host_port")
	}
	if f.GuestAddr, ok = address(args["guest_addr"], guest); !ok {
		return f, problem(badAdd + "guest_addr")
	}
	if f.GuestPort, ok = port(args["guest_port"]); !ok {
		return f, problem(badAdd + "guest_port")
	}
	return f, nil
}

// text reads a string; ok is false for anything else, and for none.
func text(b json.RawMessage) (s string, ok bool) {
	return s, len(b) > 0 && b[0] == '"' && json.Unmarshal(b, &s) == nil
}

// address reads an IPv4 address; what is empty, missing or no string is the default.
func address(b json.RawMessage, or netip.Addr) (netip.Addr, bool) {
	s, ok := text(b)
	if !ok || s == "" {
		return or, true
	}
	a, err := netip.ParseAddr(s)
	return a, err == nil && a.Is4()
}

func port(b json.RawMessage) (uint16, bool) {
	n, ok := whole(b)
	return uint16(n), ok && n > 0 && n <= math.MaxUint16
}

// whole reads a number as C makes an int of it.
func whole(b json.RawMessage) (int, bool) {
	var f float64
	if len(b) == 0 || json.Unmarshal(b, &f) != nil || f != f || f < math.MinInt32 || f > math.MaxInt32 || string(b) == "null" {
		return 0, false
	}
	return int(f), true
}

// reply is what the API answers: one of Return and Error.
type reply struct {
	Return any `json:"return,omitempty"`
	// Entries are list_hostfwd's. The manual has them in "return", the program has always
	// sent them without, so they are in both places.
	Entries *[]Forward `json:"entries,omitempty"`
	Error   *apiError  `json:"error,omitempty"`
}

type apiError struct {
	Desc string `json:"desc"`
}

type (
	added struct {
		ID int `json:"id"`
	}
	listed struct {
		Entries []Forward `json:"entries"`
	}
)

func (r reply) encode() []byte {
	b, err := json.Marshal(r)
	if err != nil { // strings, numbers and addresses only: cannot be
		panic(err)
	}
	return b
}

// failed is the reply for an error; what is no problem is other.
func failed(err error, other problem) reply {
	var p problem
	if !errors.As(err, &p) {
		p = other
	}
	return reply{Error: &apiError{string(p)}}
}
