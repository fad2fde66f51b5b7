package api

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
)

// programVariable names what child runs in the place of this test binary itself.
const programVariable = "FOOTBRIDGE_API_TEST_PROGRAM"

// openSocket serves a fake on a socket that everybody can reach, so that only
// the check of the peer stands in the way.
func openSocket(t *testing.T) string {
	t.Helper()
	dir := shortDir(t)
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{dir: 0o755, path: 0o666} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	serveOn(t, newFake(), l)
	return path
}

// child returns this test binary as a process that does a job. /proc/self/exe
// can be executed by a user who could not reach the file by its path.
func child(job string, attr *syscall.SysProcAttr) *exec.Cmd {
	program := "/proc/self/exe"
	if p := os.Getenv(programVariable); p != "" {
		program = p
	}
	cmd := exec.Command(program)
	cmd.Dir = "/"
	cmd.Env = []string{helperVariable + "=" + job}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = attr
	return cmd
}

// inContainer is how a container's process is made: our uid for the kernel, a
// user namespace of its own.
func inContainer() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
}

func TestPeers(t *testing.T) {
	path := openSocket(t)
	type testCase struct {
		name, job, want string
		attr            *syscall.SysProcAttr
	}
	tests := []testCase{
		{"our own process", "get", "200 OK", nil},
		{"our own process that nobody may trace", "undumpable", "200 OK", nil},
		{"a process in a container", "get", "403 {\"message\":\"process ", inContainer()},
		{"a process in a container that nobody may trace", "undumpable", "403 {\"message\":\"process ", inContainer()},
	}
	if os.Geteuid() == 0 {
		tests = append(tests, testCase{"another user's process", "get", "403 {\"message\":\"this footbridge daemon serves uid 0, and you are uid 12345",
			&syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := child(tt.job+" "+path, tt.attr).Output()
			if err != nil {
				t.Fatalf("the child failed: %v, and said %q", err, out)
			}
			if !strings.HasPrefix(string(out), tt.want) {
				t.Errorf("got %q, want %q", out, tt.want)
			}
			if tt.attr != nil && tt.attr.Cloneflags != 0 && !strings.Contains(string(out), "another user namespace") {
				t.Errorf("%q does not say that it is the namespace", out)
			}
		})
	}
}

// TestPeersThatMayNotBeRead runs TestPeers once more as an ordinary user, whose
// children are a program that he may execute and not read: the kernel lets nobody
// but root trace such a process, in whatever namespace, so that the link to its
// namespace cannot be read. It takes root to make such a program.
func TestPeersThatMayNotBeRead(t *testing.T) {
	if os.Geteuid() != 0 {
		same, err := sameUserNamespace(os.Getpid())
		if err != nil || !same {
			t.Errorf("our own namespace: %v, %v", same, err)
		}
		return
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	readable, unreadable := filepath.Join(dir, "r"), filepath.Join(dir, "u")
	for name, mode := range map[string]os.FileMode{readable: 0o755, unreadable: 0o711} {
		if err := os.WriteFile(name, self, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(readable, "-test.run=^TestPeers$", "-test.v")
	cmd.Env = append(os.Environ(), programVariable+"="+unreadable)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestPeers/a_process_in_a_container") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestPeerOfAnotherUid needs no second user: it asks whether we are served by
// the daemon of the next one.
func TestPeerOfAnotherUid(t *testing.T) {
	server, _ := socketPair(t)
	if err := checkPeer(server, os.Geteuid()); err != nil {
		t.Errorf("our own daemon: %v", err)
	}
	if err := checkPeer(server, os.Geteuid()+1); !errdefs.IsPermissionDenied(err) {
		t.Errorf("another uid's daemon: %v; want permission denied", err)
	}
}

// TestPeerThatHasEnded connects in a child that ends before it is looked at: its
// pid may be anybody's by then.
func TestPeerThatHasEnded(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := child("get "+path, nil)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child was not killed")
	}
	if err := checkPeer(conn, os.Geteuid()); !errdefs.IsPermissionDenied(err) {
		t.Errorf("got %v; want permission denied", err)
	}
}

func TestConnectionThatIsNoUnixSocket(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, newFake(), l)
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(line, "403") {
		t.Errorf("got %q, %v; want 403", line, err)
	}
}

// TestClientRefusesForeignDaemon needs a second user, whom only root can be.
// Elsewhere the same comparison is made by TestPeerOfAnotherUid.
func TestClientRefusesForeignDaemon(t *testing.T) {
	if os.Geteuid() != 0 {
		server, _ := socketPair(t)
		cred, err := peerCred(server)
		if err != nil || int(cred.Uid) != os.Geteuid() {
			t.Fatalf("credentials of our own socket: %+v, %v", cred, err)
		}
		return
	}
	dir := shortDir(t)
	if err := os.Chown(dir, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	cmd := child("listen "+path, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}})
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer stdin.Close()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "listening\n" {
		t.Fatalf("the child said %q, %v", line, err)
	}
	if err := New(path).Ping(testContext(t)); !errors.Is(err, ErrForeignDaemon) {
		t.Errorf("got %v; want ErrForeignDaemon", err)
	}
}

// socketPair returns the two ends of a connection over a named socket.
func socketPair(t *testing.T) (server, client *net.UnixConn) {
	t.Helper()
	path := filepath.Join(shortDir(t), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client = dialRaw(t, path)
	server, err = l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server, client
}
