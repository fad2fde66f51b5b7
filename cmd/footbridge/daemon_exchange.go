package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/internal/buildinfo"
	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/fdstore"
)

// An exchange of programs.
//
//	upgrader.Upgrade     the other program is looked at, and asked what it can take over
//	daemon.exchange      server.Pause: requests end; engine.HandOver: nothing changes any more;
//	                     store.Exec: the same process is the other program
//	                         failed: all of it is taken back, in the other order
//	the other's open     failed: history.goBack executes this program again
//	the other's ready    clients that connected meanwhile are served
//
// handoverVersion says what is in the store and what it means. A program that has
// another one is not executed.
const handoverVersion = 1

// historyVariable tells a program that it was executed by, or in the place of, another
// daemon: a history.
const historyVariable = "FOOTBRIDGE_UPGRADE"

const (
	// pausePatience bounds how long requests under way may take when the program is to be
	// exchanged. Nobody is served meanwhile.
	pausePatience = 10 * time.Second
	// maxHistory bounds the text of an error in the environment, in bytes.
	maxHistory = 4 << 10
)

// exchange is one that was asked for.
type exchange struct {
	program *program
	to      *ability
	failed  chan error // takes one
}

// upgrader implements api.Upgrader.
type upgrader struct {
	log *slog.Logger
	to  chan<- *exchange

	mu sync.Mutex // held from the question to the end of the exchange
}

// Upgrade implements api.Upgrader.
func (u *upgrader) Upgrade(ctx context.Context, req api.UpgradeRequest) (api.Upgrade, <-chan error, error) {
	if !u.mu.TryLock() {
		return api.Upgrade{}, nil, api.Errorf(errdefs.ErrConflict, "an upgrade is under way already: wait for its end")
	}
	x, err := u.begin(ctx, req.Binary)
	if err != nil {
		u.mu.Unlock()
		return api.Upgrade{}, nil, err
	}
	failed := make(chan error, 1)
	go func() {
		err := <-x.failed
		_ = x.program.Close()
		u.mu.Unlock()
		failed <- err
	}()
	return api.Upgrade{From: buildinfo.Get().Version, To: x.to.Version, PID: os.Getpid()}, failed, nil
}

func (u *upgrader) begin(ctx context.Context, path string) (*exchange, error) {
	p, err := openProgram(path)
	if err != nil {
		return nil, err
	}
	x := &exchange{program: p, failed: make(chan error, 1)}
	if x.to, err = p.ask(ctx); err == nil {
		err = x.to.check(path)
	}
	if err == nil {
		select {
		case u.to <- x:
			return x, nil
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return nil, errors.Join(err, p.Close())
}

// exchange puts another program in the place of this one. It returns only when that
// failed; then nothing is served, and all else is as it was.
func (d *daemon) exchange(ctx context.Context, x *exchange) (err error) {
	outcome := &api.UpgradeOutcome{From: buildinfo.Get().Version, To: x.to.Version, At: time.Now().UTC()}
	d.log.Warn("upgrade", "from", outcome.From, "to", outcome.To, "binary", x.program.path)
	if err := d.store.Reloading(); err != nil {
		d.log.Warn("service manager not notified", "error", err)
	}
	defer func() {
		outcome.Error = err.Error()
		d.life.upgraded(outcome)
		d.notify("READY=1")
	}()
	limited, cancel := context.WithTimeout(ctx, pausePatience)
	defer cancel()
	err = d.server.Pause(limited)
	if serr := <-d.served; err != nil || serr != nil {
		return errors.Join(err, serr)
	}
	defer d.server.Resume()
	if err := d.engine.HandOver(limited); err != nil {
		return err
	}
	if err = d.execute(x, outcome); err != nil {
		err = errors.Join(fmt.Errorf("upgrade to %s: %w", outcome.To, err), d.engine.TakeBack())
	}
	return err
}

// execute is the last step. This program stays open, so that the other can go back.
func (d *daemon) execute(x *exchange, outcome *api.UpgradeOutcome) error {
	fd, err := unix.Open("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open this program: %w", err)
	}
	this := fdpass.NewHandle(fd)
	defer this.Close()
	if err := d.store.PutLocal(previousName, this); err != nil {
		return err
	}
	err = d.store.Exec(exchanged(x.program.Handle, history{*outcome, x.to.OpenFiles}))
	forget(d.store, d.log, previousName)
	return err
}

// pathOf is a path that leads to an open file, whatever has become of its name.
func pathOf(h *fdpass.Handle) string { return "/proc/self/fd/" + strconv.Itoa(h.FD()) }

// history is what happened before this program became the daemon. The nil history:
// nothing.
type history struct {
	api.UpgradeOutcome
	OpenFiles uint64 // see ability
}

// takeHistory takes it out of the environment, so that nothing that is started has it.
func takeHistory(log *slog.Logger) *history {
	text := os.Getenv(historyVariable)
	if text == "" {
		return nil
	}
	_ = os.Unsetenv(historyVariable)
	var h history
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		log.Warn("history of the daemon not understood", "variable", historyVariable, "error", err)
		return nil
	}
	return &h
}

func (h *history) outcome() *api.UpgradeOutcome {
	if h == nil {
		return nil
	}
	return &h.UpgradeOutcome
}

// exchanged is the program in an open file as the daemon.
func exchanged(file *fdpass.Handle, h history) fdstore.Program {
	if len(h.Error) > maxHistory {
		h.Error = h.Error[:maxHistory] + " ..."
	}
	b, err := json.Marshal(h)
	if err != nil { // strings, numbers and a time always marshal
		panic(err)
	}
	return fdstore.Program{
		Path: pathOf(file), Args: os.Args, Env: append(os.Environ(), historyVariable+"="+string(b)), OpenFiles: h.OpenFiles,
	}
}

// canGoBack reports whether another program was the daemon a moment ago.
func (h *history) canGoBack() bool { return h != nil && h.Error == "" }

// goBack executes the program that was the daemon before, because this one could not
// become it. It returns when that fails too, or when there was none.
func (h *history) goBack(d *daemon, cause error) error {
	if !h.canGoBack() {
		return nil
	}
	before, ok := d.store.Get(previousName)
	if !ok {
		return nil
	}
	defer before.Close()
	d.log.Error("this program cannot start; the one before is executed again", "version", h.To, "back to", h.From, "error", cause)
	failed := *h
	failed.Error = cause.Error()
	err := d.store.Exec(exchanged(before, failed))
	return fmt.Errorf("go back to footbridge %s: %w", h.From, err)
}
