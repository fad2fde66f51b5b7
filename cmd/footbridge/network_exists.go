package main

import (
	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
)

// networkExistsCommand is podman's; Docker has none.
func networkExistsCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "exists NETWORK",
		Short: "Check whether a network exists",
		Long: `Check whether a network exists. Nothing is printed: the exit status is 0 if it does, 1 if it
does not, and 125 if that cannot be told.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := exactArgs(1)(cmd, args); err != nil { // whose code would say that it does not exist
				return &statusError{code: exitUsage, whole: true, err: err}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.daemon(cmd.Context())
			if err != nil {
				return &statusError{code: exitUsage, err: err}
			}
			_, err = client.NetworkInspect(cmd.Context(), args[0], api.NetworkInspectOptions{})
			switch {
			case err == nil:
				return nil
			case errdefs.IsNotFound(err):
				return &statusError{code: exitFailure}
			}
			return &statusError{code: exitUsage, err: err}
		},
		ValidArgsFunction: completeNetworkArgs(c, 1, false),
	}
}
