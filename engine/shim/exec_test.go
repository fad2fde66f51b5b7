package shim

import (
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestExec(t *testing.T) {
	spec := newSpec(t, "sleep", "1000")
	spec.Hostname = "box"
	c := start(t, spec)
	exit, out, errs := execOutput(t, c.s, ExecSpec{
		Args: sh(`hostname; pwd; echo $X $PPID; cat; echo bad >&2; grep CapEff /proc/self/status; exit 42`),
		Env:  []string{"PATH=" + defaultPath, "X=y"}, Cwd: "/usr", Stdin: true,
	}, "typed\n")
	if exit.Code != 42 || out != "box\n/usr\ny 1\ntyped\nCapEff:\t00000000a80425fb\n" || errs != "bad\n" {
		t.Errorf("%+v %q %q", exit, out, errs)
	}
	exit, out, _ = execOutput(t, c.s, ExecSpec{Args: sh(`grep CapEff /proc/self/status`), Privileged: true}, "")
	if exit.Code != 0 || strings.Contains(out, "a80425fb") {
		t.Errorf("privileged: %+v %q", exit, out)
	}
	for _, e := range []struct {
		spec ExecSpec
		code int
		want error
	}{
		{ExecSpec{Args: []string{"nosuch"}}, 127, ErrNotFound},
		{ExecSpec{Args: []string{"/etc/passwd"}}, 126, ErrPermission},
		{ExecSpec{Args: []string{"true"}, Cwd: "/no/such"}, 127, ErrNotFound},
		{ExecSpec{Args: []string{"true"}, User: "4711"}, 128, ErrInvalid},
	} {
		x, err := c.s.Exec(testContext(t), e.spec)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Start(testContext(t)); !errors.Is(err, e.want) {
			t.Errorf("%+v: %v, want %v", e.spec, err, e.want)
		}
		if exit, err := x.Wait(testContext(t)); err != nil || exit.Code != e.code {
			t.Errorf("%+v: %+v, %v", e.spec, exit, err)
		}
	}
	if st, err := c.s.State(testContext(t)); err != nil || st.Status != Running {
		t.Errorf("after failed execs: %+v %v", st, err)
	}
}

func TestExecTerminal(t *testing.T) {
	c := start(t, newSpec(t, "sleep", "1000"))
	ctx := testContext(t)
	x, err := c.s.Exec(ctx, ExecSpec{Args: sh(`test -t 0 && stty size; read l; echo got $l; exit 6`), TTY: true, Stdin: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Resize(ctx, 90, 20); err != nil {
		t.Fatal(err)
	}
	stream, err := x.Attach(ctx, AttachOptions{Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if stream.Stderr != nil {
		t.Error("a terminal has a standard error")
	}
	if err := x.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(stream.Stdin, "it\n"); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(stream.Stdout)
	if err != nil || !strings.Contains(string(b), "20 90") || !strings.Contains(string(b), "got it") {
		t.Errorf("%q, %v", b, err)
	}
	if exit, err := x.Wait(ctx); err != nil || exit.Code != 6 {
		t.Errorf("%+v, %v", exit, err)
	}
}

func TestExecSignalAndContainerEnd(t *testing.T) {
	c := start(t, newSpec(t, "sleep", "1000"))
	ctx := testContext(t)
	var execs [2]*Exec
	for i := range execs {
		x, err := c.s.Exec(ctx, ExecSpec{Args: []string{"sleep", "1000"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Start(ctx); err != nil {
			t.Fatal(err)
		}
		execs[i] = x
	}
	if err := execs[0].Signal(ctx, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if exit, err := execs[0].Wait(ctx); err != nil || exit.Code != 143 {
		t.Errorf("signalled: %+v, %v", exit, err)
	}
	if err := c.s.Signal(ctx, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit, err := execs[1].Wait(ctx); err != nil || exit.Code != 137 {
		t.Errorf("when its container ended: %+v, %v", exit, err)
	}
}

func TestExecLeavesChildrenBehind(t *testing.T) {
	// The exec's streams end with it although a child of its keeps them open, and the child lives.
	c := start(t, newSpec(t, "sleep", "1000"))
	exit, out, _ := execOutput(t, c.s, ExecSpec{Args: sh(`sleep 1000 & echo $!`)}, "")
	if exit.Code != 0 {
		t.Fatalf("%+v", exit)
	}
	if exit, _, errs := execOutput(t, c.s, ExecSpec{Args: []string{"kill", "-0", strings.TrimSpace(out)}}, ""); exit.Code != 0 {
		t.Errorf("the child is gone: %s", errs)
	}
}

// However many signals pid 1 is sent from outside, it notices the end of every process.
func TestEndsAreNoticedInAFloodOfSignals(t *testing.T) {
	c := start(t, newSpec(t, sh(`trap '' USR1 USR2 WINCH; echo up; while :; do sleep 1000; done`)...))
	c.until("up")
	stop := make(chan struct{})
	var flood sync.WaitGroup
	pid1 := pidfdOf(t, c.s.PID())
	for _, s := range []unix.Signal{unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGURG} {
		flood.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = unix.PidfdSendSignal(pid1, s, nil, 0) // it outlives the flood
				}
			}
		})
	}
	var execs sync.WaitGroup
	for range 6 {
		execs.Go(func() {
			for range 15 {
				x, err := c.s.Exec(testContext(t), ExecSpec{Args: sh("exit 3")})
				if err == nil {
					err = x.Start(testContext(t))
				}
				if err != nil {
					t.Error(err)
					return
				}
				if exit, err := x.Wait(testContext(t)); err != nil || exit.Code != 3 {
					t.Errorf("%+v, %v", exit, err)
				}
			}
		})
	}
	execs.Wait()
	close(stop)
	flood.Wait()
}
