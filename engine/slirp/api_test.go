package slirp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
)

// ports are published, for the test's eyes, and fail where the host's port is 1.
type ports map[Forward]bool

func (p ports) publish(f Forward) (io.Closer, error) {
	if f.HostPort == 1 {
		return nil, errors.New("taken")
	}
	p[f] = true
	return closer(func() error {
		delete(p, f)
		if f.HostPort == 2 {
			return errors.New("stuck")
		}
		return nil
	}), nil
}

type closer func() error

func (c closer) Close() error { return c() }

func newForwards(p ports) *forwards {
	return &forwards{publish: p.publish, guest: netip.MustParseAddr("10.0.2.100"), log: slog.New(slog.DiscardHandler)}
}

func TestWhatTheAPIAnswers(t *testing.T) {
	published := ports{}
	f := newForwards(published)
	add := func(args string) string { return `{"execute":"add_hostfwd","arguments":{` + args + `}}` }
	desc := func(text string) string { return `{"error":{"desc":"` + text + `"}}` }
	for _, c := range []struct{ request, want string }{
		{`{"execute":"list_hostfwd"}`, `{"return":{"entries":[]},"entries":[]}`},
		{add(`"proto":"tcp","host_addr":"0.0.0.0","host_port":8080,"guest_addr":"10.0.2.100","guest_port":80`), `{"return":{"id":1}}`},
		{add(`"proto":"udp","host_addr":"127.0.0.1","host_port":8080,"guest_addr":"","guest_port":80`) + "\n", `{"return":{"id":2}}`},
		{add(`"proto":"udp","host_port":8081,"guest_port":81`) + "{}", `{"return":{"id":3}}`},
		{`{"execute":"list_hostfwd"}`, `{"return":{"entries":[` + listedAs + `]},"entries":[` + listedAs + `]}`},
		{`{"execute":"remove_hostfwd","arguments":{"id":2}}`, `{"return":{}}`},
		{`{"execute":"remove_hostfwd","arguments":{"id":2}}`, desc("bad request: remove_hostfwd: bad arguments.id")},
		{`{"execute":"remove_hostfwd","arguments":{"id":"1"}}`, desc("bad request: remove_hostfwd: bad arguments.id")},
		{`{"execute":"remove_hostfwd"}`, desc("bad request: remove_hostfwd: bad arguments.id")},
		{add(`"proto":"tcp","host_port":2,"guest_port":80`), `{"return":{"id":4}}`},
		{`{"execute":"remove_hostfwd","arguments":{"id":4}}`, desc("bad request: remove_hostfwd: slirp_remove_hostfwd failed")},
		{add(`"proto":"tcp","host_port":1,"guest_port":80`), desc("bad request: add_hostfwd: slirp_add_hostfwd failed")},
		{add(`"proto":"tcp","host_port":9,"guest_port":80`), `{"return":{"id":5}}`},
		{add(`"proto":"sctp","host_port":9,"guest_port":80`), desc("bad request: add_hostfwd: bad arguments.proto")},
		{add(`"host_port":9,"guest_port":80`), desc("bad request: add_hostfwd: bad arguments.proto")},
		{`{"execute":"add_hostfwd"}`, desc("bad request: add_hostfwd: bad arguments.proto")},
		{`{"execute":"add_hostfwd","arguments":[]}`, desc("bad request: add_hostfwd: bad arguments.proto")},
		{add(`"proto":"tcp","host_addr":"::1","host_port":9,"guest_port":80`), desc("bad request: add_hostfwd: bad arguments.host_addr")},
		{add(`"proto":"tcp","host_addr":"localhost","host_port":9,"guest_port":80`), desc("bad request: add_hostfwd: bad arguments.host_addr")},
		{add(`"proto":"tcp","host_port":0,"guest_port":80`), desc("bad request: add_hostfwd: bad arguments.host_port")},
		{add(`"proto":"tcp","host_port":70000,"guest_port":80`), desc("bad request: add_hostfwd: bad arguments.host_port")},
		{add(`"proto":"tcp","host_port":"9","guest_port":80`), desc("bad request: add_hostfwd: bad arguments.host_port")},
		{add(`"proto":"tcp","host_port":null,"guest_port":80`), desc("bad request: add_hostfwd: bad arguments.host_port")},
		{add(`"proto":"tcp","host_port":9,"guest_addr":"x","guest_port":80`), desc("bad request: add_hostfwd: bad arguments.guest_addr")},
		{add(`"proto":"tcp","host_port":9`), desc("bad request: add_hostfwd: bad arguments.guest_port")},
		{`{"execute":"list_info"}`, desc("bad request: unknown execute")},
		{`{"execute":1}`, desc("bad request: no execute found")},
		{`{}`, desc("bad request: no execute found")},
		{`[]`, desc("bad request: json_object() failed")},
		{`null`, desc("bad request: json_object() failed")},
		{``, desc("bad request: cannot parse JSON")},
		{`{"execute":`, desc("bad request: cannot parse JSON")},
		{`hello`, desc("bad request: cannot parse JSON")},
	} {
		if got := string(f.answer([]byte(c.request))); got != c.want {
			t.Errorf("%s\n%s, not\n%s", c.request, got, c.want)
		}
	}
	if len(published) != 3 {
		t.Errorf("%v are published", published)
	}
}

