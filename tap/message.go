package tap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// What a helper can be asked to do.
const (
	opAttach   = "attach"
	opDetach   = "detach"
	opReroute  = "reroute"
	opLoopback = "loopback"
	opLook     = "look"
	opOpen     = "open"

	opLoopbackDown = "loopback-down"
)

// messageLimit bounds requests and replies, in bytes. 256 of everything that
// LinkOptions may list fit into a request.
const messageLimit = fdpass.MaxMessage

// textLimit bounds the texts of a reply, in bytes.
const textLimit = 2 << 10

// A request goes to the helper, as one JSON message on a SOCK_SEQPACKET socket.
type request struct {
	Op   string
	Link LinkOptions
	Open *OpenOptions `json:",omitempty"` // of opOpen
}

// A reply comes back in the same way; with opAttach, the queues' descriptors
// accompany it.
type reply struct {
	Error string `json:",omitempty"` // empty: done
	Kind  string `json:",omitempty"` // key of wireErrors
	Errno int    `json:",omitempty"`

	Name     string   `json:",omitempty"` // of a bare interface, which may be another one
	Index    int      `json:",omitempty"` // interface index
	MAC      [6]byte  // what the interface has
	Features Features // what the kernel took
	Created  bool     `json:",omitempty"` // the device is new
	Queues   int      `json:",omitempty"` // descriptors that accompany the reply
	Warnings []string `json:",omitempty"`

	View *View `json:",omitempty"` // of opLook
}

func (r request) encode() ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("tap: encode request: %w", err)
	}
	if len(b) > messageLimit {
		return nil, fmt.Errorf("tap: interface %q: %w: the request is longer than %d bytes", r.Link.Name, ErrOptions, messageLimit)
	}
	return b, nil
}

func decodeRequest(b []byte) (request, error) {
	var r request
	if err := decodeStrict(b, &r); err != nil {
		return r, fmt.Errorf("tap: request: %w", err)
	}
	return r, nil
}

// failed makes a reply of an error.
func failed(err error) reply {
	r := reply{Error: err.Error()}
	for kind, sentinel := range wireErrors {
		if errors.Is(err, sentinel) {
			r.Kind = kind
		}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		r.Errno = int(errno)
	}
	return r
}

func (r reply) encode() []byte {
	r.Error = clean(r.Error)
	if len(r.Warnings) > maxWarnings {
		r.Warnings = r.Warnings[:maxWarnings]
	}
	for i, w := range r.Warnings {
		r.Warnings[i] = clean(w)
	}
	b, err := json.Marshal(r)
	if err != nil { // strings and numbers only: cannot be
		panic(err)
	}
	return b
}

const maxWarnings = 16

// decodeReply reads and checks what a helper sent along with so many descriptors.
// An error that the helper reports comes back as err, an answer that makes no
// sense as one that wraps ErrReply.
func decodeReply(b []byte, req request, descriptors int) (reply, error) {
	var r reply
	if err := decodeStrict(b, &r); err != nil {
		return r, fmt.Errorf("%w: %w", ErrReply, err)
	}
	if r.Error != "" {
		e := &helperError{text: clean(r.Error), kind: wireErrors[r.Kind]}
		if r.Errno > 0 && r.Errno < 4096 {
			e.errno = syscall.Errno(r.Errno)
		}
		return r, e
	}
	wanted := 0
	if req.Op == opAttach {
		wanted = req.Link.Queues
		if r.Index <= 0 {
			return r, fmt.Errorf("%w: interface index %d", ErrReply, r.Index)
		}
		if req.Link.Bare && checkName(r.Name) != nil {
			return r, fmt.Errorf("%w: an interface %q", ErrReply, clean(r.Name))
		}
	}
	if req.Op == opLook {
		wanted = 1
	}
	if req.Op == opOpen {
		wanted = 1
		if r.Index <= 0 {
			return r, fmt.Errorf("%w: interface index %d", ErrReply, r.Index)
		}
	}
	if r.Queues != wanted || descriptors != wanted {
		return r, fmt.Errorf("%w: %d queues and %d descriptors, not %d", ErrReply, r.Queues, descriptors, wanted)
	}
	if r.View != nil {
		if err := r.View.clean(); err != nil {
			return r, err
		}
	}
	if len(r.Warnings) > maxWarnings {
		return r, fmt.Errorf("%w: %d warnings", ErrReply, len(r.Warnings))
	}
	for i, w := range r.Warnings {
		r.Warnings[i] = clean(w)
	}
	return r, nil
}

// decodeStrict takes exactly one JSON value without unknown fields: both ends are
// the same binary.
func decodeStrict(b []byte, v any) error {
	if len(b) > messageLimit {
		return fmt.Errorf("longer than %d bytes", messageLimit)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one message")
	}
	return nil
}

// clean makes a text fit for a terminal and a log: bounded, printable.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > textLimit {
		s = strings.ToValidUTF8(s[:textLimit], "")
	}
	return s
}
