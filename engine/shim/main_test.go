package shim

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

// The tests' processes:
//
//	root:  go test -> copy of the binary in a mount namespace with /etc/subuid of our own -> copy as nobody: the tests
//	other: go test: the tests
//
// The binary serves as shim and pid 1 (Dispatch), and, by stageVar, as a daemon to be killed and as a
// host with an odd /etc.
const (
	stageVar = "SHIM_TEST_STAGE"
	nobody   = 65534
)

func TestMain(m *testing.M) {
	// Every process of a binary built with -race sleeps a second before it exits, unless told not to.
	runtimeEnv = append(runtimeEnv, "GORACE=atexit_sleep_ms=0")
	Dispatch()
	switch os.Getenv(stageVar) {
	case "subids":
		os.Exit(stageSubIDs())
	case "daemon":
		os.Exit(stageDaemon())
	case "oddhost":
		os.Exit(stageOddHost())
	case "user":
		os.Exit(m.Run())
	}
	fuzzing := false
	for _, a := range os.Args {
		fuzzing = fuzzing || strings.HasPrefix(a, "-test.fuzz=") || strings.HasPrefix(a, "-test.fuzzworker")
	}
	if os.Getuid() != 0 || fuzzing { // fuzz targets need no namespaces
		os.Exit(m.Run())
	}
	code, err := asNobody()
	if err != nil {
		fmt.Fprintln(os.Stderr, "run the tests without root:", err)
		code = 1
	}
	os.Exit(code)
}

// asNobody runs this test binary again, unprivileged, and returns its exit code.
func asNobody() (int, error) {
	dir, err := os.MkdirTemp("", "shim")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	tmp := filepath.Join(dir, "t")
	binary := filepath.Join(dir, "shim.test")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return 0, err
	}
	for _, f := range []func() error{
		func() error { return os.Chmod(dir, 0o755) },
		func() error { return os.Chown(tmp, nobody, nobody) },
		func() error { return nstest.CopyFile(binary, "/proc/self/exe", 0o755) },
		func() error { return os.WriteFile(filepath.Join(dir, "subid"), []byte("nobody:100000:65536\n"), 0o644) },
	} {
		if err := f(); err != nil {
			return 0, err
		}
	}
	var args []string
	for _, a := range os.Args[1:] {
		if strings.HasPrefix(a, "-test.testlogfile=") || strings.HasPrefix(a, "-test.gocoverdir=") {
			continue // the go command's own files, which nobody may not write
		}
		if profile, ok := strings.CutPrefix(a, "-test.coverprofile="); ok {
			a = "-test.coverprofile=" + filepath.Join(tmp, "cover")
			defer nstest.CopyFile(profile, filepath.Join(tmp, "cover"), 0o644)
		}
		args = append(args, a)
	}
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), stageVar+"=subids", "TMPDIR="+tmp, "HOME="+tmp)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	if err := cmd.Run(); cmd.ProcessState == nil {
		return 0, err
	}
	return cmd.ProcessState.ExitCode(), nil
}

// stageSubIDs gives nobody subordinate ids, as root in a mount namespace of its own, and becomes nobody.
func stageSubIDs() int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "set up the tests:", err)
		return 1
	}
	self, err := os.Executable()
	if err != nil {
		return fail(err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fail(err)
	}
	for _, file := range []string{subUIDFile, subGIDFile} {
		if _, err := os.Stat(file); err == nil {
			if err := unix.Mount(filepath.Join(filepath.Dir(self), "subid"), file, "", unix.MS_BIND, ""); err != nil {
				return fail(err)
			}
		}
	}
	for _, f := range []func() error{
		func() error { return syscall.Setgroups(nil) },
		func() error { return syscall.Setresgid(nobody, nobody, nobody) },
		func() error { return syscall.Setresuid(nobody, nobody, nobody) },
		func() error { return os.Setenv(stageVar, "user") },
		// Lost with the change of ids: who interrupts "go test" wants the tests to end.
		func() error { return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0) },
	} {
		if err := f(); err != nil {
			return fail(err)
		}
	}
	return fail(syscall.Exec(self, os.Args, os.Environ()))
}
