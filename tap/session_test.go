package tap

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What is asked between Keep and leave is asked of one helper, and there is none afterwards.
func TestAKeptHelperAnswersMoreThanOneRequest(t *testing.T) {
	_, ns := newWorld(t, 0)
	kept, leave := ns.Keep()
	defer leave()
	if kept.helper.process != nil {
		t.Error("it is there before anything is asked")
	}
	before := mustLook(t, kept)
	pid := kept.helper.process.Pid
	i, err := Attach(testContext(t), kept, testLink())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if i != nil {
			i.Close()
		}
	}()
	if err := Loopback(testContext(t), kept); err != nil {
		t.Fatal(err)
	}
	// What the kernel refuses is an answer as well.
	if _, err := Attach(testContext(t), kept, testLink()); !errors.Is(err, ErrBusy) {
		t.Errorf("attached twice: %v", err)
	}
	after := mustLook(t, kept)
	if len(after.Interfaces) != len(before.Interfaces)+1 || !after.Loopback {
		t.Errorf("before %+v, after %+v", before, after)
	}
	// The helper itself holds no queue.
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	if i, err = Attach(testContext(t), kept, testLink()); err != nil {
		t.Fatal("attach again:", err)
	}
	if got := kept.helper.process.Pid; got != pid {
		t.Errorf("process %d, before it was %d", got, pid)
	}
	leave()
	if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the helper after leave: %v", err)
	}
	// Whoever still has them asks in the usual way.
	if v := mustLook(t, kept); v.Cookie != before.Cookie || kept.helper.process != nil {
		t.Errorf("%+v, and the helper of one request is %v", v, kept.helper.process)
	}
	leave() // once more does nothing
}

// A helper that is killed costs the request that meets it; the next one has another helper.
func TestAKeptHelperMayDie(t *testing.T) {
	_, ns := newWorld(t, 0)
	kept, leave := ns.Keep()
	defer leave()
	mustLook(t, kept)
	p := kept.helper.process
	if err := syscall.Kill(p.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	if err := Loopback(testContext(t), kept); err == nil {
		t.Error("a dead helper has answered")
	}
	if err := Loopback(testContext(t), kept); err != nil {
		t.Errorf("the request after that: %v", err)
	}
}

// A request that is given up takes its helper along, and leaves nothing to the next one.
func TestAKeptHelperThatDoesNotAnswerIsGivenUp(t *testing.T) {
	_, ns := newWorld(t, 0)
	kept, leave := ns.Keep()
	defer leave()
	mustLook(t, kept)
	p := kept.helper.process
	if err := syscall.Kill(p.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(testContext(t))
	cancel(cause)
	if err := Loopback(ctx, kept); !errors.Is(err, cause) {
		t.Errorf("%v, want %v", err, cause)
	}
	if err := unix.Kill(p.Pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the helper that did not answer: %v", err)
	}
	if v := mustLook(t, kept); v.Loopback {
		t.Error("the request was done after all")
	}
}

func BenchmarkLookAttachAndLoopback(b *testing.B) {
	for name, keep := range map[string]bool{"a helper for each": false, "one helper": true} {
		b.Run(name, func(b *testing.B) {
			_, ns := newWorld(b, 0)
			for b.Loop() {
				at, leave := ns, func() {}
				if keep {
					at, leave = ns.Keep()
				}
				v, f, err := Look(b.Context(), at)
				if err != nil {
					b.Fatal(err)
				}
				f.Close()
				i, err := Attach(b.Context(), at, testLink())
				if err == nil {
					err = errors.Join(Loopback(b.Context(), at), i.Close())
				}
				leave()
				if err != nil {
					b.Fatal(v, err)
				}
				b.StopTimer()
				if err := Detach(b.Context(), ns, testLink().Name); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
