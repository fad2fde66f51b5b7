package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
)

// readyVariable names the file descriptor on which a daemon that was started by
// a command says how it went: "ready" and lines that the user should see, or the
// text of the error.
const readyVariable = "FOOTBRIDGE_READY_FD"

const readyWord = "ready\n"

// maxLog is the size in bytes from which the next daemon begins a new log. Its folder is
// often in memory; a daemon writes a few lines a day.
const maxLog = 4 << 20

// errStart is in the chain of every error of starting the daemon.
var errStart = errors.New("the daemon could not be started")

// daemon returns a client of the user's daemon, which is started if there is none.
func (c *cli) daemon(ctx context.Context) (*api.Client, error) {
	d, err := c.dirs()
	if err != nil {
		return nil, err
	}
	if err := heldElsewhere(d); err != nil {
		return nil, err
	}
	if err := d.prepare(); err != nil {
		return nil, err
	}
	client := api.New(d.socket())
	switch found, err := probeDaemon(ctx, client); {
	case err != nil:
		return nil, err
	case found:
		return client, nil
	}

	// Of several commands at once one starts the daemon; the others wait here
	// and find it.
	unlock, err := lockFile(d.startLock())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errStart, err)
	}
	defer unlock()
	if found, err := probeDaemon(ctx, client); err != nil || found {
		return client, err
	}
	notices, err := spawnDaemon(ctx, d, c.environ)
	if err != nil {
		return nil, err
	}
	for _, line := range notices {
		fmt.Fprintf(c.stderr, "footbridge: warning: %s\n", line)
	}
	found, err := probeDaemon(ctx, client)
	if err == nil && !found {
		err = fmt.Errorf("%w: it said that it was ready and does not answer at %s: look at %s", errStart, d.socket(), d.log())
	}
	return client, err
}

// daemonFor is daemon, and meanwhile the encoder learns the types of what the daemon is to be asked: half a millisecond
// of the life of a command. The request must not change until it is sent.
func (c *cli) daemonFor(ctx context.Context, request any) (*api.Client, error) {
	go func() { _, _ = json.Marshal(request) }() // what cannot be encoded shows when it is sent
	return c.daemon(ctx)
}

// container asks the daemon about a container.
func (c *cli) container(ctx context.Context, name string) (*api.Client, container.InspectResponse, error) {
	client, err := c.daemon(ctx)
	if err != nil {
		return nil, container.InspectResponse{}, err
	}
	found, err := client.ContainerInspect(ctx, name)
	return client, found, err
}

// runningDaemon returns a client if a daemon of any version is there, and
// api.ErrNoDaemon else.
func (c *cli) runningDaemon(ctx context.Context) (*api.Client, error) {
	d, err := c.dirs()
	if err != nil {
		return nil, err
	}
	client := api.New(d.socket())
	found, err := probeDaemon(ctx, client)
	if errors.Is(err, api.ErrOtherVersion) {
		return client, nil
	}
	if err == nil && !found {
		err = fmt.Errorf("%w; the first command that needs it starts it", api.ErrNoDaemon)
	}
	return client, err
}

// probeDaemon reports whether a daemon of this version answers. A daemon that
// is about to end is none.
func probeDaemon(ctx context.Context, client *api.Client) (bool, error) {
	switch err := client.CheckVersion(ctx); {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.Is(err, api.ErrNoDaemon), errdefs.IsUnavailable(err), isGone(err):
		return false, nil
	default:
		return false, err
	}
}

// isGone reports whether err is what a client sees of a server that ended
// between accepting and answering.
func isGone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// lockFile takes an exclusive lock on a file, waiting for it. The file stays
// afterwards: removing it would let two hold "the" lock.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil
}

// spawnDaemon starts this binary as the daemon, detached from the terminal and
// from the caller's folder, and returns when it is ready or has failed. The
// notices are what it wants the user to be told.
func spawnDaemon(ctx context.Context, d dirs, environ []string) (notices []string, err error) {
	if st, err := os.Lstat(d.log()); err == nil && st.Size() > maxLog {
		// Of what cannot be renamed the log goes on.
		_ = os.Rename(d.log(), d.log()+".1")
	}
	logFile, err := os.OpenFile(d.log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errStart, err)
	}
	defer logFile.Close()
	ready, readyChild, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errStart, err)
	}
	defer ready.Close()

	// /proc/self/exe is this binary even if another one has taken its place.
	cmd := exec.Command("/proc/self/exe", "daemon")
	cmd.Args[0] = "footbridge"
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.ExtraFiles = []*os.File{readyChild}
	cmd.Env = append(daemonEnv(environ), readyVariable+"="+strconv.Itoa(3))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// What this command's caller has open is not the daemon's: a pipe that it kept would
	// never end for its reader.
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	err = cmd.Start()
	_ = readyChild.Close()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errStart, err)
	}
	// A client that stays (run -it) must not leave the daemon a zombie when it ends.
	go func() { _ = cmd.Wait() }()

	stop := context.AfterFunc(ctx, func() { _ = ready.Close() })
	defer stop()
	said, err := io.ReadAll(ready)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case bytes.HasPrefix(said, []byte(readyWord)):
		if text := strings.TrimSpace(string(said[len(readyWord):])); text != "" {
			notices = strings.Split(text, "\n")
		}
		return notices, nil
	case len(said) > 0:
		return nil, fmt.Errorf("%w: %s", errStart, strings.TrimSpace(string(said)))
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errStart, err)
	}
	return nil, fmt.Errorf("%w: it ended without a word: look at the end of %s", errStart, d.log())
}

// daemonEnv leaves out what belongs to the caller's terminal or to one command, and what
// makes the caller a service: the daemon would call itself that service's main process.
func daemonEnv(environ []string) []string {
	var env []string
	for _, kv := range environ {
		switch key, _, _ := strings.Cut(kv, "="); key {
		case "PWD", "OLDPWD", "TERM", "COLUMNS", "LINES", readyVariable, historyVariable,
			"NOTIFY_SOCKET", "FDSTORE", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "FOOTBRIDGE_FDS",
			"MAINPID", "MANAGERPID", "WATCHDOG_PID", "WATCHDOG_USEC", "INVOCATION_ID", "JOURNAL_STREAM":
		default:
			env = append(env, kv)
		}
	}
	return env
}
