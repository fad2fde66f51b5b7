package engine

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// testDial dials, and returns whom the data plane was told to join.
func testDial(t *testing.T, e *Engine, req api.DialRequest) (string, error) {
	t.Helper()
	join, err := e.Dial(t.Context(), req)
	if err != nil {
		return "", err
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "client")
	defer f.Close()
	if err := join(fdpass.NewHandle(fds[1])); err != nil {
		return "", err
	}
	r := bufio.NewReader(f)
	if line, err := r.ReadString('\n'); err != nil || line != "0\n" {
		t.Fatalf("outcome %q, %v", line, err)
	}
	var b strings.Builder
	if _, err := r.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.String(), nil
}

func TestDialFindsContainers(t *testing.T) {
	e := newWorld(t).engine()
	e.testNetwork(t, network.CreateRequest{Name: "a", IPAM: subnet("10.7.0.0/24")})
	e.testNetwork(t, network.CreateRequest{Name: "b", EnableIPv4: ptr(false), IPAM: subnet("fd00:7::/64")})
	id := e.testRun(t, spec{name: "web", mode: "a", nets: map[string]*network.EndpointSettings{"a": {Aliases: []string{"www"}}, "b": {}}})
	e.testRun(t, spec{name: "db", mode: "b"})
	if _, err := e.testCreate(spec{name: "asleep", mode: "a"}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ network, host, want string }{
		{"", "web", "web [10.7.0.2:80]"},
		{"", "WWW", "web [10.7.0.2:80]"},
		{"", "www.a", "web [10.7.0.2:80]"},
		{"", id[:12], "web [10.7.0.2:80]"},
		{"", id, "web [10.7.0.2:80]"},
		{"b", "web", "web [[fd00:7::2]:80]"},
		{"", "web.b", "web [[fd00:7::2]:80]"},
		{"", "10.7.0.2", "web [10.7.0.2:80]"},
		{"a", "10.7.0.2", "web [10.7.0.2:80]"},
		{"", "db", "db [[fd00:7::3]:80]"},
	} {
		if got, err := testDial(t, e, api.DialRequest{Network: test.network, Host: test.host, Port: 80}); err != nil || got != test.want {
			t.Errorf("%q on %q: %s, %v; want %s", test.host, test.network, got, err, test.want)
		}
	}
	for _, test := range []struct{ network, host, want string }{
		{"", "nobody", "no container is known as nobody"},
		{"", id[:4], "no container is known as " + id[:4]}, // as a name may begin whose container is gone
		{"nowhere", "web", "network nowhere not found"},
		{"a", "db", "container db is not connected to network a"},
		{"", "10.7.0.1", "only addresses of containers"}, // the gateway
		{"", "127.0.0.1", "only addresses of containers"},
		{"", "203.0.113.9", "only addresses of containers"},
		{"b", "10.7.0.2", "no running container has the address 10.7.0.2 on network b"},
	} {
		if _, err := testDial(t, e, api.DialRequest{Network: test.network, Host: test.host, Port: 80}); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q on %q: %v, want %q", test.host, test.network, err, test.want)
		}
	}
	if _, err := testDial(t, e, api.DialRequest{Host: "asleep", Port: 80}); !errdefs.IsConflict(err) {
		t.Errorf("a stopped container: %v", err)
	}
}
