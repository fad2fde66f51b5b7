package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/moby/moby/api/types/container"

	"github.com/footbridge-net/footbridge/api"
)

// watch stays with a container from before its start to its end: attached to
// its streams and told its exit code. It serves run and start --attach.
type watch struct {
	c          *cli
	client     *api.Client
	id         string
	tty        bool
	keys       []byte // detach keys
	stdin      bool
	autoRemove bool

	conn *api.Hijacked
	exit <-chan container.WaitResponse
	gone error // why the watch has ended before the container; nil: it has not
	end  *container.WaitResponse
}

// watched finds a container to stay with. Its input is taken along where it has one and stdin says so.
func (c *cli) watched(ctx context.Context, name, detachKeys string, stdin bool) (*watch, container.InspectResponse, error) {
	keys, err := parseDetachKeys(detachKeys)
	if err != nil {
		return nil, container.InspectResponse{}, err
	}
	client, found, err := c.container(ctx, name)
	if err != nil {
		return nil, found, err
	}
	return &watch{
		c: c, client: client, id: found.ID, keys: keys,
		tty:        found.Config.Tty,
		stdin:      stdin && found.Config.OpenStdin,
		autoRemove: found.HostConfig != nil && found.HostConfig.AutoRemove,
	}, found, nil
}

// attach connects to the container's streams and registers the wait: both
// before the start, so that nothing of a short command is missed.
func (w *watch) attach(ctx context.Context) error {
	conn, err := w.client.ContainerAttach(ctx, w.id, api.AttachOptions{
		Stream: true, Stdin: w.stdin, Stdout: true, Stderr: true,
	})
	if err != nil {
		return err
	}
	condition := container.WaitConditionNextExit
	if w.autoRemove {
		condition = container.WaitConditionRemoved
	}
	// The wait outlives ctx: it is needed to its end, or until the program's.
	exit, err := w.client.ContainerWait(context.WithoutCancel(ctx), w.id, condition)
	if err != nil {
		_ = conn.Close()
		return err
	}
	w.conn, w.exit = conn, exit
	return nil
}

func (w *watch) close() { _ = w.conn.Close() }

// kill sends the container a signal that this program caught. A container that
// has ended in the meantime needs none.
func (w *watch) kill(sig string) {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	_ = w.client.ContainerKill(ctx, w.id, sig)
}

// stay copies the streams until the container ends or the user detaches, and
// returns the exit code as an error.
func (w *watch) stay(ctx context.Context) error {
	s := session{
		conn: w.conn, stdout: w.c.stdout, stderr: w.c.stderr, tty: w.tty, detachKeys: w.keys,
		terminal: w.c.outputTerminal(),
		resize:   func(size api.TTYSize) { _ = w.client.ContainerResize(ctx, w.id, size) },
	}
	if w.stdin {
		s.stdin = w.c.stdin
		s.raw = w.tty && w.c.stdinIsTerminal()
	}
	s.again = func(in *inlet, cause error) *api.Hijacked { return w.again(ctx, in, cause) }
	err := s.run()
	if errors.Is(err, errDetached) {
		fmt.Fprintln(w.c.stderr, errDetached)
		return nil
	}
	if w.end == nil {
		return w.gone
	}
	result := *w.end
	if result.Error != nil && result.Error.Message != "" {
		return errors.New(result.Error.Message)
	}
	if result.StatusCode != 0 {
		return &statusError{code: int(result.StatusCode)}
	}
	return outputError(err)
}

// outputError says that what a command wrote did not all arrive in this
// program's own output, for instance a file on a full disk. Other errors of a
// session are of its end, which the exit code tells of.
func outputError(err error) error {
	if errors.As(err, new(*fs.PathError)) {
		return fmt.Errorf("the command's output is not complete: %w", err)
	}
	return nil
}
