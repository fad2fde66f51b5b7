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

// The commands that lead containers through their lives: start, stop, kill,
// wait, rm. Each takes several, prints those it succeeded with, and goes on
// after failures.

// stopFlags adds the flags that say how a container is stopped, and gives what
// they were set to.
func stopFlags(cmd *cobra.Command) func() api.StopOptions {
	var signal string
	var timeout int
	cmd.Flags().StringVarP(&signal, "signal", "s", "", "Signal to send to the container")
	cmd.Flags().IntVarP(&timeout, "timeout", "t", 0, "Seconds to wait before killing the container")
	cmd.Flags().IntVar(&timeout, "time", 0, "")
	cmd.Flags().Lookup("time").Hidden = true // what --timeout was called before
	return func() api.StopOptions {
		options := api.StopOptions{Signal: signal}
		if cmd.Flags().Changed("timeout") || cmd.Flags().Changed("time") {
			options.Timeout = &timeout
		}
		return options
	}
}

func stopCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "stop [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Stop one or more running containers",
		Args:              minArgs(1),
		ValidArgsFunction: completeContainers(c, -1, false),
	}
	options := stopFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.forEach(cmd.Context(), args, func(client *api.Client, name string) error {
			err := client.ContainerStop(cmd.Context(), name, options())
			if errdefs.IsNotModified(err) { // it does not run, which is what was wanted
				return nil
			}
			return err
		})
	}
	return cmd
}

func killCommand(c *cli) *cobra.Command {
	var signal string
	cmd := &cobra.Command{
		Use:   "kill [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Kill one or more running containers",
		Args:  minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.forEach(cmd.Context(), args, func(client *api.Client, name string) error {
				return client.ContainerKill(cmd.Context(), name, signal)
			})
		},
		ValidArgsFunction: completeContainers(c, -1, false),
	}
	cmd.Flags().StringVarP(&signal, "signal", "s", "", "Signal to send to the container")
	return cmd
}

func rmCommand(c *cli) *cobra.Command {
	var options api.RemoveOptions
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] CONTAINER [CONTAINER...]",
		Aliases: []string{"remove"},
		Short:   "Remove one or more containers",
		Args:    minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.forEach(cmd.Context(), args, func(client *api.Client, name string) error {
				err := client.ContainerRemove(cmd.Context(), name, options)
				if options.Force && errdefs.IsNotFound(err) {
					fmt.Fprintln(c.stderr, err)
					return errSaid
				}
				return err
			})
		},
		ValidArgsFunction: completeContainers(c, -1, true),
	}
	cmd.Flags().BoolVarP(&options.Force, "force", "f", false, "Force the removal of a running container (uses SIGKILL)")
	cmd.Flags().BoolVarP(&options.RemoveVolumes, "volumes", "v", false, "Remove anonymous volumes associated with the container")
	return cmd
}

// errSaid: what there is to say about an object was said, and it is no failure.
var errSaid = errors.New("already said")

// forEach calls do for every name and prints the names that it succeeded for.
func (c *cli) forEach(ctx context.Context, names []string, do func(client *api.Client, name string) error) error {
	client, err := c.daemon(ctx)
	if err != nil {
		return err
	}
	return each(names, func(name string) error {
		switch err := do(client, name); {
		case errors.Is(err, errSaid):
			return nil
		case err != nil:
			return err
		}
		fmt.Fprintln(c.stdout, name)
		return nil
	})
}

func waitCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "wait CONTAINER [CONTAINER...]",
		Short: "Block until one or more containers stop, then print their exit codes",
		Args:  minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.daemon(cmd.Context())
			if err != nil {
				return err
			}
			return each(args, func(name string) error {
				result, err := waitFor(cmd.Context(), client, name)
				switch {
				case err != nil:
					return err
				case result.Error != nil && result.Error.Message != "":
					return errors.New(result.Error.Message)
				}
				fmt.Fprintln(c.stdout, result.StatusCode)
				return nil
			})
		},
		ValidArgsFunction: completeContainers(c, -1, false),
	}
}

// waitFor waits for a container's end, also when the daemon goes away and comes back.
func waitFor(ctx context.Context, client *api.Client, name string) (container.WaitResponse, error) {
	for {
		exit, err := client.ContainerWait(ctx, name, container.WaitConditionNotRunning)
		if err != nil {
			return container.WaitResponse{}, err
		}
		if result, ok := <-exit; ok {
			return result, nil
		}
		if comeBack(ctx, client) != nil {
			return container.WaitResponse{}, fmt.Errorf("wait for %s: %w", name, errDaemonGone)
		}
	}
}

func startCommand(c *cli) *cobra.Command {
	var attach, interactive bool
	var detachKeys string
	cmd := &cobra.Command{
		Use:   "start [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Start one or more stopped containers",
		Args:  minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !attach && !interactive {
				return c.forEach(cmd.Context(), args, func(client *api.Client, name string) error {
					return ignoreNotModified(client.ContainerStart(cmd.Context(), name))
				})
			}
			if len(args) > 1 {
				return errors.New("you cannot start and attach multiple containers at once")
			}
			return startAttached(cmd.Context(), c, args[0], interactive, detachKeys)
		},
		ValidArgsFunction: completeContainers(c, -1, true),
	}
	cmd.Flags().BoolVarP(&attach, "attach", "a", false, "Attach STDOUT/STDERR and forward signals")
	cmd.Flags().BoolVarP(&interactive, "interactive", "i", false, "Attach container's STDIN")
	cmd.Flags().StringVar(&detachKeys, "detach-keys", defaultDetachKeys, "The key sequence for detaching from a container")
	return cmd
}

func ignoreNotModified(err error) error {
	if errdefs.IsNotModified(err) {
		return nil
	}
	return err
}

// startAttached starts one container and stays with it.
func startAttached(ctx context.Context, c *cli, name string, interactive bool, detachKeys string) error {
	w, _, err := c.watched(ctx, name, detachKeys, interactive)
	if err != nil {
		return err
	}
	ctx, signals := catchSignals(ctx)
	defer signals.stop()
	if err := w.attach(ctx); err != nil {
		return err
	}
	defer w.close()
	if err := ignoreNotModified(w.client.ContainerStart(ctx, w.id)); err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errInterrupted) {
			return &statusError{code: signals.exitCode(), err: cause}
		}
		return err
	}
	signals.forwardTo(w.kill)
	return w.stay(ctx)
}
