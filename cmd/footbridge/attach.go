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
}

func attachCommand(c *cli) *cobra.Command {
	var o attachOptions
	cmd := &cobra.Command{
		Use:   "attach [OPTIONS] CONTAINER",
		Short: "Attach input, output and errors to a running container",
		Args:  exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), c, args[0])
		},
		ValidArgsFunction: completeContainers(c, 1, false),
	}
	cmd.Flags().BoolVar(&o.noStdin, "no-stdin", false, "Do not attach STDIN")
	cmd.Flags().BoolVar(&o.sigProxy, "sig-proxy", true, "Proxy all received signals to the process")
	cmd.Flags().StringVar(&o.detachKeys, "detach-keys", defaultDetachKeys, "The key sequence for detaching from a container")
	return cmd
}

// run stays with a running container to its end.
func (o *attachOptions) run(ctx context.Context, c *cli, name string) error {
	keys, err := parseDetachKeys(o.detachKeys)
	if err != nil {
		return err
	}
	client, err := c.daemon(ctx)
	if err != nil {
		return err
	}
	found, err := client.ContainerInspect(ctx, name)
	if err != nil {
		return err
	}
	if !found.State.Running {
		return fmt.Errorf("cannot attach to a stopped container, start it first: `footbridge start -a %s`", name)
	}
	w := watch{
		c: c, client: client, id: found.ID, keys: keys,
		tty:        found.Config.Tty,
		stdin:      !o.noStdin && found.Config.OpenStdin,
		autoRemove: found.HostConfig != nil && found.HostConfig.AutoRemove,
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
