package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine"
	"github.com/footbridge-net/footbridge/internal/buildinfo"
	"github.com/footbridge-net/footbridge/internal/fdstore"
	"github.com/footbridge-net/footbridge/internal/startup"
	"github.com/footbridge-net/footbridge/tap"
)

// shutdownTimeout bounds how long the daemon waits for requests under way when
// it ends. Longer than a stop with Docker's usual ten seconds of patience takes.
const shutdownTimeout = 15 * time.Second

// daemon is the process that serves.
//
//	open: lock, engine, server, socket   ->   run: until idle, a signal, or another program
//
// What it has from the program before, from systemd or from nobody is in the store, and
// so is what the next one is to get.
type daemon struct {
	dirs    dirs
	log     *slog.Logger
	store   *fdstore.Store
	history *history

	stop   context.CancelFunc // asks for the end
	engine *engine.Engine
	life   *lifetime
	server *api.Server

	locked   bool   // it is the user's one daemon
	socket   string // name of the API's listener in the store; empty before openSocket
	served   chan error
	upgrades chan *exchange
}

// serve is the daemon from its first descriptor to its end. ready is called when
// clients can connect, with what the user should be told.
func (o *daemonOptions) serve(ctx context.Context, c *cli, ready func(notices []string)) (err error) {
	level, err := o.level()
	if err != nil {
		return err
	}
	if err := tap.Prepare(); err != nil { // while there are few descriptors
		return err
	}
	store, err := fdstore.Open()
	if err != nil {
		return fmt.Errorf("what the service manager hands over: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	d := &daemon{
		log:   slog.New(slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: level})),
		store: store, served: make(chan error, 1), upgrades: make(chan *exchange),
	}
	d.history = takeHistory(d.log)
	ctx, d.stop = context.WithCancel(ctx)
	defer d.stop()
	// Before the first container is touched: a signal from here on is a request
	// to end in order.
	ctx, stopSignals := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	defer stopSignals()

	if err := d.open(ctx, c, o); err != nil {
		return errors.Join(err, d.history.goBack(d, err))
	}
	defer func() { err = errors.Join(err, d.close()) }()
	ready(d.engine.Notices())
	d.notify(fmt.Sprintf("READY=1\nMAINPID=%d\nSTATUS=footbridge %s serves %s", os.Getpid(), buildinfo.Get().Version, d.dirs.socket()))
	if err := startup.Over(); err != nil {
		d.log.Debug("the start's memory is kept", "error", err)
	}
	if err := d.run(ctx); err != nil {
		return err
	}
	d.notify("STOPPING=1\nSTATUS=")
	d.log.Info("daemon ends", "idle", ctx.Err() == nil)
	d.life.end()
	// A second signal ends the program at once.
	stopSignals()
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err = d.server.Shutdown(deadline)
	return errors.Join(err, <-d.served)
}

// open makes everything, to where clients are served; close takes it down again. When
// open fails and there is a program to go back to, that one finds all as it was.
func (d *daemon) open(ctx context.Context, c *cli, o *daemonOptions) (err error) {
	defer func() {
		if err == nil {
			return
		}
		if d.engine != nil {
			err = errors.Join(err, d.engine.Close())
		}
		if !d.history.canGoBack() {
			err = errors.Join(err, d.leave())
		}
	}()
	if d.dirs, err = c.dirs(); err != nil {
		return err
	}
	if err := d.dirs.prepare(); err != nil {
		return err
	}
	if dropped := d.store.Dropped(); len(dropped) > 0 {
		d.log.Warn("descriptors that came more than once under a name are not used", "names", dropped)
	}
	if d.socket, err = d.passedSocket(); err != nil {
		return err
	}
	if err := lockDaemon(ctx, d.dirs, d.store, d.log); err != nil {
		return err
	}
	d.locked = true
	if d.history != nil {
		reapInherited(ctx, d.log)
	}
	info := buildinfo.Get()
	d.engine, err = engine.New(engine.Options{
		RuntimeDir: d.dirs.runtime, StateDir: d.dirs.state, Socket: d.dirs.socket(),
		Version: info.Version, Commit: info.Commit,
		Logger: d.log, Shutdown: d.stop, Store: d.store, Config: o.settings.config(),
	})
	if err != nil {
		return err
	}
	d.life = &lifetime{Backend: d.engine, timeout: o.idleTimeout, now: time.Now, idle: d.engine.Idle}
	d.life.upgraded(d.history.outcome())
	d.server, err = api.NewServer(api.ServerOptions{Backend: d.life, Upgrader: &upgrader{log: d.log, to: d.upgrades}, Logger: d.log})
	if err != nil {
		return err
	}
	d.life.activity = d.server.Activity
	if err := d.openSocket(); err != nil {
		return err
	}
	if err := d.accept(); err != nil {
		return err
	}
	d.log.Info("daemon is ready", "socket", d.dirs.socket(), "version", info.Version, "pid", os.Getpid())
	forget(d.store, d.log, previousName)
	return nil
}

// close ends what open has made.
func (d *daemon) close() error { return errors.Join(d.engine.Close(), d.leave()) }

// leave lets another daemon take this one's place.
func (d *daemon) leave() error {
	if !d.locked {
		return nil
	}
	d.locked = false
	err := d.closeSocket()
	forget(d.store, d.log, lockName)
	return err
}

// run serves until there is a reason to end.
func (d *daemon) run(ctx context.Context) error {
	idle := make(chan struct{})
	go func() {
		d.life.wait(ctx)
		close(idle)
	}()
	for {
		select {
		case err := <-d.served:
			d.stop()
			<-idle
			return fmt.Errorf("serve %s: %w", d.dirs.socket(), err)
		case <-idle:
			return nil
		case x := <-d.upgrades:
			err := d.exchange(ctx, x)
			d.log.Error("upgrade failed; this program goes on", "to", x.to.Version, "error", err)
			x.failed <- err
			if err := d.accept(); err != nil {
				d.stop()
				<-idle
				return err
			}
		}
	}
}

// notify tells the service manager, if there is one. That it does not listen is its
// loss.
func (d *daemon) notify(state string) {
	if err := d.store.Notify(state); err != nil {
		d.log.Warn("service manager not notified", "error", err)
	}
}
