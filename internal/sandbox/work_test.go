package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/testserver"
)

// echoServers sends back what comes by TCP and UDP.
func echoServers(t *testing.T) (tcp, udp string) {
	return testserver.TCP(t, testserver.Loopback, testserver.Echo).Addr().String(),
		testserver.UDP(t, testserver.Loopback, testserver.EchoDatagram).LocalAddr().String()
}

func TestAWorkerCanWork(t *testing.T) {
	for _, user := range []string{"as who runs the test", "as an ordinary user", "as root of a namespace"} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			tcp, udp := echoServers(t)
			cmd := child(t, user == "as an ordinary user", "work", tcp, udp)
			if user == "as root of a namespace" {
				// It has all capabilities there until it enters.
				cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER,
					UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}}
			}
			superviseWork(t, cmd)
		})
	}
}

// superviseWork is the parent of workRole.
func superviseWork(t *testing.T, cmd *exec.Cmd) {
	conn, theirs, err := fdpass.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	socket := os.NewFile(uintptr(theirs.Take()), "socket")
	cmd.ExtraFiles = []*os.File{socket}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	socket.Close()
	ended := false
	defer func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Errorf("it ended with %v (%s) and said %q", cmd.ProcessState, Explain(cmd.Process.Pid, waitStatus(cmd)), out.String())
		}
	}()
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	buf := make([]byte, fdpass.MaxMessage)
	expect := func(want string) bool {
		n, _, err := conn.Receive(buf)
		if err != nil || string(buf[:n]) != want {
			t.Errorf("waiting for %q: %q, %v", want, buf[:n], err)
			return false
		}
		return true
	}
	if !expect("listener") {
		return
	}
	checkHeld(t, cmd.Process.Pid)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Error(err)
		return
	}
	defer listener.Close()
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Error(err)
		return
	}
	h := fdpass.NewHandle(int(file.Fd()))
	_ = unix.SetNonblock(h.FD(), true)
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Error(err)
		return
	}
	defer client.Close()
	if err := conn.Send([]byte("here"), h); err != nil {
		t.Error(err)
		return
	}
	_ = client.SetDeadline(time.Now().Add(patience))
	b := make([]byte, 7)
	if _, err := io.ReadFull(client, b); string(b) != "welcome" {
		t.Errorf("%q, %v from the listener that was sent", b, err)
		return
	}
	if !expect("stop me") {
		return
	}
	checkHeld(t, cmd.Process.Pid) // threads made meanwhile as well
	for _, c := range []struct {
		signal syscall.Signal
		state  int
	}{{syscall.SIGSTOP, unix.WSTOPPED}, {syscall.SIGCONT, unix.WCONTINUED}} {
		if err := cmd.Process.Signal(c.signal); err != nil {
			t.Error(err)
		}
		// Not its end: that is for Wait.
		if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, c.state, nil); err != nil {
			t.Error(err)
		}
	}
	if err := conn.Send([]byte("go")); err != nil {
		t.Error(err)
	}
	ended = true
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v (%s) and said %q", err, Explain(cmd.Process.Pid, waitStatus(cmd)), out.String())
	}
	if !strings.Contains(out.String(), "msg=here") {
		t.Errorf("its log is %q", out.String())
	}
	runtime.KeepAlive(file)
}

// checkHeld looks at a process in the sandbox from outside.
func checkHeld(t *testing.T, pid int) {
	t.Helper()
	s, err := Read(pid)
	if err != nil {
		t.Error(err)
	}
	if !s.NoNewPrivs || s.Capabilities != 0 || s.Seccomp != SeccompFilter {
		t.Errorf("the kernel says %+v", s)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(status), fmt.Sprintf("Uid:\t%d", nobody)) {
		// What others may look at belongs to the user, and to root if it is not dumpable.
		info, err := os.Stat(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			t.Fatal(err)
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
			t.Errorf("it is dumpable: %d owns its memory", owner)
		}
	}
	if os.Getuid() == 0 && strings.Contains(string(status), "Uid:\t0") && !strings.Contains(string(status), "CapBnd:\t0000000000000000") {
		t.Errorf("the bounding set of root is not empty:\n%s", status)
	}
}
