package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
)

// startPatience is how long a daemon may take from its first instruction until it
// serves: it finds all containers again before that.
const startPatience = time.Minute

var errUpgrade = errors.New("the daemon was not upgraded")

func daemonUpgradeCommand(c *cli) *cobra.Command {
	var binary string
	cmd := &cobra.Command{
		Use:   "upgrade [OPTIONS]",
		Short: "Put another version in the place of the running daemon",
		Long: `Put another version in the place of the running daemon.

The process goes on as the other program, with everything that it holds: containers,
their networks and published ports go on meanwhile, and commands that come in between
wait. What follows a daemon's output (logs -f, events, exec) is cut off; run, start -a
and attach go on.

A program that cannot take over is not executed, and one that fails to start gives way
to the one before: then the daemon goes on as it was, and the error says why.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if binary == "" {
				var err error
				if binary, err = os.Executable(); err != nil {
					return err
				}
				if strings.HasSuffix(binary, " (deleted)") {
					return fmt.Errorf("%w: this program's file is gone: name the other with --binary", errUpgrade)
				}
			}
			return upgradeDaemon(cmd.Context(), c, binary)
		},
	}
	cmd.Flags().StringVar(&binary, "binary", "", "The program that is to be the daemon (default: this one)")
	return cmd
}

func upgradeDaemon(ctx context.Context, c *cli, binary string) error {
	path, err := filepath.Abs(binary)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUpgrade, err)
	}
	d, err := c.dirs()
	if err != nil {
		return err
	}
	client, err := c.runningDaemon(ctx)
	if errors.Is(err, api.ErrNoDaemon) {
		if where := daemonElsewhere(c); where != nil {
			return where
		}
		return fmt.Errorf("%w: none is running; the first command that needs it starts it", errUpgrade)
	}
	if err != nil {
		return err
	}
	upgrade, err := client.Upgrade(ctx, api.UpgradeRequest{Binary: path})
	switch {
	case errdefs.IsNotFound(err): // a daemon without this request
		version, verr := client.DaemonVersion(ctx)
		if verr != nil {
			return verr
		}
		return fmt.Errorf("%w: version %s cannot be exchanged while it runs: stop it with `footbridge daemon stop`; the next command starts the other", errUpgrade, version)
	case err != nil:
		return fmt.Errorf("%w: %w", errUpgrade, err)
	}
	status, err := awaitDaemon(ctx, client)
	switch {
	case err != nil:
		return fmt.Errorf("%w: footbridge %s was executed and does not serve (%w): %s says why; containers go on without a network until the next command starts a daemon",
			errUpgrade, upgrade.To, err, d.log())
	case status.Upgrade != nil && status.Upgrade.Error != "":
		return fmt.Errorf("%w: footbridge %s could not start, and %s goes on: %s", errUpgrade, upgrade.To, status.Version, status.Upgrade.Error)
	case status.Upgrade == nil || status.PID != upgrade.PID:
		return fmt.Errorf("%w: footbridge %s was executed and ended, and another daemon (pid %d, footbridge %s) was started: %s says why",
			errUpgrade, upgrade.To, status.PID, status.Version, d.log())
	}
	fmt.Fprintf(c.stdout, "footbridge daemon (pid %d): %s -> %s\n", status.PID, upgrade.From, status.Version)
	for _, w := range status.Warnings { // as the start of a daemon tells them
		fmt.Fprintf(c.stderr, "footbridge: warning: %s: %s\n", w.Text, w.Remedy)
	}
	return nil
}

// awaitDaemon returns the status of a daemon that is about to serve.
func awaitDaemon(ctx context.Context, client *api.Client) (status api.Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	tick := time.NewTicker(lockInterval)
	defer tick.Stop()
	for {
		status, err = client.Status(ctx)
		// Gone: it was accepted by the program that was about to be exchanged.
		if !isGone(err) {
			return status, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return status, err
		}
	}
}
