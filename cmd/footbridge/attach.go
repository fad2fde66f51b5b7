package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

type attachOptions struct {
	noStdin    bool
	sigProxy   bool
	detachKeys string
	namespace  namespaceFlags
}

func attachCommand(c *cli) *cobra.Command {
	var o attachOptions
	cmd := &cobra.Command{
		Use:   "attach [OPTIONS] CONTAINER | --pid PID [OPTIONS] | --netns PATH [OPTIONS]",
		Short: "Attach input, output and errors to a running container, or networks to a namespace",
		Long: `Attach input, output and errors to a running container; or, with --pid or --netns,
attach networks to a network namespace that others made

The namespace becomes a container, whose id is printed: with interfaces, addresses and
a default route in it, with names, published ports and all that network connect,
disconnect, port, inspect and ps know. It stays one until it is detached ("detach"
or "rm -f"), its process has ended, its path leads elsewhere or, with --exit-fd, the
other end of that descriptor is closed.

Its files are left alone. Names of the other containers are known at the address of
each network's gateway: ` + "`inspect -f '{{.Footbridge.Namespace.NameServers}}'`" + ` tells
which, for a resolv.conf that you mount or write there yourself.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			foreign, err := o.namespace.chosen(cmd.Flags(), args)
			switch {
			case err != nil:
				return runHelpError(cmd, exitFailure, err)
			case foreign:
				return o.namespace.run(cmd.Context(), c, cmd.Flags())
			}
			if err := exactArgs(1)(cmd, args); err != nil {
				return err
			}
			return o.run(cmd.Context(), c, args[0])
		},
		ValidArgsFunction: completeContainers(c, 1, false),
	}
	cmd.Flags().BoolVar(&o.noStdin, "no-stdin", false, "Do not attach STDIN")
	cmd.Flags().BoolVar(&o.sigProxy, "sig-proxy", true, "Proxy all received signals to the process")
	cmd.Flags().StringVar(&o.detachKeys, "detach-keys", defaultDetachKeys, "The key sequence for detaching from a container")
	o.namespace.register(cmd.Flags())
	completeNetworks(c, cmd, "network")
	return cmd
}

// run stays with a running container to its end.
func (o *attachOptions) run(ctx context.Context, c *cli, name string) error {
	w, found, err := c.watched(ctx, name, o.detachKeys, !o.noStdin)
	if err != nil {
		return err
	}
	if !found.State.Running {
		return fmt.Errorf("cannot attach to a stopped container, start it first: `footbridge start -a %s`", name)
	}
	if w.tty && w.stdin && !c.stdinIsTerminal() {
		return errors.New("the input device is not a TTY: leave the input out with --no-stdin")
	}
	ctx, signals := catchSignals(ctx)
	defer signals.stop()
	if err := w.attach(ctx); err != nil {
		return err
	}
	defer w.close()
	if o.sigProxy {
		signals.forwardTo(w.kill)
	} else {
		signals.stopCatching()
	}
	return w.stay(ctx)
}
