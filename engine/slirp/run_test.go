package slirp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

func TestANamespaceIsConfiguredAndReachesTheHost(t *testing.T) {
	w := nstest.New(t, 0)
	s := run(t, w, "-c", "-6", "--mtu=9000", "--macaddress=02:11:22:33:44:55")
	out := w.Run("ip", "addr", "show", "tap0") + w.Run("ip", "route")
	for _, want := range []string{"mtu 9000", "02:11:22:33:44:55", "inet 10.0.2.100/24", "default via 10.0.2.2 dev tap0", "UP,LOWER_UP"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in:\n%s", want, out)
		}
	}
	// The kernel makes its IPv6 address itself, of what the gateway advertises.
	waitUntil(t, "an address of IPv6", func() bool {
		return strings.Contains(w.Run("ip", "-6", "addr", "show", "tap0"), "fd00::11:22ff:fe33:4455/64")
	})
	w.MustCall("dial", fmt.Sprintf("10.0.2.2:%d", hostServer(t)))
	if got := w.MustCall("ask", "hello"); got != "hello" {
		t.Errorf("the host's loopback said %q", got)
	}
	s.exit.Close()
	if err := s.ended(); err != nil {
		t.Errorf("the end by the exit-fd: %v", err)
	}
	if out, err := w.Call("exec", "ip", "link", "show", "tap0"); err == nil {
		t.Errorf("the interface has stayed: %s", out)
	}
	if _, err := os.Stat(s.api); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the API socket has stayed: %v", err)
	}
	for _, want := range []string{"WARNING: Support for IPv6 is experimental\n", "Starting slirp\n* MTU:             9000\n", "exitfd event", "127.0.0.1:* on the host is accessible as 10.0.2.2"} {
		if !strings.Contains(s.out.String(), want) {
			t.Errorf("%q was not said", want)
		}
	}
}

func TestTheHostsLoopbackMayBeShut(t *testing.T) {
	w := nstest.New(t, 0)
	run(t, w, "-c", "--disable-host-loopback")
	_, err := w.Call("dial", fmt.Sprintf("10.0.2.2:%d", hostServer(t)))
	if err == nil || !strings.Contains(err.Error(), "network is unreachable") {
		t.Errorf("%v, want unreachable", err)
	}
}

func TestNamesAreAskedForAtTheThirdAddress(t *testing.T) {
	w := nstest.New(t, 0)
	run(t, w, "-c", "--cidr=10.5.0.0/16")
	for _, network := range []string{"udp", "tcp"} {
		// Whatever the host's resolvers say: somebody answers.
		if _, err := w.Call("lookup", network, "10.5.0.3:53", "localhost.localdomain."); err != nil && (strings.Contains(err.Error(), "timeout") || strings.Contains(err.Error(), "refused")) {
			t.Errorf("%s: %v", network, err)
		}
	}
	w = nstest.New(t, 0)
	run(t, w, "-c", "--disable-dns")
	if _, err := w.Call("dial", "10.0.2.3:53", "1s"); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("without names: %v, want silence", err)
	}
}

func TestPortsAreForwarded(t *testing.T) {
	w := nstest.New(t, 0)
	s := run(t, w, "-c")
	w.MustCall("echo", "0.0.0.0:80")
	for _, proto := range []string{"udp", "tcp"} { // the first datagram to a guest that has not said a word
		if err := echoes(proto, s.forward(proto, 80)); err != nil {
			t.Errorf("%s: %v", proto, err)
		}
	}
	at := s.forward("tcp", 80)
	if got := s.ask(`{"execute":"remove_hostfwd","arguments":{"id":3}}`); got != `{"return":{}}` {
		t.Error(got)
	}
	if err := echoes("tcp", at); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after its removal: %v", err)
	}
	taken := hostServer(t)
	if got := s.ask(fmt.Sprintf(`{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_addr":"127.0.0.1","host_port":%d,"guest_port":80}}`, taken)); !strings.Contains(got, badAddFailed) {
		t.Errorf("a taken port: %s", got)
	}
	// A worker that is killed costs a moment.
	worker := children(s.Process.Pid)
	if err := exec.Command("kill", "-9", worker).Run(); err != nil {
		t.Fatalf("kill %q: %v", worker, err)
	}
	if err := echoes("tcp", s.forward("tcp", 80)); err != nil {
		t.Errorf("after the worker's death: %v", err)
	}
}

