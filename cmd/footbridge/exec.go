package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
)

type execOptions struct {
	detach, interactive, tty, privileged bool
	detachKeys                           string
	env                                  listFlag
	envFiles                             []string
	user, workdir                        string
}

func execCommand(c *cli) *cobra.Command {
	o := execOptions{env: listFlag{check: checkEnv}}
	cmd := &cobra.Command{
		Use:   "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
		Short: "Execute a command in a running container",
		Args:  minArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), c, args[0], args[1:])
		},
		ValidArgsFunction: completeContainers(c, 1, false),
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&o.detach, "detach", "d", false, "Detached mode: run command in the background")
	f.StringVar(&o.detachKeys, "detach-keys", defaultDetachKeys, "The key sequence for detaching from a container")
	f.VarP(&o.env, "env", "e", "Set environment variables")
	f.StringArrayVar(&o.envFiles, "env-file", nil, "Read in a file of environment variables")
	f.BoolVarP(&o.interactive, "interactive", "i", false, "Keep STDIN open even if not attached")
	f.BoolVar(&o.privileged, "privileged", false, "Give extended privileges to the command")
	f.BoolVarP(&o.tty, "tty", "t", false, "Allocate a pseudo-TTY")
	f.StringVarP(&o.user, "user", "u", "", `Username or UID (format: "<name|uid>[:<group|gid>]")`)
	f.StringVarP(&o.workdir, "workdir", "w", "", "Working directory inside the container")
	return cmd
}

func (o *execOptions) run(ctx context.Context, c *cli, name string, command []string) error {
	req, keys, err := o.request(c, command)
	if err != nil {
		return err
	}
	client, err := c.daemon(ctx)
	if err != nil {
		return err
	}
	begin := c.now()
	created, err := client.ExecCreate(ctx, name, req)
	if err != nil {
		return err
	}
	conn, err := client.ExecStart(ctx, created.ID, container.ExecStartRequest{Detach: o.detach, Tty: o.tty, ConsoleSize: req.ConsoleSize})
	if err != nil {
		return execError(err)
	}
	if o.detach {
		return nil
	}
	defer conn.Close()
	s := session{
		conn: conn, stdout: c.stdout, stderr: c.stderr, tty: o.tty, detachKeys: keys,
		terminal: c.outputTerminal(),
		resize:   func(size api.TTYSize) { _ = client.ExecResize(ctx, created.ID, size) },
	}
	if o.interactive {
		s.stdin = c.stdin
		s.raw = o.tty && c.stdinIsTerminal()
	}
	if err := s.run(); errors.Is(err, errDetached) {
		fmt.Fprintln(c.stderr, errDetached)
		return nil
	} else if err != nil {
		return err
	}
	ended, err := client.ExecInspect(ctx, created.ID)
	switch {
	case errdefs.IsNotFound(err) && livesOn(ctx, client, name, begin):
		return errExecForgotten
	case errdefs.IsNotFound(err): // removed with its container, which it ended with
		return &statusError{code: exitKilled}
	case err != nil:
		return err
	case ended.ExitCode == nil:
		return errors.New("the streams of the command ended before it did: it goes on in the container")
	case *ended.ExitCode != 0:
		return &statusError{code: *ended.ExitCode}
	}
	return nil
}

func (o *execOptions) request(c *cli, command []string) (req container.ExecCreateRequest, keys []byte, err error) {
	if o.tty && o.interactive && !o.detach && !c.stdinIsTerminal() {
		return req, nil, errors.New("the input device is not a TTY: leave out --tty to feed the command from a file or a pipe")
	}
	var settings []string
	for _, path := range o.envFiles {
		lines, err := readEnvFile(path)
		if err != nil {
			return req, nil, err
		}
		settings = append(settings, lines...)
	}
	settings = append(settings, o.env.values...)
	var base []string
	if term := c.getenv("TERM"); o.tty && term != "" {
		base = []string{"TERM=" + term}
	}
	if keys, err = parseDetachKeys(o.detachKeys); err != nil {
		return req, nil, err
	}
	req = container.ExecCreateRequest{
		User:         o.user,
		Privileged:   o.privileged,
		Tty:          o.tty,
		AttachStdin:  o.interactive && !o.detach,
		AttachStdout: !o.detach,
		AttachStderr: !o.detach,
		Env:          mergeEnv(base, resolveEnv(settings, c.lookupEnv)),
		WorkingDir:   o.workdir,
		Cmd:          command,
	}
	if size, ok := terminalSize(c.outputTerminal()); ok && o.tty {
		req.ConsoleSize = &[2]uint{uint(size.Height), uint(size.Width)}
	}
	return req, keys, nil
}

// execError gives the error of a command that cannot be run Docker's exit code.
func execError(err error) error {
	switch {
	case errors.Is(err, api.ErrCommandNotFound):
		return &statusError{code: exitNotFound, err: err}
	case errors.Is(err, api.ErrCommandNotExecutable):
		return &statusError{code: exitNotExecutable, err: err}
	case errdefs.IsConflict(err), errdefs.IsNotFound(err):
		// The exec was made a moment ago: the container has ended since, or is
		// removed with all its execs.
		return &statusError{code: exitKilled, err: err}
	}
	return err
}
