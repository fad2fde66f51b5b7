package nsexec

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// startNsenter lets nsenter(1) of util-linux enter the namespaces. It takes
// them by descriptor, so that no process or file may be exchanged meanwhile, and
// execs this program by descriptor too; argv[0] is then that path, and Arg0
// comes as the first argument (see IsHelper).
func startNsenter(spec *Spec, stderr *os.File) (*os.Process, error) {
	path, err := exec.LookPath("nsenter")
	if err != nil {
		return nil, fmt.Errorf("nsexec: nsenter (of util-linux) is the other way in: %w", err)
	}
	files, err := kept()
	if err != nil {
		return nil, err
	}
	// Files for StartProcess, on copies of the descriptors that they may close.
	exe, err := duplicate(files.exe, "/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer exe.Close()
	null, err := duplicate(files.null, os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()

	const (
		userPath = "/proc/self/fd/4"
		netPath  = "/proc/self/fd/5"
	)
	user := spec.User
	args := []string{"nsenter"}
	if user != nil {
		args = append(args, "--user="+userPath, "--preserve-credentials")
	} else {
		user = null
	}
	args = append(args, "--net="+netPath, "--", exePath, spec.Arg0)
	dir := ""
	if spec.Dir != nil {
		if fd := int(spec.Dir.Fd()); fd >= 0 { // it is not closed
			dir = fmt.Sprintf("/proc/self/fd/%d", fd)
		}
	}
	proc, err := os.StartProcess(path, args, &os.ProcAttr{
		Dir:   dir,
		Env:   spec.Env,
		Files: []*os.File{null, null, stderr, spec.Socket, user, spec.Net, exe},
	})
	if err != nil {
		return nil, &EnterError{Method: Nsenter, Step: "start", Err: err}
	}
	return proc, nil
}

// duplicate returns a file on a close-on-exec copy of fd.
func duplicate(fd int, name string) (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("nsexec: duplicate a descriptor: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

const exePath = "/proc/self/fd/6"

// IsHelper reports whether args (os.Args) are those of a process that Start
// made with this Arg0.
func IsHelper(args []string, arg0 string) bool {
	switch len(args) {
	case 1:
		return args[0] == arg0
	case 2:
		return strings.HasPrefix(args[0], "/proc/self/fd/") && args[1] == arg0
	}
	return false
}
