package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// roleVariable makes the test binary the program that is put into the sandbox.
const roleVariable = "FOOTBRIDGE_SANDBOX_TEST"

// roles are what such a program does: by the first word of the variable's value. It
// gets the others.
var roles = map[string]func(args []string) error{
	"forbidden": forbiddenRole,
	"freely":    freelyRole,
	"work":      workRole,
	"landlock":  landlockRole,
	"crash":     crashRole,
	"off":       offRole,
}

func init() {
	if os.Getenv(roleVariable) != "" {
		runtime.LockOSThread() // main stays on the main thread
	}
}

func TestMain(m *testing.M) {
	words := strings.Split(os.Getenv(roleVariable), "|")
	role, ok := roles[words[0]]
	if !ok {
		os.Exit(m.Run())
	}
	if err := role(words[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// nobody is an ordinary user's number.
const nobody = 65534

// child prepares a program of a role. As root it can be an ordinary user's.
func child(t *testing.T, ordinary bool, role ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"="+strings.Join(role, "|"), "GORACE=halt_on_error=1")
	cmd.WaitDelay = time.Second
	if ordinary && os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// run runs it to its end and gives what it said and how it ended.
func run(t *testing.T, cmd *exec.Cmd) (string, syscall.WaitStatus) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the state says all
	return out.String(), waitStatus(cmd)
}

func waitStatus(cmd *exec.Cmd) syscall.WaitStatus {
	if cmd.ProcessState == nil {
		return 0 // it could not be waited for
	}
	return cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// elsewhere gives a thread that exists now and is not the caller's: what is sent to
// it is done there.
func elsewhere() chan<- func() {
	work, ready := make(chan func()), make(chan bool)
	go func() {
		runtime.LockOSThread()
		ready <- true
		for f := range work {
			f()
		}
	}()
	<-ready
	return work
}

// on has a thread do something and waits for it. A nil thread is the caller's.
func on(thread chan<- func(), f func()) {
	if thread == nil {
		f()
		return
	}
	done := make(chan bool)
	thread <- func() { f(); done <- true }
	<-done
}