// As RootlessKit does: the interface is made and set up by others.
func TestAnInterfaceThatIsThereIsUsed(t *testing.T) {
	w := nstest.New(t, 0)
	w.Run("ip", "tuntap", "add", "name", "tap0", "mode", "tap")
	w.Run("ip", "link", "set", "tap0", "up")
	s := run(t, w)
	w.Run("ip", "addr", "add", "10.0.2.77/24", "dev", "tap0") // any address of the network
	w.Run("ip", "link", "set", "tap0", "address", "02:00:00:00:00:77")
	w.Run("ip", "route", "add", "default", "via", "10.0.2.2")
	w.MustCall("dial", fmt.Sprintf("10.0.2.2:%d", hostServer(t)))
	w.MustCall("ask", "hello")
	if got := s.ask(`{"execute":"list_hostfwd"}`); !strings.HasPrefix(got, `{"return"`) {
		t.Error(got)
	}
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var end *exec.ExitError
	if err := s.ended(); !errors.As(err, &end) || end.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("the end by a signal: %v", err)
	}
	w.Run("ip", "link", "show", "tap0")
}

func TestNothingIsLeftOfAKilledOne(t *testing.T) {
	w := nstest.New(t, 0)
	s := run(t, w, "-c")
	worker := children(s.Process.Pid)
	if worker == "" {
		t.Fatal("it has no worker")
	}
	_ = s.Process.Kill()
	_ = s.ended()
	gone(t, "/proc/"+worker)
	if out, err := w.Call("exec", "ip", "link", "show", "tap0"); err == nil {
		t.Errorf("the interface has stayed: %s", out)
	}
	// And the next one takes its place, API socket and all.
	next := start(t, nil, "-c", "-r", "3", "-e", "4", "-a", s.api, fmt.Sprint(w.Pid), "tap0")
	next.api = s.api
	next.mustBeReady()
	next.ask(`{"execute":"list_hostfwd"}`)
}

func TestItEndsWhenNobodyIsLeft(t *testing.T) {
	for _, by := range []string{"pid", "path"} {
		w := nstest.New(t, 0)
		place := []string{fmt.Sprint(w.Pid), "tap0"}
		if by == "path" {
			place = []string{"--netns-type=path", fmt.Sprintf("--userns-path=/proc/%d/ns/user", w.Pid), fmt.Sprintf("/proc/%d/ns/net", w.Pid), "tap0"}
		}
		s := start(t, nil, append([]string{"-c", "-r", "3"}, place...)...)
		s.mustBeReady()
		w.End()
		if err := s.ended(); err != nil || !strings.Contains(s.out.String(), "nobody is left") {
			t.Errorf("by its %s: %v", by, err)
		}
	}
}

// The process that was named may go before others of its namespace.
func TestItGoesOnWhileSomebodyIsLeft(t *testing.T) {
	w := nstest.New(t, 0)
	first := exec.Command("sleep", "1000")
	other := exec.Command("sleep", "1000")
	for _, c := range []*exec.Cmd{first, other} {
		c.Args = []string{"nsenter", "--preserve-credentials", "-U", "-n", "-t", fmt.Sprint(w.Pid), "sleep", "1000"}
		var err error
		if c.Path, err = exec.LookPath("nsenter"); err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	}
	ours, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", w.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*exec.Cmd{first, other} {
		waitUntil(t, "a process in the namespace", func() bool {
			got, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", c.Process.Pid))
			return got == ours
		})
	}
	s := start(t, nil, "-c", "-r", "3", fmt.Sprint(first.Process.Pid), "tap0")
	s.mustBeReady()
	w.MustCall("dial", fmt.Sprintf("10.0.2.2:%d", hostServer(t)))
	_ = first.Process.Kill()
	_ = first.Wait()
	w.MustCall("ask", "hello")
	select {
	case <-s.done:
		t.Fatal("it has ended")
	default:
	}
	w.End()
	_ = other.Process.Kill()
	_ = other.Wait()
	if err := s.ended(); err != nil {
		t.Error(err)
	}
}

func TestItEndsWithItsInterface(t *testing.T) {
	w := nstest.New(t, 0)
	s := run(t, w, "-c")
	w.Run("ip", "link", "del", "tap0")
	if err := s.ended(); err != nil || !strings.Contains(s.out.String(), "the interface is gone") {
		t.Error(err)
	}
}

