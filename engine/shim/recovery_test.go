package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestDaemonKilled(t *testing.T) {
	spec := newSpec(t, sh(`echo up; read x; echo "got $x"; exit 11`)...)
	spec.OpenStdin = true
	daemon := exec.Command("/proc/self/exe")
	daemon.Env = append(os.Environ(), stageVar+"=daemon", "SHIM_TEST_SPEC="+marshal(t, spec))
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	up := make([]byte, 3)
	if _, err := io.ReadFull(out, up); err != nil || string(up) != "up\n" {
		t.Fatalf("%q, %v", up, err)
	}
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Wait()

	ctx := testContext(t)
	s, err := Connect(ctx, spec.Dir)
	if err != nil {
		t.Fatalf("Connect: %v", err)
	}
	defer s.Close()
	keeper := pidfdOf(t, parentOf(t, s.PID()))
	if st, err := s.State(ctx); err != nil || st.Status != Running {
		t.Fatalf("%+v, %v", st, err)
	}
	stream, err := s.Attach(ctx, AttachOptions{Stdin: true, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if _, err := io.WriteString(stream.Stdin, "it\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(stream.Stdout); err != nil || string(b) != "got it\n" {
		t.Errorf("%q, %v", b, err)
	}
	if exit, err := s.Wait(ctx); err != nil || exit.Code != 11 {
		t.Errorf("%+v, %v", exit, err)
	}
	log, err := os.ReadFile(spec.LogPath)
	if err != nil || !strings.Contains(string(log), `"got it\n"`) {
		t.Errorf("log %q, %v", log, err)
	}
	// Nobody acknowledges; with nobody connected the shim goes by itself, and exit.json stays.
	s.Close()
	stream.Close()
	awaitDeath(t, keeper, "shim")
	if _, err := Connect(ctx, spec.Dir); !errors.Is(err, ErrGone) {
		t.Errorf("Connect after the end: %v", err)
	}
	if exit, err := ReadExit(spec.Dir); err != nil || exit.Code != 11 {
		t.Errorf("exit.json: %+v, %v", exit, err)
	}
}

func TestShimKilled(t *testing.T) {
	c := start(t, newSpec(t, sh(`sleep 1000 & sleep 1000`)...))
	// The whole container, seen from outside.
	pid1 := pidfdOf(t, c.s.PID())
	command := pidfdOf(t, childOf(t, c.s.PID()))
	if err := unix.Kill(parentOf(t, c.s.PID()), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitDeath(t, pid1, "container's pid 1")
	awaitDeath(t, command, "command")
	exit, err := c.s.Wait(testContext(t))
	if err != nil || exit.Code != 137 || exit.Error == "" {
		t.Errorf("%+v, %v", exit, err)
	}
	if _, err := Connect(testContext(t), c.s.Dir()); !errors.Is(err, ErrGone) {
		t.Errorf("Connect: %v", err)
	}
	if err := os.Remove(filepath.Join(c.s.Dir(), socketName)); err != nil { // what a killed shim cannot
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(c.s.Dir(), scratchName)); err != nil {
		t.Error(err)
	}
	os.Remove(filepath.Join(c.s.Dir(), crashName))
}

// childOf finds the one child of a process.
func childOf(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	var child int
	if _, err := fmt.Sscan(string(b), &child); err != nil {
		// Forked by another thread of pid 1.
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
			fmt.Sscan(string(b), &child)
		}
	}
	if child == 0 {
		t.Fatalf("process %d has no child", pid)
	}
	return child
}

func TestPID1Killed(t *testing.T) {
	c := start(t, newSpec(t, "sleep", "1000"))
	if err := unix.Kill(c.s.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit, _, _ := c.finish(); exit.Code != 137 {
		t.Errorf("%+v", exit)
	}
	if exit, err := ReadExit(c.s.Dir()); err != nil || exit.Code != 137 {
		t.Errorf("exit.json: %+v, %v", exit, err)
	}
}

func TestShimAskedToEnd(t *testing.T) {
	c := start(t, newSpec(t, "sleep", "1000"))
	if err := unix.Kill(parentOf(t, c.s.PID()), unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.finish()
	if exit, err := ReadExit(c.s.Dir()); err != nil || exit.Code != 137 {
		t.Errorf("exit.json: %+v, %v", exit, err)
	}
}

// That a connection to the shim is lost is no news of the container: the wait for its end goes on by another.
func TestWaitOutlivesItsConnection(t *testing.T) {
	spec := newSpec(t, sh(`echo up; read x; exit 9`)...)
	spec.OpenStdin = true
	c := start(t, spec)
	c.until("up")
	for range 3 {
		c.s.mu.Lock()
		watch := c.s.watch
		c.s.mu.Unlock()
		// As the shim does with one connection too many.
		if err := watch.CloseRead(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			c.s.mu.Lock()
			again := c.s.watch != watch
			c.s.mu.Unlock()
			if again {
				break
			}
			select {
			case <-c.s.Done():
				t.Fatalf("taken for ended: %+v", c.s.exit)
			default:
			}
			if time.Now().After(deadline) {
				t.Fatal("nobody waits for the end any more")
			}
		}
	}
	c.send("\n")
	if exit, _, _ := c.finish(); exit.Code != 9 {
		t.Errorf("exit %+v", exit)
	}
}
