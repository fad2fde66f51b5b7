package nstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

const agentName = "nstest-agent"

// A Func is something that a test wants done inside a World.
type Func func(args []string) (string, error)

var funcs = map[string]Func{"exec": runProgram}

// Register makes f callable as World.Call(name). To be called while the test
// binary initialises, so that the agent knows it too.
func Register(name string, f Func) { funcs[name] = f }

type call struct {
	Name string
	Args []string
}

type answer struct {
	Out string
	Err string
}

// A World is a process in new user and network namespaces that belong to the
// user who runs the tests.
type World struct {
	Pid int

	t   testing.TB
	cmd *exec.Cmd
	in  *json.Encoder
	out *json.Decoder
	end func()
}

// New makes a World in which the calling user is uid (0: the namespace's root).
func New(t testing.TB, uid int) *World {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{agentName}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getegid(), Size: 1}},
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal("nstest:", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal("nstest:", err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal("nstest: a process in new user and network namespaces:", err)
	}
	w := &World{Pid: cmd.Process.Pid, t: t, cmd: cmd, in: json.NewEncoder(in), out: json.NewDecoder(out)}
	ended := false
	w.end = func() {
		if !ended {
			ended = true
			in.Close()
			_ = cmd.Process.Kill() // it holds nothing that needs care
			_ = cmd.Wait()
		}
	}
	t.Cleanup(w.end)
	return w
}

// End ends the process, and with it namespaces that nothing else holds.
func (w *World) End() { w.end() }

// Call runs a registered function in the World.
func (w *World) Call(name string, args ...string) (string, error) {
	w.t.Helper()
	if err := w.in.Encode(call{Name: name, Args: args}); err != nil {
		w.t.Fatalf("nstest: call %s: %v", name, err)
	}
	var a answer
	if err := w.out.Decode(&a); err != nil {
		w.t.Fatalf("nstest: call %s: %v", name, err)
	}
	if a.Err != "" {
		return a.Out, errors.New(a.Err)
	}
	return a.Out, nil
}

// MustCall is Call, where an error ends the test.
func (w *World) MustCall(name string, args ...string) string {
	w.t.Helper()
	out, err := w.Call(name, args...)
	if err != nil {
		w.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// Run runs a program in the World and returns what it printed; a failure ends
// the test.
func (w *World) Run(args ...string) string {
	w.t.Helper()
	return w.MustCall("exec", args...)
}

// serve is the agent: it answers calls until its input ends.
func serve() {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var c call
		if err := in.Decode(&c); err != nil {
			os.Exit(0)
		}
		var a answer
		if f, ok := funcs[c.Name]; !ok {
			a.Err = fmt.Sprintf("no function %q is registered", c.Name)
		} else if text, err := f(c.Args); err != nil {
			a.Out, a.Err = text, err.Error()
		} else {
			a.Out = text
		}
		if err := out.Encode(a); err != nil {
			os.Exit(1)
		}
	}
}

func runProgram(args []string) (string, error) {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	return string(out), err
}
