package world

import (
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Dispatch()
	os.Setenv(BinaryVariable, "/bin/true") // these tests are about the world alone
	os.Exit(Main(nil, m.Run))
}

func TestTheHostIsAnOrdinaryUserWithoutCapabilities(t *testing.T) {
	w := New(t)
	if got := w.Host("id", "-u"); got != "1000" {
		t.Errorf("uid is %s, want 1000", got)
	}
	status := w.Host("cat", "/proc/self/status")
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
		if !strings.Contains(status, set+":\t0000000000000000") {
			t.Errorf("the host's user holds capabilities in %s:\n%s", set, status)
		}
	}
	if r := w.Run(Host, "ip", "link", "add", "x", "type", "veth"); r.Code == 0 {
		t.Error("the host's user may make links")
	}
	w.Host("unshare", "--user", "--map-root-user", "--net", "ip", "link", "add", "x", "type", "veth")
}

func TestMachinesReachEachOther(t *testing.T) {
	w := New(t)
	for _, c := range []struct {
		place Place
		to    string
	}{
		{Host, "WEB4"}, {Host, "WEB6"}, {Host, "CLIENT4"}, {Host, "CLIENT6"},
		{Client, "HOST4"}, {Client, "HOST6"}, {Client, "UPLINK4"}, {Internet, "UPLINK4"}, {Internet, "UPLINK6"}, {Internet, "HOST6"},
	} {
		if r := w.Run(c.place, "ping", "-c1", "-W2", Addr(c.to).String()); r.Code != 0 {
			t.Errorf("%s cannot ping %s: %s%s", c.place, c.to, r.Stdout, r.Stderr)
		}
	}
	if r := w.Run(Client, "ping", "-c1", "-W1", Addr("WEB4").String()); r.Code == 0 {
		t.Error("the host forwards packets of the client: it should be a machine, not a router")
	}
}

func TestTheInternetServes(t *testing.T) {
	const connect = `python3 -c 'import socket,sys,errno,time
t=time.time()
try: socket.create_connection((sys.argv[1],int(sys.argv[2])),3)
except OSError as e: print(errno.errorcode.get(e.errno,e), time.time()-t)' `
	w := New(t)
	for _, c := range []struct{ want, command string }{
		{"hello from the internet", "curl -sS http://$WEB4/"},
		{"hello from the internet", "curl -sS http://[$WEB6]/"},
		{"hello from the internet", "curl -sS http://web.example.test/"},
		{"203.0.113.2", "curl -sS http://$WEB4/peer"},
		{"2001:db8:2::2", "curl -sS http://[$WEB6]/peer"},
		{"0123456789abcde", "curl -sS http://$WEB4/bytes/16"},
		{"secret of the cloud", "curl -sS http://$METADATA4/"},
		{"secret of the host's loopback", "curl -sS http://127.0.0.1:8999/"},
		{"secret of the host's loopback", "curl -sS http://[::1]:8999/"},
		{"secret of the link", "curl -sS http://[fe80::1%25uplink]/"},
		{"hello from the host", "curl -sS http://$HOST6:8998/ || curl -sS http://[$HOST6]:8998/"},
		{"198.51.100.10", "dig +short web.example.test A"},
		{"2001:db8:100::10", "dig +short web.example.test AAAA @$DNS6"},
		{"web.example.test.", "dig +short -x $WEB4"},
		{"web.example.test.", "dig +short -x $WEB6"},
		{"NXDOMAIN", "dig nothing.example.test"},
		{"NXDOMAIN", "dig example.invalid"},
		{"SERVFAIL", "dig servfail.example.test"},
		{"REFUSED", "dig refused.example.test"},
		{"first", "dig +short whoami.example.test TXT"},
		{"second", "dig +short whoami.example.test TXT @$OTHERDNS4"},
		{"stub", "dig +short whoami.example.test TXT @127.0.0.53"},
		{"flags: qr tc", "dig +ignore +noedns +norec +noall +comments middle.example.test TXT"},
		{"24 xxx", "dig +short big.example.test TXT"},
		{"ECONNREFUSED", connect + "$WEB4 81"},
		{"ECONNREFUSED", connect + "$WEB6 81"},
		{"EHOSTUNREACH", connect + "$UNREACHABLE4 80"},
		{"ENETUNREACH", connect + "$UNREACHABLE6 80"},
		{"imed out", "curl -sS -m 1 http://$HOLE4/ 2>&1"},
		{"imed out", "curl -sS -m 1 http://[$HOLE6]/ 2>&1"},
	} {
		r := w.Run(Host, "sh", "-c", c.command)
		if !strings.Contains(r.Stdout, c.want) {
			t.Errorf("%s: got %q, %q, want %q", c.command, r.Stdout, r.Stderr, c.want)
		}
	}
}

