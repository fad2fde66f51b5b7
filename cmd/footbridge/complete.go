package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
)

// completeTimeout bounds what pressing Tab may cost.
const completeTimeout = 2 * time.Second

// completeContainers completes names of containers, up to most arguments (-1:
// any number). It asks a daemon that runs and starts none.
func completeContainers(c *cli, most int, all bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if most >= 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveDefault
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		return without(containerNames(ctx, c, all), args), cobra.ShellCompDirectiveNoFileComp
	}
}

func containerNames(ctx context.Context, c *cli, all bool) []string {
	client, err := c.runningDaemon(ctx)
	if err != nil {
		return nil
	}
	list, err := client.ContainerList(ctx, api.ListOptions{All: all})
	if err != nil {
		return nil
	}
	var names []string
	for _, item := range list {
		for _, name := range item.Names {
			names = append(names, strings.TrimPrefix(name, "/"))
		}
	}
	return names
}

// completeNetworkArgs completes names of networks, up to most arguments, and
// then those of containers if then is set.
func completeNetworkArgs(c *cli, most int, then bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		switch {
		case most < 0 || len(args) < most:
			return without(networkNames(ctx, c), args), cobra.ShellCompDirectiveNoFileComp
		case then && len(args) == most:
			return containerNames(ctx, c, true), cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeOwnNetworks completes names of networks that can be removed.
func completeOwnNetworks(c *cli) cobra.CompletionFunc {
	all := completeNetworkArgs(c, -1, false)
	return func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
		names, directive := all(cmd, args, text)
		return slices.DeleteFunc(names, isPredefined), directive
	}
}

// completeNetworks completes a flag that names a network.
func completeNetworks(c *cli, cmd *cobra.Command, flag string) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		return networkNames(ctx, c), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // there is no such flag: a mistake in this program
	}
}

func networkNames(ctx context.Context, c *cli) []string {
	client, err := c.runningDaemon(ctx)
	if err != nil {
		return nil
	}
	list, err := client.NetworkList(ctx, nil)
	if err != nil {
		return nil
	}
	var names []string
	for _, item := range list {
		names = append(names, item.Name)
	}
	return names
}

func without(names, taken []string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(taken, name) })
}
