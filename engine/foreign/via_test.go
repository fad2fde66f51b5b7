package foreign

import (
	"errors"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

func init() {
	// companion starts a process beside the agent, and returns its pid.
	nstest.Register("companion", func([]string) (string, error) {
		cmd := exec.Command("sleep", "infinity")
		err := cmd.Start()
		if err != nil {
			return "", err
		}
		return strconv.Itoa(cmd.Process.Pid), nil
	})
}

// What is opened by another process is the namespace of that one, while both live. (That a process which hides its own is
// reached so is shown by scripts/an_oci_hook_attaches_what_a_runtime_makes.txtar.)
func TestANamespaceIsOpenedByAnotherProcess(t *testing.T) {
	w, other := nstest.New(t, 0), nstest.New(t, 0)
	pid, err := strconv.Atoi(w.MustCall("companion"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGKILL) })
	via, err := Find(pid)
	if err != nil {
		t.Fatal(err)
	}
	p := mustResolve(t, Wish{PID: w.Pid})
	ns, err := p.openVia(via)
	if err != nil {
		t.Fatal(err)
	}
	if dev, ino, err := identity(ns); err != nil || dev != p.Dev || ino != p.Ino {
		t.Errorf("%d of %d, %v, want that of %+v", ino, dev, err, p)
	}
	ns.Close()
	// One that can be looked into is opened by itself.
	if o := mustResolve(t, Wish{PID: other.Pid, Via: via}); o.Ino == p.Ino {
		t.Errorf("%+v is that of the wrong process", o)
	}
	again := via
	again.Start++
	for what, c := range map[string]struct {
		p   Place
		via Process
	}{
		"it is another one by now":     {p, again},
		"the process itself has ended": {Place{Process: Process{w.Pid, 1}}, via},
	} {
		if ns, err := c.p.openVia(c.via); !errors.Is(err, ErrGone) {
			ns.Close()
			t.Errorf("%s: %v, want ErrGone", what, err)
		}
	}
}

func TestTheEndOfAProcessIsAwaited(t *testing.T) {
	w := nstest.New(t, 0)
	p, err := Find(w.Pid)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Await(t.Context())
	}()
	select {
	case <-ended:
		t.Fatal("it has not ended")
	default:
	}
	w.End()
	<-ended
	p.Await(t.Context())
	Process{PID: unix.Getpid(), Start: p.Start + 1<<40}.Await(t.Context()) // another one by now
}
