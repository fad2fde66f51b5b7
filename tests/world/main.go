package world

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

// Environment variables of Main.
const (
	// BinaryVariable names the binary under test. Unset, Main builds it.
	BinaryVariable = "FOOTBRIDGE_TEST_BINARY"
	// stagedVariable tells a started-again process the folder that Main has made for it.
	stagedVariable = "FOOTBRIDGE_TEST_STAGE"
)

// ordinaryUID is whom root becomes: a number that no distribution gives to anybody. One user a process tree would be
// safer still, but two runs at once share nothing but their number of processes.
const ordinaryUID = 64123

// Binary returns the path of the binary under test, "" before Main or where it was told to build none.
func Binary() string { return os.Getenv(BinaryVariable) }

// SharedFolders lists the folders that a world of this run must see.
func SharedFolders() []string {
	if dir := os.Getenv(stagedVariable); dir != "" {
		return []string{dir}
	}
	return nil
}

// Stage returns this run's own folder, which every world sees at the same path.
func Stage() string { return os.Getenv(stagedVariable) }

// Main is the frame of a program that uses worlds: TestMain, or main. It makes a folder for the run, builds the
// binary under test into it, copies the folders named there, each under its last name, starts this program again in it, as an unprivileged user if it was root, and returns run's result there. The folder goes
// with the process. run is called in the started-again process only.
func Main(folders []string, run func() int) int {
	if os.Getenv(stagedVariable) != "" {
		// Nothing that a program of the test makes may be wider open than a user's files usually are.
		syscall.Umask(0o022)
		return run()
	}
	code, err := again(folders)
	if err != nil {
		fmt.Fprintln(os.Stderr, "preparing an unprivileged run:", err)
		return 1
	}
	return code
}

// MainWriting is Main for a program that writes into the file *path, which its flag of that name tells: it is opened to
// the user that root becomes, and *path made absolute, for the program is started again elsewhere. "" is no file.
func MainWriting(flag string, path *string, run func() int) int {
	if Stage() != "" || *path == "" {
		return Main(nil, run)
	}
	fail := func(err error) int {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		return 1
	}
	var err error
	if *path, err = filepath.Abs(*path); err != nil {
		return fail(err)
	}
	f, err := os.Create(*path)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	if err := f.Chmod(0o666); err != nil {
		return fail(err)
	}
	os.Args = append(os.Args, "-"+flag+"="+*path)
	code := Main(nil, run)
	if err := os.Chmod(*path, 0o644); err != nil {
		return fail(err)
	}
	return code
}

func again(folders []string) (int, error) {
	sweep()
	stage, err := os.MkdirTemp("", stagePrefix)
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(stage)
	// Held as long as this process lives, however it ends.
	lock, err := os.Create(filepath.Join(stage, "lock"))
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return 0, err
	}
	if err := os.Chmod(stage, 0o755); err != nil {
		return 0, err
	}
	env := append(os.Environ(), stagedVariable+"="+stage, "GOTMPDIR=", "TMPDIR="+filepath.Join(stage, "tmp"))
	binary := filepath.Join(stage, "bin", "footbridge")
	if given := os.Getenv(BinaryVariable); given != "" {
		if err := copyFile(given, binary); err != nil {
			return 0, err
		}
	} else if err := Build(binary); err != nil {
		return 0, err
	}
	env = append(env, BinaryVariable+"="+binary)
	for _, folder := range folders {
		if err := os.CopyFS(filepath.Join(stage, filepath.Base(folder)), os.DirFS(folder)); err != nil {
			return 0, fmt.Errorf("copying %s: %w", folder, err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	program := filepath.Join(stage, filepath.Base(self))
	if err := copyFile(self, program); err != nil {
		return 0, err
	}
	for _, dir := range []string{"tmp", "home"} {
		if err := os.Mkdir(filepath.Join(stage, dir), 0o755); err != nil {
			return 0, err
		}
	}
	cmd := exec.Command(program, usableFlags(os.Args[1:])...)
	cmd.Args[0] = os.Args[0]
	cmd.Dir, cmd.Env = stage, env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		cmd.Env = append(cmd.Env, "HOME="+filepath.Join(stage, "home"))
		if err := filepath.Walk(stage, func(path string, _ os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, ordinaryUID, ordinaryUID)
		}); err != nil {
			return 0, err
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: ordinaryUID, Gid: ordinaryUID}
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	runtime.LockOSThread()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			// An interrupt came to the whole foreground group already; this process only stays to clean up.
			if s != syscall.SIGINT {
				cmd.Process.Signal(s)
			}
		}
	}()
	if err := cmd.Wait(); cmd.ProcessState == nil {
		return 0, err
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code, nil
	}
	return 1, nil
}

// stagePrefix begins the names of the folders of runs.
const stagePrefix = "fbw"

// sweep removes the folders of earlier runs that were killed before they could do it themselves.
func sweep() {
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), stagePrefix+"*"))
	for _, dir := range old {
		lock, err := os.Open(filepath.Join(dir, "lock"))
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			os.RemoveAll(dir)
		}
		lock.Close()
	}
}

// Build compiles footbridge into a file, with flags of the go command and those of FOOTBRIDGE_TEST_BUILDFLAGS (such as
// -race). It needs the source tree: call it before Main.
func Build(binary string, flags ...string) error {
	args := append([]string{"build", "-o", binary}, flags...)
	args = append(args, strings.Fields(os.Getenv("FOOTBRIDGE_TEST_BUILDFLAGS"))...)
	cmd := exec.Command("go", append(args, "github.com/footbridge-net/footbridge/cmd/footbridge")...)
	cmd.Env = os.Environ()
	if !strings.Contains(os.Getenv("FOOTBRIDGE_TEST_BUILDFLAGS"), "-race") {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building footbridge: %w\n%s", err, out)
	}
	return nil
}

// fileFlags are go test's flags that name files. The log of opened files is what makes a result cachable; a run
// whose files are copies elsewhere must not be.
var fileFlags = []string{"coverprofile", "gocoverdir", "cpuprofile", "memprofile", "blockprofile", "mutexprofile", "trace", "outputdir"}

// usableFlags makes the files named by go test's flags absolute, because the program is started in another folder,
// and leaves them out where the started program could not write them.
func usableFlags(args []string) []string {
	var out []string
	for _, arg := range args {
		if strings.HasPrefix(arg, "-test.testlogfile=") {
			continue
		}
		keep := true
		for _, name := range fileFlags {
			prefix := "-test." + name + "="
			value, ok := strings.CutPrefix(arg, prefix)
			if !ok || value == "" {
				continue
			}
			keep = os.Getuid() != 0
			if abs, err := filepath.Abs(value); err == nil {
				arg = prefix + abs
			}
		}
		if keep {
			out = append(out, arg)
		}
	}
	return out
}

func copyFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return nstest.CopyFile(to, from, 0o755)
}
