package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Create starts a shim and has it make the container: namespaces, mounts and pid 1, which then waits
// for Start. An error leaves nothing behind. Errors match ErrInvalid, ErrNamespaces, ErrSubIDs,
// ErrNotRunning (of a container to be joined) or ErrStarted (the directory is another container's).
func Create(ctx context.Context, spec Spec) (*Shim, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fresh := false
	if err := os.Mkdir(spec.Dir, 0o700); err == nil {
		fresh = true
	} else if !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make the container's runtime directory: %w", err)
	}
	if c, err := dial(ctx, spec.Dir); err == nil {
		c.Close()
		return nil, fmt.Errorf("%w: a container runs in %s already", ErrStarted, spec.Dir)
	}
	reaped, kill, err := launchShim(ctx, &spec)
	if err == nil {
		var s *Shim
		if s, err = Connect(ctx, spec.Dir); err == nil {
			return s, nil
		}
		kill()
		<-reaped
	}
	for _, name := range []string{socketName, scratchName, crashName} {
		_ = os.Remove(filepath.Join(spec.Dir, name))
	}
	if fresh {
		_ = os.Remove(spec.Dir)
	}
	return nil, err
}

// shimError is why there is no shim, and what to do where that is known.
func shimError(err error) error {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return fmt.Errorf("start a shim: %w: raise the daemon's limit of open files (`ulimit -n`) or run fewer containers", err)
	}
	return fmt.Errorf("start a shim: %w", err)
}

// launchShim starts the process and waits for its word that the container is made. With an error the
// process is gone. Without, reaped is closed when the shim ended, however much later.
func launchShim(ctx context.Context, spec *Spec) (reaped <-chan struct{}, kill func(), err error) {
	conn, theirs, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	crash := filepath.Join(spec.Dir, crashName)
	stderr, err := os.OpenFile(crash, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		theirs.Close()
		return nil, nil, shimError(err)
	}
	path := os.Getenv("PATH")
	if path == "" {
		path = defaultPath
	}
	cmd := exec.Command(selfExe)
	cmd.Args = []string{shimName, spec.ID}
	cmd.Env = append([]string{"PATH=" + path}, runtimeEnv...) // PATH for newuidmap; nothing else of ours matters
	cmd.Dir = "/"
	cmd.Stderr = stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	theirs.Close()
	stderr.Close()
	if err != nil {
		return nil, nil, shimError(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()

	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var a answer
	err = writeMessage(conn, maxRequest, spec)
	if err == nil {
		err = readMessage(conn, maxRequest, &a)
	}
	if err == nil {
		err = fromWire(a.Error)
	} else if ctx.Err() != nil {
		err = ctx.Err()
	} else if last := lastWords(crash); last != "" {
		err = fmt.Errorf("the shim crashed: %s", last)
	} else {
		err = fmt.Errorf("talk to the shim: %w", err)
	}
	if err != nil {
		_ = cmd.Process.Kill() // pid 1 ends with its shim
		<-done
		return nil, nil, err
	}
	return done, func() { _ = cmd.Process.Kill() }, nil
}

// lastWords returns the beginning of what a crashed shim wrote.
func lastWords(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return ""
	}
	return printable(strings.TrimSpace(string(b)))
}

// ReadExit returns how the container in dir ended, as its shim wrote it down. An error that matches
// os.ErrNotExist means that it has not ended, or that its shim was killed.
func ReadExit(dir string) (Exit, error) {
	// Neither a link nor a pipe that somebody put there.
	f, err := os.OpenFile(filepath.Join(dir, exitName), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return Exit{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxAnswer))
	if err != nil {
		return Exit{}, err
	}
	var e Exit
	if err := json.Unmarshal(b, &e); err != nil {
		return Exit{}, fmt.Errorf("%s: %w", filepath.Join(dir, exitName), err)
	}
	return e, nil
}
