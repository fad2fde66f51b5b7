package nstest

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// testUID is a user that nobody is: what the tests run as when started by root.
const testUID = 12345

// Main is TestMain: it runs the dispatch functions (which do not return in a
// helper process), serves as agent of a World, gives up root, and runs the
// tests.
func Main(m *testing.M, dispatch ...func()) {
	for _, f := range dispatch {
		f()
	}
	if os.Args[0] == agentName {
		serve()
	}
	flag.Parse()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // its cache belongs to the caller
	if os.Geteuid() == 0 && !fuzzing {
		code, err := rerun()
		if err == nil {
			os.Exit(code)
		}
		// In a user namespace where only uid 0 exists, uid 0 is the ordinary user.
		if !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.EPERM) {
			fmt.Fprintln(os.Stderr, "nstest: giving up root:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// rerun runs this test binary, with the same flags, as testUID.
func rerun() (code int, err error) {
	dir, err := os.MkdirTemp("", "nstest-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return 0, err
	}
	home, coverDir := filepath.Join(dir, "home"), filepath.Join(dir, "cover")
	for _, d := range []string{home, coverDir} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return 0, err
		}
		if err := os.Chown(d, testUID, testUID); err != nil {
			return 0, err
		}
	}
	binary := filepath.Join(dir, filepath.Base(os.Args[0]))
	if err := CopyFile(binary, "/proc/self/exe", 0o755); err != nil {
		return 0, err
	}

	// go test's own files are not writable to others: the log is dropped, the
	// coverage profile takes a detour.
	var args []string
	profile, detour := "", filepath.Join(coverDir, "profile")
	for _, arg := range os.Args[1:] {
		switch name, value, _ := strings.Cut(arg, "="); name {
		case "-test.testlogfile":
			continue
		case "-test.coverprofile":
			profile, arg = value, name+"="+detour
		case "-test.gocoverdir":
			arg = name + "=" + coverDir
		}
		args = append(args, arg)
	}
	cmd := exec.Command(binary, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home, "XDG_RUNTIME_DIR="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: testUID, Gid: testUID}}
	err = cmd.Run()
	if profile != "" && cmd.ProcessState != nil && cmd.ProcessState.Success() {
		if err := CopyFile(profile, detour, 0o644); err != nil {
			return 0, err
		}
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit):
		if code := exit.ExitCode(); code > 0 {
			return code, nil
		}
		return 2, nil
	}
	return 0, err
}

// CopyFile makes a file, or replaces what is in it.
func CopyFile(to, from string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
