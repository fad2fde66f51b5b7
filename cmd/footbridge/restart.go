package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
)

func restartCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "restart [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Restart one or more containers",
		Args:              minArgs(1),
		ValidArgsFunction: completeContainers(c, -1, true),
	}
	options := stopFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.forEach(cmd.Context(), args, func(client *api.Client, name string) error {
			return client.ContainerRestart(cmd.Context(), name, options())
		})
	}
	return cmd
}

func renameCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "rename CONTAINER NEW_NAME",
		Short: "Rename a container that does not run",
		Args:  exactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.daemon(cmd.Context())
			if err != nil {
				return err
			}
			return client.ContainerRename(cmd.Context(), args[0], args[1])
		},
		ValidArgsFunction: completeContainers(c, 1, true),
	}
}

func containerPruneCommand(c *cli) *cobra.Command {
	var force bool
	var filter filterFlag
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove all stopped containers",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !force {
				fmt.Fprint(c.stdout, "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] ")
				if !readYes(c.stdin) {
					return errors.New("nothing was removed: the answer was not yes; leave the question out with --force")
				}
			}
			client, err := c.daemon(cmd.Context())
			if err != nil {
				return err
			}
			report, err := client.ContainersPrune(cmd.Context(), filter.filters)
			if err != nil {
				return err
			}
			if len(report.ContainersDeleted) > 0 {
				fmt.Fprintf(c.stdout, "Deleted Containers:\n%s\n\n", strings.Join(report.ContainersDeleted, "\n"))
			}
			fmt.Fprintln(c.stdout, "Total reclaimed space:", units.HumanSize(float64(report.SpaceReclaimed)))
			return nil
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not prompt for confirmation")
	cmd.Flags().Var(&filter, "filter", `Provide filter values (e.g. "until=<timestamp>")`)
	return cmd
}

func topCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top CONTAINER [ps OPTIONS]",
		Short: "Display the running processes of a container",
		Args:  minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.daemon(cmd.Context())
			if err != nil {
				return err
			}
			top, err := client.ContainerTop(cmd.Context(), args[0], strings.Join(args[1:], " "))
			if err != nil {
				return err
			}
			rows := append([][]string{top.Titles}, top.Processes...)
			return printColumns(c.stdout, rows)
		},
		ValidArgsFunction: completeContainers(c, 1, false),
	}
	cmd.Flags().SetInterspersed(false) // options after the name are ps's
	return cmd
}
