package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
)

// cleanupTimeout bounds what is done after a run that failed or was interrupted.
const cleanupTimeout = 15 * time.Second

// errDaemonGone: the daemon went away while a container was watched.
var errDaemonGone = errors.New("the daemon went away before the command ended; the container lives on, see `footbridge ps`")

// runOptions are the flags of run that are about this client.
type runOptions struct {
	flags      runFlags
	detach     bool
	sigProxy   bool
	detachKeys string
	cidFile    string
}

func runCommand(c *cli) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [OPTIONS] [--] COMMAND [ARG...]",
		Short: "Create and run a new container",
		Args:  minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := o.run(cmd.Context(), c, args)
			var status *statusError
			switch {
			case err == nil:
				return nil
			case !errors.As(err, &status):
				return runHelpError(cmd, exitUsage, err)
			case status.err != nil && !status.whole && status.code >= exitUsage && status.code <= exitNotFound:
				return runHelpError(cmd, status.code, status.err)
			}
			return err
		},
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // flags after the command are the command's
	o.flags.register(f)
	f.BoolVarP(&o.detach, "detach", "d", false, "Run container in background and print container ID")
	f.BoolVar(&o.sigProxy, "sig-proxy", true, "Proxy received signals to the process")
	f.StringVar(&o.detachKeys, "detach-keys", defaultDetachKeys, "The key sequence for detaching from a container")
	f.StringVar(&o.cidFile, "cidfile", "", "Write the container ID to the file")
	completeNetworks(c, cmd, "network")
	return cmd
}

func (o *runOptions) run(ctx context.Context, c *cli, command []string) error {
	cwd, err := callerDir()
	if err != nil && o.flags.workdir == "" {
		return err
	}
	req, err := o.flags.request(c, command, cwd)
	if err != nil {
		return err
	}
	keys, err := parseDetachKeys(o.detachKeys)
	if err != nil {
		return err
	}
	attach := !o.detach
	if attach {
		if o.flags.tty && o.flags.interactive && !c.stdinIsTerminal() {
			return &statusError{code: exitFailure, err: errors.New("the input device is not a TTY: leave out --tty to feed the command from a file or a pipe")}
		}
		req.AttachStdin, req.AttachStdout, req.AttachStderr = o.flags.interactive, true, true
		req.StdinOnce = o.flags.interactive
	}
	if o.cidFile != "" {
		if _, err := os.Stat(o.cidFile); err == nil {
			return fmt.Errorf("container ID file found, make sure the other container isn't running or delete %s", o.cidFile)
		}
	}
	client, err := c.daemonFor(ctx, req)
	if err != nil {
		return err
	}

	ctx, signals := catchSignals(ctx)
	defer signals.stop()
	err = o.start(ctx, c, client, signals, req, keys)
	if cause := context.Cause(ctx); errors.Is(cause, errInterrupted) {
		return &statusError{code: signals.exitCode(), err: cause}
	}
	return err
}

// start makes the container, runs it and, unless detached, stays with it to
// its end. A container that did not start is removed: it would only be in the
// way of the next try.
func (o *runOptions) start(ctx context.Context, c *cli, client *api.Client, signals *signalProxy, req container.CreateRequest, keys []byte) (err error) {
	created, err := client.ContainerCreate(ctx, o.flags.name, req)
	if err != nil {
		return err
	}
	for _, warning := range created.Warnings {
		fmt.Fprintf(c.stderr, "WARNING: %s\n", warning)
	}
	started := false
	defer func() {
		if !started {
			removeUnstarted(client, created.ID)
			if o.cidFile != "" {
				_ = os.Remove(o.cidFile)
			}
		}
	}()
	if o.cidFile != "" {
		if err := writeIDFile(o.cidFile, created.ID); err != nil {
			return err
		}
	}

	w := watch{c: c, client: client, id: created.ID, tty: req.Tty, keys: keys, stdin: req.AttachStdin, autoRemove: o.flags.remove}
	if !o.detach {
		if err := w.attach(ctx); err != nil {
			return err
		}
		defer w.close()
	}
	if err := client.ContainerStart(ctx, created.ID); err != nil {
		return startError(notAnImage(err, req.Cmd[0]))
	}
	started = true
	if o.detach {
		fmt.Fprintln(c.stdout, created.ID)
		return nil
	}
	if o.sigProxy {
		signals.forwardTo(w.kill)
	} else {
		signals.stopCatching()
	}
	return afterStart(w.stay(ctx))
}

// afterStart keeps an error of a run whose command did start from being taken
// for one of the command line.
func afterStart(err error) error {
	if err == nil || errors.As(err, new(*statusError)) {
		return err
	}
	return &statusError{code: exitUsage, whole: true, err: fmt.Errorf("footbridge: %w", err)}
}

// startError gives the error of a command that cannot be run Docker's exit code.
func startError(err error) error {
	switch {
	case errors.Is(err, api.ErrCommandNotFound):
		return &statusError{code: exitNotFound, err: err}
	case errors.Is(err, api.ErrCommandNotExecutable):
		return &statusError{code: exitNotExecutable, err: err}
	}
	return &statusError{code: exitUsage, err: err}
}

// notAnImage adds to the error of a command that was not found what who knows Docker may
// have meant. A path is none, and a folder that is not there is another error of that class.
func notAnImage(err error, word string) error {
	if !errors.Is(err, api.ErrCommandNotFound) || !strings.Contains(err.Error(), "executable file not found") || strings.HasPrefix(word, "/") || strings.HasPrefix(word, ".") {
		return err
	}
	return fmt.Errorf("%w\nfootbridge has no images: the first word after the options, %q, is the command", err, word)
}

// removeUnstarted removes a container that never ran. It does so when ctx has
// ended too, and what goes wrong is not said: there is an error to show already,
// and a container started with --rm may be gone.
func removeUnstarted(client *api.Client, id string) {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	_ = client.ContainerRemove(ctx, id, api.RemoveOptions{Force: true})
}

// writeIDFile writes a new file with a container's id.
func writeIDFile(path, id string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("failed to create the container ID file: %w", err)
	}
	_, err = io.WriteString(f, id)
	return errors.Join(err, f.Close())
}
