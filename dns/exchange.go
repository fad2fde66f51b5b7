package dns

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"time"

	miekg "github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/turn"
)

// errMismatch: a reply over TCP that isn't one to our question.
var errMismatch = errors.New("the reply is not to the question that was asked")

// exchange is one client's question on its way through the servers.
type exchange struct {
	q       query
	timeout time.Duration
	tcp     bool // the client's transport
	turn    *turn.Turn
}

// largeSize is a UDP reply that most clients' OPT records allow at most.
const largeSize = 4096

// Buffers for UDP replies. Those of the greatest size are for clients that name
// one over largeSize: what a hostile container makes us hold is 64 KiB times
// ClientLimits.Forwards.
var (
	usualBuffers = sync.Pool{New: func() any { return new([largeSize + 1]byte) }}
	hugeBuffers  = sync.Pool{New: func() any { return new([maxMessage + 1]byte) }}
)

// try asks one server.
func (x *exchange) try(ctx context.Context, server netip.AddrPort) ([]byte, error) {
	var reply []byte
	var err error
	if x.q.size <= largeSize {
		buf := usualBuffers.Get().(*[largeSize + 1]byte)
		defer usualBuffers.Put(buf)
		reply, err = x.tryUDP(ctx, server, buf[:])
	} else {
		buf := hugeBuffers.Get().(*[maxMessage + 1]byte)
		defer hugeBuffers.Put(buf)
		reply, err = x.tryUDP(ctx, server, buf[:])
	}
	if err == nil && x.tcp && binary.BigEndian.Uint16(reply[2:])&bitTC != 0 {
		reply, err = x.tryTCP(ctx, server)
	}
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(reply, x.q.id())
	if binary.BigEndian.Uint16(reply[4:]) == 1 {
		// The same but for upper and lower case, which some servers change.
		copy(reply[headerLen:], x.q.question)
	}
	return reply, nil
}

func (x *exchange) tryUDP(ctx context.Context, server netip.AddrPort, buf []byte) ([]byte, error) {
	conn, release, err := dialer{unix.SOCK_DGRAM, server, x.timeout, x.turn}.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	msg, id := x.withFreshID(nil)
	start := x.turn.Begin()
	_, err = conn.Write(msg)
	x.turn.End(start)
	if err != nil {
		return nil, err
	}
	for {
		n, err := conn.Read(buf)
		if err != nil && err != io.EOF { // an empty datagram is no end
			return nil, timeoutError(err)
		}
		got := buf[:n]
		if !x.matches(got, id) {
			continue // somebody guesses, or a late one; ours may still come
		}
		if n == len(buf) {
			return cutDown(got, &x.q), nil
		}
		return bytes.Clone(got), nil
	}
}

func (x *exchange) tryTCP(ctx context.Context, server netip.AddrPort) ([]byte, error) {
	conn, release, err := dialer{unix.SOCK_STREAM, server, x.timeout, x.turn}.dial(ctx)
	if err != nil {
		return nil, timeoutError(err)
	}
	defer release()
	msg, id := x.withFreshID(binary.BigEndian.AppendUint16(nil, uint16(len(x.q.msg))))
	if _, err := conn.Write(msg); err != nil {
		return nil, timeoutError(err)
	}
	buf := make([]byte, maxMessage)
	reply, _, err := readMessage(conn, buf)
	switch {
	case err != nil:
		return nil, timeoutError(err)
	case !x.matches(reply, id):
		return nil, errMismatch
	}
	return reply, nil
}

// withFreshID returns the query behind prefix, with an id that nobody can guess.
func (x *exchange) withFreshID(prefix []byte) (msg []byte, id uint16) {
	var b [2]byte
	rand.Read(b[:]) // never fails, says its documentation
	id = binary.BigEndian.Uint16(b[:])
	msg = append(prefix, x.q.msg...)
	binary.BigEndian.PutUint16(msg[len(prefix):], id)
	return msg, id
}

// matches tells whether msg is a response to the question, asked with that id.
func (x *exchange) matches(msg []byte, id uint16) bool {
	if len(msg) < headerLen || binary.BigEndian.Uint16(msg) != id {
		return false
	}
	flags := binary.BigEndian.Uint16(msg[2:])
	if flags&bitQR == 0 || flags&maskOpcode != 0 {
		return false
	}
	switch binary.BigEndian.Uint16(msg[4:]) {
	case 0:
		// A server that cannot read or will not serve the question may leave it out.
		rcode := int(flags & maskRcode)
		return rcode != miekg.RcodeSuccess && rcode != miekg.RcodeNameError
	case 1:
		return len(msg) >= headerLen+len(x.q.question) && sameQuestion(msg[headerLen:], x.q.question)
	}
	return false
}

// sameQuestion compares the question at the start of b, ignoring the name's
// case. Length bytes are below 64 and so not letters; type and class are compared
// as they are.
func sameQuestion(b, question []byte) bool {
	name := len(question) - 4
	for i := range name {
		if lower(b[i]) != lower(question[i]) {
			return false
		}
	}
	return bytes.Equal(b[name:len(question)], question[name:])
}

// timeoutError says "no answer in time" where package net says "i/o timeout".
func timeoutError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer in time: %w", err)
	}
	return err
}
