package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/tests/world"
)

// daemon is a stage of the binary under test: a daemon in a world of its own, with real containers, asked over its
// socket. Its folders are the run's, which world and test see at the same path.
//
//	the test --api.Client--> $stage/dN/run/footbridge/footbridge.sock <-- footbridge daemon, footbridge-worker
//	         --world.Run---> kill, /proc/net/tcp, pgrep                    footbridge-shim ... sleep
type daemon struct {
	world   *world.World
	dir     string
	log     *os.File
	process *world.Cmd
	client  *api.Client
	holder  *world.Cmd // of the namespace that containers may join

	before     map[string]bool // listeners of the host before there was a daemon
	fresh      use2            // what a daemon that has worked, and has nothing left, uses
	namespaces []string        // by number
	checks     int
}

type use2 struct{ keeper, worker api.ProcessStatus }

// killKeeper is a fault: in the middle of the operation, Nth times killStep after its beginning, the daemon is killed.
const (
	killKeeper = "kill -9 of the keeper"
	killStep   = 7 * time.Millisecond
)

// bearable is how long something may take that takes milliseconds on an idle machine.
const bearable = 30 * time.Second

var daemons atomic.Int32

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	d := &daemon{world: world.New(t), dir: filepath.Join(world.Stage(), fmt.Sprint("d", daemons.Add(1)))}
	for _, dir := range []string{"", "run", "state"} {
		if err := os.MkdirAll(filepath.Join(d.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if d.log, err = os.Create(filepath.Join(d.dir, "log")); err != nil {
		t.Fatal(err)
	}
	d.before = d.listeners()
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *daemon) runtimeDir() string { return filepath.Join(d.dir, "run", "footbridge") }

// start starts a daemon and waits until it answers.
func (d *daemon) start() error {
	d.process = d.world.Command(world.Host, "footbridge", "daemon", "--idle-timeout=0")
	d.process.Env = append(d.world.Environ(), "XDG_RUNTIME_DIR="+filepath.Join(d.dir, "run"), "XDG_STATE_HOME="+filepath.Join(d.dir, "state"))
	d.process.Stdout, d.process.Stderr = d.log, d.log
	if err := d.process.Start(); err != nil {
		return err
	}
	d.client = api.New(filepath.Join(d.runtimeDir(), "footbridge.sock"))
	var err error
	if !world.Poll(bearable, func() bool { err = d.client.Ping(context.Background()); return err == nil }) {
		return fmt.Errorf("the daemon does not answer: %w", err)
	}
	return nil
}

// end ends the daemon: by a signal that it obeys, or does not see.
func (d *daemon) end(hard bool) error {
	if hard {
		d.process.Kill()
	} else if err := d.client.Shutdown(context.Background()); err != nil {
		return err
	}
	_, err := d.process.Wait()
	return errors.Join(err, d.client.Close())
}

// Docker implements Stage.
func (d *daemon) Docker() Docker { return d.client }

// Do implements Stage.
func (d *daemon) Do(ctx context.Context, op Op, before *Model) (bool, error) {
	if op.Fault != killKeeper || op.Kind == Reopen {
		return false, d.act(ctx, op, before)
	}
	killed := make(chan error, 1)
	go func() {
		time.Sleep(time.Duration(op.Nth) * killStep) // the moment is what is random here, not a wait
		killed <- d.end(true)
	}()
	err := d.act(ctx, op, before)
	return true, errors.Join(err, <-killed, d.start())
}

func (d *daemon) act(ctx context.Context, op Op, before *Model) error {
	c := before.Ctrs[ctrName(op.C)]
	switch op.Kind {
	case Reopen:
		if err := d.end(op.C%2 == 0); err != nil {
			return err
		}
		return d.start()
	case Worker:
		return d.killWorker(ctx)
	case End, EndShim:
		switch {
		case c == nil:
			return errdefs.ErrNotFound
		case !c.running():
			return errdefs.ErrConflict
		}
		in, err := d.client.ContainerInspect(ctx, c.ID)
		if err != nil {
			return err
		}
		victim := fmt.Sprint(in.State.Pid)
		if op.Kind == EndShim {
			victim = "$(sed -n 's/^PPid:.//p' /proc/" + victim + "/status)"
		}
		return d.admin("kill -9 " + victim)
	case NSMake, NSDrop:
		if (op.Kind == NSMake) != (before.Holder == 0) {
			return nil
		}
		if op.Kind == NSDrop {
			d.holder.Kill()
			_, err := d.holder.Wait()
			d.holder = nil
			return err
		}
		return d.makeNamespace()
	case HostBind, HostFree:
		return fmt.Errorf("%s is not for this stage", op.Kind)
	case Exec:
		if c != nil && c.running() {
			_, err := d.exec(ctx, c, "true")
			return err
		}
	}
	path := "/nowhere"
	if before.Holder > 0 {
		path = d.namespaces[before.Holder-1]
	}
	if op.Kind == Stop || op.Kind == Restart || op.Kind == Remove {
		return d.askInHaste(ctx, op)
	}
	return ask(ctx, d.client, op, path)
}

// askInHaste ends containers without the ten seconds that a pid 1 has to obey.
func (d *daemon) askInHaste(ctx context.Context, op Op) error {
	now := 0
	switch op.Kind {
	case Stop:
		return d.client.ContainerStop(ctx, ctrName(op.C), api.StopOptions{Timeout: &now})
	case Restart:
		return d.client.ContainerRestart(ctx, ctrName(op.C), api.StopOptions{Timeout: &now})
	}
	return ask(ctx, d.client, op, "")
}

// admin runs a command of a shell as the host's user.
func (d *daemon) admin(script string) error {
	if r := d.world.Run(world.Host, "sh", "-c", script); r.Err != nil || r.Code != 0 {
		return fmt.Errorf("%s: status %d, %w: %s", script, r.Code, r.Err, r.Stderr)
	}
	return nil
}

// killWorker ends the worker and waits for the next one.
func (d *daemon) killWorker(ctx context.Context) error {
	was, err := d.client.Status(ctx)
	if err != nil {
		return err
	}
	if was.Worker.PID == 0 {
		return nil // until a network is used
	}
	if err := d.admin(fmt.Sprint("kill -9 ", was.Worker.PID)); err != nil {
		return err
	}
	var is api.Status
	if !world.Poll(bearable, func() bool {
		is, err = d.client.Status(ctx)
		return err == nil && is.Worker.PID != 0 && is.Worker.PID != was.Worker.PID
	}) {
		return fmt.Errorf("worker %d was killed, and %d is there: %w", was.Worker.PID, is.Worker.PID, err)
	}
	return nil
}

func (d *daemon) makeNamespace() error {
	d.holder = d.world.Command(world.Host, "unshare", "-Urn", "sleep", "infinity")
	if err := d.holder.Start(); err != nil {
		return err
	}
	path := fmt.Sprintf("/proc/%d/ns/net", d.holder.PID)
	d.namespaces = append(d.namespaces, path)
	own := d.world.Run(world.Host, "readlink", "/proc/self/ns/net").Stdout
	if !world.Poll(bearable, func() bool {
		r := d.world.Run(world.Host, "readlink", path)
		return r.Code == 0 && r.Stdout != own
	}) {
		return errors.New("unshare makes no namespace")
	}
	return nil
}

// exec runs a command in a container and returns what it prints.
func (d *daemon) exec(ctx context.Context, c *Ctr, args ...string) (string, error) {
	x, err := d.client.ExecCreate(ctx, c.ID, container.ExecCreateRequest{Cmd: args, AttachStdout: true})
	if err != nil {
		return "", err
	}
	h, err := d.client.ExecStart(ctx, x.ID, container.ExecStartRequest{})
	if err != nil {
		return "", err
	}
	defer h.Close()
	var out bytes.Buffer
	err = h.Copy(&out, io.Discard)
	return strings.TrimSpace(out.String()), err
}

// Close implements Stage.
func (d *daemon) Close() {
	_ = d.log.Close()
	d.world.Close()
}
