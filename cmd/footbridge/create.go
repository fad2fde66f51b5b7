package main

import (
	"context"
	"fmt"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
)

type createOptions struct {
	flags   runFlags
	cidFile string
}

func createCommand(c *cli) *cobra.Command {
	var o createOptions
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] [--] COMMAND [ARG...]",
		Short: "Create a new container",
		Args:  minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := o.request(c, args)
			if err != nil { // Docker's code of a wrong command line, and 1 of what the daemon refuses
				return runHelpError(cmd, exitUsage, err)
			}
			return o.run(cmd.Context(), c, req)
		},
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
	}
	f := cmd.Flags()
	f.SetInterspersed(false) // flags after the command are the command's
	o.flags.register(f)
	f.StringVar(&o.cidFile, "cidfile", "", "Write the container ID to the file")
	completeNetworks(c, cmd, "network")
	return cmd
}

// request is what the command line asks for.
func (o *createOptions) request(c *cli, command []string) (container.CreateRequest, error) {
	cwd, err := callerDir()
	if err != nil && o.flags.workdir == "" {
		return container.CreateRequest{}, err
	}
	req, err := o.flags.request(c, command, cwd)
	if err != nil {
		return container.CreateRequest{}, err
	}
	req.AttachStdin, req.AttachStdout, req.AttachStderr = o.flags.interactive, true, true
	req.StdinOnce = o.flags.interactive
	return req, nil
}

func (o *createOptions) run(ctx context.Context, c *cli, req container.CreateRequest) error {
	client, err := c.daemon(ctx)
	if err != nil {
		return err
	}
	created, err := client.ContainerCreate(ctx, o.flags.name, req)
	if err != nil {
		return err
	}
	for _, warning := range created.Warnings {
		fmt.Fprintf(c.stderr, "WARNING: %s\n", warning)
	}
	if o.cidFile != "" {
		if err := writeIDFile(o.cidFile, created.ID); err != nil {
			removeUnstarted(client, created.ID)
			return err
		}
	}
	fmt.Fprintln(c.stdout, created.ID)
	return nil
}
