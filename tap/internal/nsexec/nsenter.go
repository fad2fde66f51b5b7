package nsexec

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// startNsenter lets nsenter(1) of util-linux enter the namespaces. It takes
// them by descriptor, so that no process or file may be exchanged meanwhile, and
// execs this program by descriptor too; argv[0] is then that path, and Arg0
// comes as the first argument (see IsHelper).
func startNsenter(spec *Spec, null, stderr *os.File) (*os.Process, error) {
	path, err := exec.LookPath("nsenter")
	if err != nil {
		return nil, fmt.Errorf("nsexec: nsenter (of util-linux) is the other way in: %w", err)
	}
	fd, err := selfExe()
	if err != nil {
		return nil, err
	}
	// A *os.File for StartProcess, on a copy of the descriptor that it may close.
	fd, err = duplicate(fd)
	if err != nil {
		return nil, err
	}
	exe := os.NewFile(uintptr(fd), "/proc/self/exe")
	defer exe.Close()

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
	proc, err := os.StartProcess(path, args, &os.ProcAttr{
		Env:   spec.Env,
		Files: []*os.File{null, null, stderr, spec.Socket, user, spec.Net, exe},
	})
	if err != nil {
		return nil, &EnterError{Method: Nsenter, Step: "start", Err: err}
	}
	return proc, nil
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
