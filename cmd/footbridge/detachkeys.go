package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// defaultDetachKeys leaves a container's terminal and the container running.
const defaultDetachKeys = "ctrl-p,ctrl-q"

// errDetached is what reading input returns when the keys were pressed.
var errDetached = errors.New("read escape sequence")

// parseDetachKeys turns "ctrl-p,ctrl-q" or "a,ctrl-\" into the bytes that a
// terminal sends for it. An empty text means no keys.
func parseDetachKeys(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	var keys []byte
	for key := range strings.SplitSeq(text, ",") {
		code, ok := keyCode(key)
		if !ok {
			return nil, fmt.Errorf("invalid detach keys (%s): %q is not a key: use single characters and ctrl-a to ctrl-z, ctrl-@, ctrl-[, ctrl-\\, ctrl-], ctrl-^ or ctrl-_, with commas between", text, key)
		}
		keys = append(keys, code)
	}
	return keys, nil
}

func keyCode(key string) (code byte, ok bool) {
	if len(key) == 1 {
		return key[0], true
	}
	name, found := strings.CutPrefix(strings.ToLower(key), "ctrl-")
	if !found || len(name) != 1 {
		return 0, false
	}
	switch c := name[0]; {
	case 'a' <= c && c <= 'z':
		return c - 'a' + 1, true
	case c == '@':
		return 0, true
	case '[' <= c && c <= '_':
		return c - '[' + 0x1b, true
	}
	return 0, false
}

// detachReader passes input through until the detach keys were pressed in a
// row; then it returns errDetached. Keys that begin the sequence are held back
// until the next one decides.
type detachReader struct {
	r       io.Reader
	keys    []byte
	matched int    // how many of keys have been pressed in a row
	pending []byte // decided, not yet returned
	err     error  // returned when pending is empty
}

func newDetachReader(r io.Reader, keys []byte) io.Reader {
	if len(keys) == 0 {
		return r
	}
	return &detachReader{r: r, keys: keys}
}

func (d *detachReader) Read(b []byte) (int, error) {
	buf := make([]byte, max(len(b), 1))
	for len(d.pending) == 0 && d.err == nil {
		n, err := d.r.Read(buf)
		for _, c := range buf[:n] {
			if d.feed(c) {
				d.err = errDetached
				break
			}
		}
		if err != nil && d.err == nil {
			// What was held back is input after all.
			d.pending = append(d.pending, d.keys[:d.matched]...)
			d.matched = 0
			d.err = err
		}
	}
	if len(d.pending) > 0 {
		n := copy(b, d.pending)
		d.pending = d.pending[n:]
		return n, nil
	}
	return 0, d.err
}

// feed takes one byte and reports whether it completes the sequence. On a
// mismatch the longest end of what was typed that still begins the sequence
// stays held back.
func (d *detachReader) feed(c byte) bool {
	if c == d.keys[d.matched] {
		d.matched++
		return d.matched == len(d.keys)
	}
	typed := append(append([]byte{}, d.keys[:d.matched]...), c)
	keep := 0
	for n := d.matched; n > 0; n-- {
		if string(typed[len(typed)-n:]) == string(d.keys[:n]) {
			keep = n
			break
		}
	}
	d.pending = append(d.pending, typed[:len(typed)-keep]...)
	d.matched = keep
	return false
}