func TestWhatCannotBeIsSaid(t *testing.T) {
	w := nstest.New(t, 0)
	pid := fmt.Sprint(w.Pid)
	long := filepath.Join(t.TempDir(), strings.Repeat("a", 120))
	stream, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(stream[0]), "stream")
	t.Cleanup(func() { file.Close(); unix.Close(stream[1]) })
	for _, c := range []struct {
		args string
		want string
	}{
		{"--mtu=0 1 tap0", "MTU must be a positive integer (< 65522)\nUsage: slirp4netns "},
		{"--netns-type=path /nonexistent tap0", "existing path expected when --netns-type=path: No such file or directory\nUsage: "},
		{"--netns-type=path /dev/null tap0", "not a network namespace"},
		{"--userns-path=/nonexistent " + pid + " tap0", "userns path doesn't exist: /nonexistent\n"},
		{"2147483647 tap0", "/proc/2147483647/ns/net: No such file or directory\n"},
		{"-c " + pid + " lo", "lo"},
		{"-c " + pid + " a-name-that-is-too-long", "must be 1-15"},
		{"-c -a " + long + " " + pid + " tap0", "the specified API socket path is too long (>= 108)\n"},
		{"-c -a /nonexistent/api " + pid + " tap0", "API socket: "},
		{"-c --outbound-addr=nothing " + pid + " tap0", "outbound-addr has to be valid ipv4 address or interface name.\n"},
		{"-c --outbound-addr6=192.0.2.1 " + pid + " tap0", "outbound-addr6 has to be valid ipv6 address or interface name.\n"},
		{"-c -e 99 " + pid + " tap0", "exit-fd 99: bad file descriptor\n"},
		{"--netns-type=tapfd 99", "descriptor 99"},
		{"--netns-type=tapfd 5", "not a descriptor of Ethernet frames"},
		{"--target-type=bess " + long, "the specified BESS socket path is too long (>= 108)\n"},
	} {
		s := start(t, []*os.File{file}, strings.Fields(c.args)...)
		if err := s.ended(); err == nil || s.ProcessState.ExitCode() != 1 || !strings.Contains(s.out.String(), c.want) {
			t.Errorf("%s: %v\n%s", c.args, err, s.out.String())
		}
	}
	if out, err := w.Call("exec", "ip", "link", "show", "tap0"); err == nil {
		t.Errorf("an interface has stayed: %s", out)
	}
}

func TestHelpAndVersionAreForPrograms(t *testing.T) {
	s := start(t, nil, "--version")
	if err := s.ended(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(s.out.String(), "\n")
	prefixes := []string{"slirp4netns version 1.3.2+footbridge-", "commit: ", "libslirp: 0.0.0", "SLIRP_CONFIG_VERSION_MAX: 4", "libseccomp: 0.0.0", ""}
	if !slices.EqualFunc(lines, prefixes, strings.HasPrefix) {
		t.Errorf("%q", lines)
	}
	s = start(t, nil, "--help")
	if err := s.ended(); err != nil || !strings.HasPrefix(s.out.String(), "Usage: slirp4netns [OPTION]... ") {
		t.Errorf("%v: %s", err, s.out.String())
	}
}

// Two of them with the same addresses are nothing to each other.
func TestManyHaveTheSameAddresses(t *testing.T) {
	var all []*started
	for i := range 3 {
		w := nstest.New(t, 0)
		s := run(t, w, "-c")
		if i != 1 {
			w.MustCall("echo", "0.0.0.0:80")
		}
		all = append(all, s)
	}
	for i, s := range all {
		err := echoes("tcp", s.forward("tcp", 80))
		if (err == nil) != (i != 1) {
			t.Errorf("number %d: %v", i, err)
		}
	}
}

func TestAnAddressToLeaveByIsAnInterfacesToo(t *testing.T) {
	if a, err := outbound("lo", true); err != nil || a.String() != "127.0.0.1" {
		t.Errorf("%s, %v", a, err)
	}
	for name, v4 := range map[string]bool{"192.0.2.7": true, "fd00::7": false, "": true} {
		if a, err := outbound(name, v4); err != nil || name != "" && a.String() != name {
			t.Errorf("%q: %s, %v", name, a, err)
		}
	}
	for name, v4 := range map[string]bool{"192.0.2.7": false, "fd00::7": true, "fe80::1%lo": false, "no-such": true, "::ffff:192.0.2.7": false} {
		if a, err := outbound(name, v4); err == nil {
			t.Errorf("%q: %s", name, a)
		}
	}
}

// A client of the API that says nothing holds nobody up.
func TestASilentClientHoldsNobodyUp(t *testing.T) {
	w := nstest.New(t, 0)
	s := run(t, w, "-c")
	c, err := net.Dial("unix", s.api)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	begin := time.Now()
	if got := s.ask(`{"execute":"list_hostfwd"}`); !bytes.Contains([]byte(got), []byte("entries")) || time.Since(begin) > patience/2 {
		t.Errorf("%s after %v", got, time.Since(begin))
	}
}
