package api

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// runtimeJob asks, as a child in another user namespace, what its standard input says: a line
// each, METHOD PATH BODY. NETNS in the body becomes the number of a descriptor of its network
// namespace, FILE that of a file.
func runtimeJob(mode, socket string) error {
	switch mode {
	case "nested":
		cmd := child("runtime "+socket, inRuntime(0, 1))
		cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
		return cmd.Run()
	case "powerless":
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		// Of all threads: the first one's are looked at.
		if _, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none[0])), 0); errno != 0 {
			return errno
		}
	}
	netns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return err
	}
	file, err := os.Open("/proc/self/status")
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.SplitN(lines.Text(), " ", 3)
		body := strings.NewReplacer("NETNS", fmt.Sprint(netns.Fd()), "FILE", fmt.Sprint(file.Fd())).Replace(words[2])
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", words[0], words[1], len(body), body)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err
		}
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		fmt.Printf("%d %s\n", resp.StatusCode, bytes.TrimSpace(answer))
		conn.Close()
	}
	return lines.Err()
}

// inRuntime is how a runtime's process is made: our uid, and another one.
func inRuntime(uid, more int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}, {ContainerID: 1, HostID: more, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}, {ContainerID: 1, HostID: more, Size: 1}},
	}
}

// inContainersPIDNS is all that a runtime's process has, in a pid namespace of its own.
func inContainersPIDNS() *syscall.SysProcAttr {
	attr := inRuntime(0, 100000)
	attr.Cloneflags |= syscall.CLONE_NEWPID
	return attr
}

// askAs has a child ask, and returns the answers.
func askAs(t *testing.T, job string, attr *syscall.SysProcAttr, questions ...string) []string {
	t.Helper()
	cmd := child(job, attr)
	cmd.Stdin = strings.NewReader(strings.Join(questions, "\n") + "\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the child failed: %v, and said %q", err, out)
	}
	answers := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(answers) != len(questions) {
		t.Fatalf("%d questions, and the answers are %q", len(questions), answers)
	}
	return answers
}

