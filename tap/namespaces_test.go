package tap

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestNamespacesOfOthersAreRefused(t *testing.T) {
	w, ns := newWorld(t, 0)
	// Ours is the host's, whoever owns it.
	if _, err := OpenNamespaces(os.Getpid()); !errors.Is(err, ErrHostNamespace) {
		t.Errorf("our own namespace: %v, want ErrHostNamespace", err)
	}
	if _, err := OpenNamespacePath("/proc/self/ns/net"); !errors.Is(err, ErrHostNamespace) {
		t.Errorf("our own namespace by path: %v, want ErrHostNamespace", err)
	}
	if os.Geteuid() != 0 {
		if _, err := OpenNamespaces(1); !errors.Is(err, ErrForeignOwner) || !strings.Contains(err.Error(), "(uid 0, not ") {
			t.Errorf("process 1: %v, want ErrForeignOwner and its uid", err)
		}
	}
	if _, err := w.Call("open-self"); err == nil || !strings.Contains(err.Error(), ErrHostNamespace.Error()) {
		t.Errorf("the caller's own namespace: %v, want ErrHostNamespace", err)
	}
	for _, path := range []string{"/dev/null", "/proc/self/ns/uts", fmt.Sprintf("/proc/%d/ns/user", w.Pid)} {
		if _, err := OpenNamespacePath(path); !errors.Is(err, ErrNotNamespace) {
			t.Errorf("%s: %v, want ErrNotNamespace", path, err)
		}
	}
	if _, err := OpenNamespacePath("/no/such/file"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	byPath, err := OpenNamespacePath(fmt.Sprintf("/proc/%d/ns/net", w.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer byPath.Close()
	mustAttach(t, byPath, testLink())
	if same, err := sameFile(int(ns.User.Fd()), fmt.Sprintf("/proc/%d/ns/user", w.Pid)); err != nil || !same {
		t.Errorf("the owner is not the process's user namespace (%v)", err)
	}
}

func TestNamespacesOfAProcessThatHasEnded(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenNamespaces(cmd.Process.Pid); !errors.Is(err, ErrNoProcess) {
		t.Errorf("an ended process: %v, want ErrNoProcess", err)
	}
	if _, err := OpenNamespaces(0); err == nil {
		t.Error("process 0 has namespaces")
	}
}