const listedAs = `{"id":1,"proto":"tcp","host_addr":"0.0.0.0","host_port":8080,"guest_addr":"10.0.2.100","guest_port":80},` +
	`{"id":2,"proto":"udp","host_addr":"127.0.0.1","host_port":8080,"guest_addr":"10.0.2.100","guest_port":80},` +
	`{"id":3,"proto":"udp","host_addr":"0.0.0.0","host_port":8081,"guest_addr":"10.0.2.100","guest_port":81}`

// slowly gives a byte at a time, and nothing more is to be had once it is all there.
type slowly struct{ rest string }

func (s *slowly) Read(b []byte) (int, error) {
	if s.rest == "" {
		panic("read on behind a whole request")
	}
	n := copy(b[:1], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func TestARequestEndsWithItsValue(t *testing.T) {
	for _, text := range []string{`{"execute":"list_hostfwd"}`, `[1]`, `x`} {
		if b, err := readRequest(&slowly{text}); string(b) != text || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	}
	if b, err := readRequest(strings.NewReader(`{"exec`)); string(b) != `{"exec` || err != nil {
		t.Errorf("cut off: %q, %v", b, err)
	}
	long := `{"execute":"` + strings.Repeat("x", maxRequest)
	if _, err := readRequest(&slowly{long}); err == nil || err.Error() != badTooLarge {
		t.Errorf("too long: %v", err)
	}
	fits := `"` + strings.Repeat("x", maxRequest-2) + `"`
	if b, err := readRequest(strings.NewReader(fits)); len(b) != maxRequest || err != nil {
		t.Errorf("as long as can be: %d, %v", len(b), err)
	}
}

// Whatever a client sends, it is answered with JSON that says either what was done or why
// not, and what is published is what was said.
func FuzzAPI(f *testing.F) {
	f.Add([]byte(`{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_addr":"0.0.0.0","host_port":8080,"guest_addr":"","guest_port":80}}`))
	f.Add([]byte(`{"execute":"list_hostfwd"}`))
	f.Add([]byte(`{"execute":"remove_hostfwd","arguments":{"id":1}}`))
	f.Add([]byte(`{"execute":"add_hostfwd","arguments":{"proto":"udp","host_port":1e3,"guest_port":-0}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		published := ports{}
		request, err := readRequest(bytes.NewReader(b))
		if err != nil {
			return
		}
		answer := newForwards(published).answer(request)
		var r struct {
			Return json.RawMessage
			Error  *apiError
		}
		if err := json.Unmarshal(answer, &r); err != nil || (r.Return == nil) == (r.Error == nil) {
			t.Fatalf("%q: %s, %v", b, answer, err)
		}
		for p := range published {
			if r.Error != nil || p.Proto != "tcp" && p.Proto != "udp" || !p.HostAddr.Is4() || !p.GuestAddr.Is4() || p.HostPort == 0 || p.GuestPort == 0 {
				t.Fatalf("%q publishes %+v and says %s", b, p, answer)
			}
		}
	})
}