// servedFake serves a fake where everybody can reach it.
func servedFake(t *testing.T) (*fake, string) {
	t.Helper()
	path := filepath.Join(shortDir(t), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	f := newFake()
	serveOn(t, f, l)
	return f, path
}

// Only root can map a second id without set-uid programs. What an ordinary user's child in a user
// namespace is told, is in TestPeers.
func TestARuntimeMayDoWhatIsItsOwn(t *testing.T) {
	f, path := servedFake(t)
	if os.Geteuid() != 0 {
		return
	}
	const refused, others = "is not for a runtime", "was not attached by a runtime"
	questions := []struct{ ask, want string }{
		{"GET /_ping ", "200 OK"},
		{"GET /networks ", "200 ["},
		{"POST /containers/create {}", "403 " + refused},
		{"POST /footbridge/v1/shutdown {}", "403 " + refused},
		{"POST /footbridge/v1/upgrade {}", "403 " + refused},
		{"POST /footbridge/v1/dial {}", "403 " + refused},
		{"GET /events ", "403 " + refused},
		{"GET /containers/other/json ", "403 " + others},
		{"GET /v1.44/containers/other/json ", "403 " + others},
		{"POST /footbridge/v1/containers/other/detach {}", "403 " + others},
		{"POST /footbridge/v1/containers/other/publish {}", "403 " + others},
		{`POST /networks/n/connect {"Container": "other"}`, "403 " + others},
		{`POST /networks/n/disconnect {"Container": "other"}`, "403 " + others},
		{"DELETE /containers/mine ", "403 " + refused},
		{"GET /containers/mine/json ", "404 id-of-mine"}, // what is looked up is the one that was checked
		{`POST /footbridge/v1/attach {"PID": 1}`, "403 Descriptor"},
		{`POST /footbridge/v1/attach {"NetNS": "/proc/1/ns/net"}`, "403 Descriptor"},
		{`POST /footbridge/v1/attach {"Descriptor": NETNS, "Holder": {"PID": 1}}`, "403 Descriptor"},
		{`POST /footbridge/v1/attach {"Descriptor": FILE}`, "400 no network namespace"},
		{`POST /footbridge/v1/attach {"Descriptor": 9999}`, "400 no network namespace"},
		{`POST /footbridge/v1/attach {"Descriptor": -1}`, "400 cannot be taken"},
		{`POST /footbridge/v1/attach {"Name": "box", "Descriptor": NETNS, "NetNS": "/run/netns/x"}`, "201 "},
	}
	var asks []string
	for _, q := range questions {
		asks = append(asks, q.ask)
	}
	for i, answer := range askAs(t, "runtime "+path, inRuntime(0, 100000), asks...) {
		status, text, _ := strings.Cut(questions[i].want, " ")
		if !strings.HasPrefix(answer, status+" ") || !strings.Contains(answer, text) {
			t.Errorf("%s: %s, want %s", questions[i].ask, answer, questions[i].want)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := f.lastAttach; got.From != f.runtime || got.From == (NamespaceID{}) || got.Passed == nil || got.NetNS != "/run/netns/x" {
		t.Errorf("the backend was asked for %+v, want the namespace of the child, from %+v", got, f.runtime)
	}
}

// A process in another user namespace is no runtime if one of these is lacking.
func TestWhatIsNoRuntimeIsRefused(t *testing.T) {
	f, path := servedFake(t)
	if os.Geteuid() != 0 {
		return
	}
	for _, c := range []struct {
		name, job, want string
		attr            *syscall.SysProcAttr
		prepare         func()
	}{
		{"one id", "runtime", "one id alone", inContainer(), nil},
		{"no capability", "powerless", "no CAP_SYS_ADMIN", inRuntime(0, 100000), nil},
		{"made inside a sandbox", "nested", "made in yet another one", inRuntime(0, 100000), nil},
		{"in a pid namespace", "runtime", "another pid namespace", inContainersPIDNS(), nil},
		{"a container's", "runtime", "that of container web", inRuntime(0, 100000), func() { f.livesThere = "web" }},
		{"not to be told", "runtime", "no memory", inRuntime(0, 100000), func() { f.livesThere, f.livesErr = "", errors.New("no memory") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.prepare != nil {
				f.mu.Lock()
				c.prepare()
				f.mu.Unlock()
			}
			answer := askAs(t, c.job+" "+path, c.attr, "GET /networks ")[0]
			if !strings.HasPrefix(answer, "403 ") || !strings.Contains(answer, "containers may not control it") || !strings.Contains(answer, c.want) {
				t.Errorf("%s, want a refusal about %q", answer, c.want)
			}
		})
	}
}

// A process of our own passes a descriptor, too, and is nobody's runtime.
func TestAProcessOfOurOwnPassesADescriptor(t *testing.T) {
	f, path := servedFake(t)
	client := New(path)
	netns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer netns.Close()
	if _, err := client.NamespaceAttachFile(t.Context(), NamespaceRequest{Name: "box"}, netns); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var ours, theirs unix.Stat_t
	if err := errors.Join(unix.Fstat(int(netns.Fd()), &ours), unix.Fstat(int(f.lastAttach.Passed.Fd()), &theirs)); err != nil {
		t.Fatal(err)
	}
	if ours.Ino != theirs.Ino || f.lastAttach.From != (NamespaceID{}) {
		t.Errorf("got namespace %d from %+v, want %d from nobody", theirs.Ino, f.lastAttach.From, ours.Ino)
	}
}

func TestWhatTheKernelSaysOfProcesses(t *testing.T) {
	for text, want := range map[string]uint64{
		"":                                       0,
		"         0       1000          1\n":     1,
		"0 1000 1\n1 100000 65536\n":             65537,
		"0 1000 many\n":                          0,
		"0 1000 18446744073709551615\n0 1 2 3\n": 0,
	} {
		if got := mappedIDs([]byte(text)); got != want {
			t.Errorf("%q maps %d ids, want %d", text, got, want)
		}
	}
	for text, want := range map[string]uint64{
		"": 0, "Name:\tCapEff:\nCapEff:\t000001ffffffffff\n": 0x1ffffffffff, "CapEff:\tmany\n": 0, "CapPrm:\t1\nCapEff:\t0\n": 0,
	} {
		if got := effectiveCaps([]byte(text)); got != want {
			t.Errorf("%q: capabilities %x, want %x", text, got, want)
		}
	}
}
