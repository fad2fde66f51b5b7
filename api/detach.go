package api

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/containerd/errdefs"
)

// errDetached is read when the detach keys were typed.
var errDetached = errors.New("the detach keys were typed")

// defaultDetachKeys is ctrl-p,ctrl-q.
var defaultDetachKeys = []byte{16, 17}

// ParseDetachKeys reads Docker's notation of a key sequence: keys separated by
// commas, each one character or "ctrl-" and a letter or one of @[\]^_ . It
// returns the bytes that a terminal sends for them; for "" those of
// ctrl-p,ctrl-q. Bad notation is errdefs.ErrInvalidArgument.
//
// A backend keeps these bytes of an exec in container.ExecInspectResponse.DetachKeys.
func ParseDetachKeys(s string) ([]byte, error) {
	if s == "" {
		return bytes.Clone(defaultDetachKeys), nil
	}
	var keys []byte
	for key := range strings.SplitSeq(s, ",") {
		c, ok := detachKey(key)
		if !ok {
			return nil, Errorf(errdefs.ErrInvalidArgument, "invalid detach keys (%s): unknown key %q: use a character, or ctrl- and one of a-z @ [ \\ ] ^ _", printable(s), printable(key))
		}
		keys = append(keys, c)
	}
	return keys, nil
}

func detachKey(key string) (byte, bool) {
	if len(key) == 1 {
		return key[0], key[0] < 0x80
	}
	ctrl, ok := strings.CutPrefix(strings.ToLower(key), "ctrl-")
	if !ok || len(ctrl) != 1 {
		return 0, false
	}
	switch c := ctrl[0]; {
	case c >= 'a' && c <= 'z':
		return c - 'a' + 1, true
	case c == '@':
		return 0, true
	case c >= '[' && c <= '_':
		return c - '[' + 27, true
	}
	return 0, false
}

// detachReader passes input on and ends with errDetached at the detach keys.
// The keys typed so far are held back until it is clear that they are not the
// sequence; then they are input like any other.
type detachReader struct {
	from io.Reader
	keys []byte

	buf     []byte // what was read last
	matched int    // of keys, held back
	ready   []byte // to be returned
	err     error  // to be returned after it
}

func (d *detachReader) Read(b []byte) (int, error) {
	for len(d.ready) == 0 && d.err == nil {
		if d.buf == nil {
			d.buf = make([]byte, len(b))
		}
		n, err := d.from.Read(d.buf)
		d.err = err
		d.scan(d.buf[:n])
		if err != nil && !errors.Is(d.err, errDetached) {
			d.ready = append(d.ready, d.keys[:d.matched]...)
			d.matched = 0
		}
	}
	n := copy(b, d.ready)
	d.ready = d.ready[n:]
	if len(d.ready) == 0 && n == 0 {
		return 0, d.err
	}
	return n, nil
}

// scan moves read bytes to ready, but for a beginning of the sequence at the end.
func (d *detachReader) scan(read []byte) {
	for _, c := range read {
		if len(d.keys) > 0 && c == d.keys[d.matched] {
			if d.matched++; d.matched == len(d.keys) {
				d.matched = 0
				d.err = errDetached
				return
			}
			continue
		}
		// The held-back keys were no sequence. What may still be one begins later
		// in them: keys a,a,b and typed a,a,a,b.
		held := append(bytes.Clone(d.keys[:d.matched]), c)
		d.matched = 0
		for from := range held {
			if bytes.HasPrefix(d.keys, held[from:]) {
				d.ready = append(d.ready, held[:from]...)
				d.matched = len(held) - from
				held = nil
				break
			}
		}
		d.ready = append(d.ready, held...)
	}
}
