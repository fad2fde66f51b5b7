package shim

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNamespacesAndFiles(t *testing.T) {
	spec := newSpec(t, sh(`
		echo "hostname $(cat /proc/sys/kernel/hostname) $(cat /proc/sys/kernel/domainname)"
		cat /etc/resolv.conf /etc/hosts /etc/hostname
		echo "uid $(id -u) $(id -g) cwd $PWD umask $(umask)"
		tr '\0' ' ' </proc/1/cmdline; echo
		echo "ppid $PPID"
		echo "links $(ls /sys/class/net)"
		echo "lo $(cat /sys/class/net/lo/flags)"
		for n in user mnt pid uts ipc net; do readlink /proc/self/ns/$n; done
	`)...)
	dir := filepath.Dir(spec.Dir)
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	spec.ResolvConf = file("resolv.conf", "nameserver 172.18.0.1\n")
	spec.Hosts = file("hosts", "172.18.0.2 box\n")
	spec.HostnameFile = file("hostname", "box\n")
	spec.Hostname, spec.Domainname = "box", "example"
	got := outputOf(t, spec)
	want := `hostname box example
nameserver 172.18.0.1
172.18.0.2 box
box
uid 0 0 cwd / umask 0022
` + initName + " " + roleRun + ` 
ppid 1
links lo
lo 0x9
`
	if !strings.HasPrefix(got, want) {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	for _, ns := range strings.Fields(strings.TrimPrefix(got, want)) {
		kind, _, _ := strings.Cut(ns, ":")
		if host := link(t, "/proc/self/ns/"+kind); host == ns {
			t.Errorf("%s namespace is the host's", kind)
		}
	}
}

func TestOrphansAreReaped(t *testing.T) {
	// A grandchild that outlives its parent, ends, and must not stay as a zombie.
	got := outputOf(t, newSpec(t, sh(`
		p=$(sh -c 'sh -c "exec true" >/dev/null & echo $!')
		while [ -e /proc/$p ]; do :; done
		echo reaped`)...))
	if got != "reaped\n" {
		t.Errorf("%q", got)
	}
}

func TestCommandEndsEverything(t *testing.T) {
	c := start(t, newSpec(t, sh(`sleep 1000 >/dev/null 2>&1 & echo started; exit 5`)...))
	if exit, out, _ := c.finish(); exit.Code != 5 || out != "started\n" {
		t.Errorf("%+v, %q", exit, out)
	}
	// pid 1 is gone only when all of its namespace is; Wait came after that.
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", c.s.PID())); err == nil {
		t.Error("pid 1 is still there")
	}
}

