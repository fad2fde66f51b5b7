package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	ossignal "os/signal"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/moby/sys/signal"
	"golang.org/x/sys/unix"
)

// proxied says that signals go to the container and must not end this program.
var proxied atomic.Bool

// errInterrupted is the cause of a command's context after a signal asked it to end.
var errInterrupted = errors.New("interrupted")

// signalProxy catches this program's signals. Before the container runs, those
// that would end the program cancel what is under way, so that nothing half-made
// is left; afterwards all of them are sent on to the container.
type signalProxy struct {
	caught chan os.Signal
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	forward func(sig string) // nil before the container runs
	first   syscall.Signal   // the signal that cancelled

	done chan struct{}
}

// catchSignals starts a proxy. The context ends when a signal asks for the end
// before forwardTo was called.
func catchSignals(ctx context.Context) (context.Context, *signalProxy) {
	return catch(ctx, proxiedSignals())
}

// catchEnds is catchSignals for a command that is over soon and sends nothing on: it catches those that ask for the end.
// The others mean for it what they mean for any program of Go's (os/signal). Those of a fault (SIGILL, SIGTRAP, SIGSYS,
// SIGSTKFLT, SIGSEGV, SIGBUS, SIGFPE) end it with a dump of its stacks, also when somebody sends them, and what it was
// about stays half-made, as after SIGKILL; SIGTSTP, SIGTTIN and SIGTTOU stop it until SIGCONT. Of the rest it takes no
// notice. To catch one takes 20 µs, because the runtime changes threads for it twice, and all of them a millisecond.
func catchEnds(ctx context.Context) (context.Context, *signalProxy) {
	return catch(ctx, endSignals)
}

func catch(ctx context.Context, signals []os.Signal) (context.Context, *signalProxy) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &signalProxy{caught: make(chan os.Signal, 128), cancel: cancel, done: make(chan struct{})}
	ossignal.Notify(p.caught, signals...)
	go p.run()
	return ctx, p
}

// endSignals ask a program to end. SIGABRT is what systemd's watchdog sends.
var endSignals = []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGABRT, unix.SIGTERM}

// proxiedSignals are all signals but those that say something about this very
// process: its children, its pipes, its terminal, the Go runtime's own.
//
// SIGTTIN and SIGTTOU must keep their meaning: caught, a read of the terminal
// in the background would be restarted at once, for ever.
func proxiedSignals() []os.Signal {
	var list []os.Signal
	for name, sig := range signal.SignalMap {
		switch sig {
		case unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG, unix.SIGWINCH, unix.SIGTTIN, unix.SIGTTOU,
			unix.SIGKILL, unix.SIGSTOP:
			continue
		}
		if name != "" {
			list = append(list, sig)
		}
	}
	return list
}

func (p *signalProxy) run() {
	for {
		select {
		case sig := <-p.caught:
			p.handle(sig.(syscall.Signal))
		case <-p.done:
			return
		}
	}
}

func (p *signalProxy) handle(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.forward != nil {
		p.forward(signalName(sig))
		return
	}
	if slices.Contains(endSignals, os.Signal(sig)) {
		if p.first == 0 {
			p.first = sig
		}
		p.cancel(fmt.Errorf("%w by %s", errInterrupted, signalName(sig)))
	}
}

// forwardTo sends signals on from now on.
func (p *signalProxy) forwardTo(kill func(sig string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forward = kill
	proxied.Store(true)
}

// stop gives the signals their usual meaning back.
func (p *signalProxy) stop() {
	ossignal.Stop(p.caught)
	close(p.done)
	proxied.Store(false)
	p.cancel(nil)
}

// exitCode is what a program that was ended by the signal exits with in a shell.
func (p *signalProxy) exitCode() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return 128 + int(p.first)
}

// signalName returns the name of a signal as the API wants it.
func signalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return strconv.Itoa(int(sig))
}

// stopCatching gives the signals their usual meaning back while the command goes on.
func (p *signalProxy) stopCatching() { ossignal.Stop(p.caught) }