func TestCommandsHaveStatusSignalsAndStreams(t *testing.T) {
	w := New(t)
	if r := w.Run(Host, "sh", "-c", "echo out; echo err >&2; exit 7"); r.Code != 7 || r.Stdout != "out\n" || r.Stderr != "err\n" {
		t.Errorf("got %+v", r)
	}
	if r := w.Run(Host, "no-such-program"); r.Err == nil {
		t.Error("a program that does not exist was started")
	}
	c := w.Command(Client, "cat")
	var out strings.Builder
	c.Stdin, c.Stdout = strings.NewReader("said"), &out
	if code, err := c.Run(); code != 0 || err != nil || out.String() != "said" {
		t.Errorf("cat: %d, %v, %q", code, err, out.String())
	}
	c = w.Command(Host, "sleep", "infinity")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	c.Signal(syscall.SIGTERM)
	if code, err := c.Wait(); code != 128+15 || err != nil {
		t.Errorf("after SIGTERM: %d, %v", code, err)
	}
}

func TestPrivateFiles(t *testing.T) {
	w := New(t)
	if got := w.Host("sh", "-c", "ls -A /tmp | grep -v -e ^fbw -e ^home; ls -A $XDG_RUNTIME_DIR $HOME/.local/state"); strings.Contains(got, "systemd") {
		t.Errorf("the world's folders are not empty: %s", got)
	}
	if got := w.Host("cat", "/etc/resolv.conf"); !strings.Contains(got, Addr("DNS4").String()) {
		t.Errorf("resolv.conf is %q", got)
	}
	w.Host("test", "-e", "/etc/ssl")
}

func TestNothingSurvivesAWorld(t *testing.T) {
	w := New(t)
	// A process of this world, hidden as well as a process can hide, shows itself outside by its argument.
	mark := "3141" + strings.TrimLeft(time.Now().Format("150405.000"), "0")
	w.Host("sh", "-c", "setsid sleep "+mark+" >/dev/null 2>&1 &")
	find := func() bool {
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			if b, err := os.ReadFile("/proc/" + e.Name() + "/cmdline"); err == nil && strings.Contains(string(b), mark) && strings.HasPrefix(string(b), "sleep") {
				return true
			}
		}
		return false
	}
	w.Await("the hidden process to be visible", find)
	w.Close()
	if find() {
		t.Error("a process survived its world")
	}
}

func TestASnapshotShowsProcessesAndListeners(t *testing.T) {
	w := New(t)
	before := w.Snapshot()
	c := w.Command(Host, "python3", "-m", "http.server", "-b", "127.0.0.2", "8123")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Await("the server to listen", func() bool {
		return strings.Contains(strings.Join(w.Snapshot().Since(before), "\n"), "tcp 127.0.0.2:8123")
	})
	if got := strings.Join(w.Snapshot().Since(before), "\n"); !strings.Contains(got, "http.server") {
		t.Errorf("the process is not in the snapshot: %s", got)
	}
	c.Kill()
	c.Wait()
	w.Await("nothing to be left", func() bool { return len(w.Snapshot().Since(before)) == 0 })
}

func TestTheLongerWayHasTwoRoutersAndSmallLinks(t *testing.T) {
	w, err := Start(Options{Routers: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, c := range []struct{ far, hop, router string }{{"FAR4", "HOP4", "ROUTER4"}, {"FAR6", "HOP6", "ROUTER6"}} {
		far := Addr(c.far).String()
		if r := w.Run(Host, "ping", "-c1", "-W2", far); r.Code != 0 {
			t.Errorf("the host cannot ping %s: %s%s", far, r.Stdout, r.Stderr)
		}
		for ttl, want := range map[string]string{"1": c.router, "2": c.hop} {
			r := w.Run(Host, "ping", "-c1", "-W2", "-t", ttl, far)
			if !strings.Contains(r.Stdout, "From "+Addr(want).String()+" ") {
				t.Errorf("with TTL %s nobody of address %s complains: %s%s", ttl, Addr(want), r.Stdout, r.Stderr)
			}
		}
		for _, step := range []struct{ size, mtu string }{{"1452", "1400"}, {"1352", "1280"}} {
			r := w.Run(Host, "ping", "-c1", "-W2", "-M", "do", "-s", step.size, far)
			if !regexp.MustCompile(`(?i)mtu ?[=:] ?` + step.mtu + `\b`).MatchString(r.Stdout) {
				t.Errorf("ping %s of %s bytes is not told of MTU %s: %s%s", far, step.size, step.mtu, r.Stdout, r.Stderr)
			}
		}
	}
}
