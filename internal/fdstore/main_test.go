package fdstore

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// roleVariable makes the test binary one of the programs below.
const roleVariable = "FDSTORE_TEST_ROLE"

var roles = map[string]func() error{}

func init() {
	// The main goroutine stays on the main thread, which one role needs.
	runtime.LockOSThread()
}

func TestMain(m *testing.M) {
	role, ok := roles[os.Getenv(roleVariable)]
	if !ok {
		runtime.UnlockOSThread()
		os.Exit(m.Run())
	}
	if err := role(); err != nil {
		fmt.Fprintln(os.Stderr, os.Getenv(roleVariable)+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// program prepares the test binary in a role; setup is for its shell, which becomes it.
func program(t *testing.T, role, setup string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", setup+` exec "$0"`, exe)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return cmd
}

// descriptors lists what is open in this process: number -> what it is.
func descriptors() (map[int]string, error) {
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return nil, err
	}
	open := map[int]string{}
	for _, link := range links {
		fd, err := strconv.Atoi(filepath.Base(link))
		if err != nil {
			return nil, err
		}
		if what, err := os.Readlink(link); err == nil { // else it is the folder's own
			open[fd] = what
		}
	}
	return open, nil
}

// runtimes reports whether a descriptor is one that the Go runtime opens for itself: its
// poller's, and where it reads how many processors it may use.
func runtimes(what string) bool {
	return strings.Contains(what, "[eventpoll]") || strings.Contains(what, "[eventfd]") || strings.HasPrefix(what, "/sys/fs/cgroup/")
}

func closeOnExec(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC != 0
}

// report is what a role prints.
type report map[string]any

func (r report) print() error { return json.NewEncoder(os.Stdout).Encode(r) }