func TestCapabilities(t *testing.T) {
	status := `grep -E '^(Cap|NoNewPrivs)' /proc/self/status | tr -d '\t' | tr '\n' ' '`
	for _, c := range []struct {
		name   string
		change func(*Spec)
		bound  string
	}{
		{"default", func(*Spec) {}, "00000000a80425fb"}, // as docker run shows
		{"add", func(s *Spec) { s.CapAdd = []string{"net_admin"} }, "00000000a80435fb"},
		{"drop", func(s *Spec) { s.CapDrop = []string{"CAP_CHOWN"} }, "00000000a80425fa"},
		{"drop all, add one", func(s *Spec) { s.CapDrop, s.CapAdd = []string{"ALL"}, []string{"CHOWN"} }, "0000000000000001"},
		{"privileged", func(s *Spec) { s.Privileged = true }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			spec := newSpec(t, sh(status)...)
			c.change(&spec)
			if c.bound == "" {
				b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
				if err != nil {
					t.Fatal(err)
				}
				var last int
				fmt.Sscan(string(b), &last)
				c.bound = fmt.Sprintf("%016x", uint64(1)<<(last+1)-1)
			}
			want := fmt.Sprintf("CapInh:%016x CapPrm:%s CapEff:%s CapBnd:%s CapAmb:%016x NoNewPrivs:0 ", 0, c.bound, c.bound, c.bound, 0)
			if got := outputOf(t, spec); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestMask(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.Mkdir(secret, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(secret, "file")
	if err := os.WriteFile(file, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	alone := filepath.Join(t.TempDir(), "alone")
	if err := os.WriteFile(alone, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	spec := newSpec(t, sh(fmt.Sprintf(`
		M=%s
		[ -z "$(ls -A $M)" ] && echo empty
		[ -z "$(ls -A /proc/1/root$M 2>/dev/null)" ] && echo empty too
		touch $M/x 2>/dev/null || echo read-only
		umount $M 2>/dev/null || umount -l $M 2>/dev/null || echo umount refused
		mount -o remount,rw $M 2>/dev/null || echo remount refused
		unshare --user --map-root-user --mount sh -c "umount $M 2>/dev/null || umount -l $M 2>/dev/null || echo nested refused"
		cat %s
		echo end
	`, secret, alone))...)
	// One of our own files lies under the mask, as in real life.
	spec.Hosts = file
	spec.Mask = []string{secret, alone}
	spec.Args[2] += "\ncat /etc/hosts"
	want := "empty\nempty too\nread-only\numount refused\nremount refused\nnested refused\nend\nsecret"
	if got := outputOf(t, spec); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestKernelSettings(t *testing.T) {
	script := `
		cat /proc/sys/net/ipv4/ip_forward
		cat /proc/sys/net/ipv4/ip_unprivileged_port_start
		(echo 0 >/proc/sys/net/ipv4/ip_forward) 2>/dev/null && echo written || echo refused`
	spec := newSpec(t, sh(script)...)
	spec.Sysctls = map[string]string{"net.ipv4.ip_forward": "1"}
	if got := outputOf(t, spec); got != "1\n0\nrefused\n" {
		t.Errorf("usual: %q", got)
	}
	spec = newSpec(t, sh(script)...)
	spec.Privileged = true
	if got := outputOf(t, spec); got != "0\n0\nwritten\n" {
		t.Errorf("privileged: %q", got)
	}
}

func TestUserNSAuto(t *testing.T) {
	spec := newSpec(t, sh(`cat /proc/self/uid_map; id -u; grep CapEff /proc/self/status; touch /proc/self/comm`)...)
	spec.UserNS = "auto"
	uids, _, needErr := autoMaps()
	if needErr != nil {
		// A machine without subordinate ids: the error must say what is missing.
		_, err := Create(testContext(t), spec)
		if !errors.Is(err, ErrSubIDs) {
			t.Fatalf("%v, want %v", err, ErrSubIDs)
		}
		if !strings.Contains(err.Error(), "package uidmap") && !strings.Contains(err.Error(), "usermod --add-subuids") {
			t.Errorf("no remedy: %v", err)
		}
		return
	}
	out := strings.Fields(outputOf(t, spec))
	want := []string{"0", fmt.Sprint(os.Getuid()), "1", "1", fmt.Sprint(uids[1][1]), fmt.Sprint(uids[1][2]), "0", "CapEff:", "00000000a80425fb"}
	if len(out) < len(want) || strings.Join(out[:len(want)], " ") != strings.Join(want, " ") {
		t.Errorf("got %q, want %q", out, want)
	}

	spec = newSpec(t, sh(`id -u; id -g; id -G; echo $HOME; echo to stdout >/dev/stdout; grep CapEff /proc/self/status`)...)
	spec.UserNS, spec.User = "auto", "54321:54322"
	if got := outputOf(t, spec); got != "54321\n54322\n54322\n/\nto stdout\nCapEff:\t0000000000000000\n" {
		t.Errorf("as another user: %q", got)
	}
}

func TestUserNSAutoErrors(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	spec := newSpec(t, "true")
	spec.UserNS = "auto"
	_, err := Create(testContext(t), spec)
	if !errors.Is(err, ErrSubIDs) || !strings.Contains(err.Error(), "install the package uidmap") {
		t.Errorf("without newuidmap: %v", err)
	}
}

func TestJoinNetwork(t *testing.T) {
	for _, mode := range []string{"container", "path", "auto"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			first := newSpec(t, "sleep", "1000")
			if _, _, err := autoMaps(); mode == "auto" && err == nil {
				first.UserNS = "auto"
			}
			a := start(t, first)
			spec := newSpec(t, sh(`for n in user net pid mnt uts ipc; do readlink /proc/self/ns/$n; done; ls /sys/class/net; hostname; id -u; echo $PPID; grep -E 'Cap(Inh|Bnd|Amb)' /proc/self/status | tr -d '\t'`)...)
			spec.Hostname = "second"
			if mode == "path" {
				spec.NetNSPath = fmt.Sprintf("/proc/%d/ns/net", a.s.PID())
			} else {
				spec.JoinNetOf = first.Dir
			}
			lines := strings.Split(outputOf(t, spec), "\n")
			for i, kind := range []string{"user", "net", "pid", "mnt", "uts", "ipc"} {
				theirs := link(t, fmt.Sprintf("/proc/%d/ns/%s", a.s.PID(), kind))
				if same := lines[i] == theirs; same != (i < 2) {
					t.Errorf("%s namespace: ours %s, theirs %s", kind, lines[i], theirs)
				}
			}
			if got := strings.Join(lines[6:], " "); got != "lo second 0 1 CapInh:0000000000000000 CapBnd:00000000a80425fb CapAmb:0000000000000000 " {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestJoinOutlivesTheJoined(t *testing.T) {
	a := start(t, newSpec(t, "sleep", "1000"))
	spec := newSpec(t, sh(`echo up; read x; ls /sys/class/net`)...)
	spec.OpenStdin, spec.JoinNetOf = true, a.s.Dir()
	b := start(t, spec)
	b.until("up")
	if err := a.s.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.s.Wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
	b.send("go\n")
	if exit, out, _ := b.finish(); exit.Code != 0 || out != "lo\n" {
		t.Errorf("%+v %q", exit, out)
	}
	late := newSpec(t, "true")
	late.JoinNetOf = a.s.Dir()
	if _, err := Create(testContext(t), late); !errors.Is(err, ErrNotRunning) {
		t.Errorf("joining one that has ended: %v", err)
	}
}

func TestHostNetwork(t *testing.T) {
	host := link(t, "/proc/self/ns/net")
	spec := newSpec(t, "readlink", "/proc/self/ns/net")
	spec.HostNetwork = true
	if got := outputOf(t, spec); got != host+"\n" {
		t.Errorf("host network: %q, want %q", got, host)
	}
	spec = newSpec(t, "readlink", "/proc/self/ns/net")
	spec.NetNSPath = "/proc/self/ns/net"
	if got := outputOf(t, spec); got != host+"\n" {
		t.Errorf("the host's by its path: %q, want %q", got, host)
	}
	// Joining a container that has the host's network is to have it too.
	first := newSpec(t, "sleep", "1000")
	first.HostNetwork = true
	start(t, first)
	spec = newSpec(t, "readlink", "/proc/self/ns/net")
	spec.JoinNetOf = first.Dir
	if got := outputOf(t, spec); got != host+"\n" {
		t.Errorf("joining a container on the host's network: %q, want %q", got, host)
	}
}

func TestNothingLeaksIntoTheContainer(t *testing.T) {
	// A descriptor that somebody forgot to mark close-on-exec, as daemons inherit them.
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(secret)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.ExtraFiles = []*os.File{f, f, f, f, f} // 3 to 7
	spec := newSpec(t, sh(`i=0; while ls -l /proc/1/fd | grep -q 'pipe:' && [ $i -lt 100 ]; do i=$((i+1)); sleep 0.02; done # pid 1 may still be starting this
		ls -l /proc/1/fd | sed -n 's/.* -> //p' | sort; echo --; for f in /proc/$$/fd/*; do readlink $f; done; echo --; cat /proc/1/environ | tr '\0' '\n'; echo --; cat /proc/1/cwd/etc/hostname >/dev/null; readlink /proc/1/cwd`)...)
	spec.Privileged = true // others may not even look
	cmd.Env = append(os.Environ(), stageVar+"=daemon", "SHIM_TEST_SPEC="+marshal(t, spec))
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("daemon: %v", err)
	}
	got := string(b)
	if strings.Contains(got, "secret") {
		t.Errorf("a descriptor leaked:\n%s", got)
	}
	parts := strings.Split(got, "--\n")
	if len(parts) != 4 {
		t.Fatalf("output:\n%s", got)
	}
	sockets := 0
	for _, target := range strings.Fields(parts[0]) {
		switch {
		case strings.HasPrefix(target, "socket:"):
			sockets++
		case target == "/dev/null", strings.HasPrefix(target, "anon_inode:"):
		default:
			t.Errorf("pid 1 has %s open", target)
		}
	}
	if sockets != 1 {
		t.Errorf("pid 1 has %d sockets, want the one to its shim:\n%s", sockets, parts[0])
	}
	if fds := strings.Fields(parts[1]); len(fds) != 3 {
		t.Errorf("the command has open: %q", fds)
	}
	if strings.TrimSpace(parts[2]) != strings.Join(runtimeEnv, "\n") || parts[3] != "/\n" {
		t.Errorf("pid 1's environment %q, working directory %q", parts[2], parts[3])
	}

	spec = newSpec(t, sh(`readlink /proc/1/fd/0 >/dev/null 2>&1 && echo readable || echo closed; ls /proc/1/root/ >/dev/null 2>&1 && echo readable || echo closed`)...)
	if got := outputOf(t, spec); got != "closed\nclosed\n" {
		t.Errorf("pid 1 seen by a usual container: %q", got)
	}
}

func TestOddHost(t *testing.T) {
	// A host whose /etc lacks what containers get, and where a hidden folder shows a second time.
	dir, err := os.MkdirTemp("", "o")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), stageVar+"=oddhost", "SHIM_TEST_DIR="+dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = outerNamespaces()
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	want := "our resolv.conf\nour hosts\nour hostname\nkept\nhidden\nhidden again\n"
	if string(b) != want {
		t.Errorf("got %q, want %q", b, want)
	}
}

func TestCheck(t *testing.T) {
	start := time.Now()
	findings := Check(testContext(t))
	for _, f := range findings {
		t.Logf("%+v (%v)", f, time.Since(start))
		if f.Required && !f.OK {
			t.Errorf("%s: %s", f.Name, f.Detail)
		}
		if f.OK != (f.Remedy == "") {
			t.Errorf("%s: remedy %q", f.Name, f.Remedy)
		}
	}
	if len(findings) != 3 {
		t.Errorf("%d findings", len(findings))
	}
}
