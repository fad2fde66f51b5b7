package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
)

func networkCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "network", Short: "Manage networks", Args: unknownCommand, RunE: help}
	cmd.AddCommand(networkConnectCommand(c), networkCreateCommand(c), networkDisconnectCommand(c),
		networkExistsCommand(c), networkInspectCommand(c), networkListCommand(c), networkPruneCommand(c), networkRemoveCommand(c))
	return cmd
}

func networkListCommand(c *cli) *cobra.Command {
	var quiet, noTrunc bool
	var format string
	var filter filterFlag
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List networks",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := c.daemon(cmd.Context())
			if err != nil {
				return err
			}
			networks, err := client.NetworkList(cmd.Context(), filter.filters)
			if err != nil {
				return err
			}
			slices.SortFunc(networks, func(a, b network.Summary) int { return strings.Compare(a.Name, b.Name) })
			rows := make([]any, len(networks))
			for i, n := range networks {
				rows[i] = networkRow{n: n, whole: noTrunc}
			}
			return networkListing.print(c.stdout, rows, format, quiet)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "Only display network IDs")
	f.BoolVar(&noTrunc, "no-trunc", false, "Do not truncate the output")
	f.StringVar(&format, "format", "", formatHelp)
	f.VarP(&filter, "filter", "f", `Provide filter values (e.g. "driver=bridge")`)
	return cmd
}

var networkListing = listing{
	headings: headings{
		"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv4": "IPV4", "IPv6": "IPV6",
		"Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT",
	},
	table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
	quiet: "{{.ID}}",
}

// networkRow is a network as templates of network ls see it.
type networkRow struct {
	n     network.Summary
	whole bool // nothing is shortened
}

func (r networkRow) ID() string               { return shortID(r.n.ID, r.whole) }
func (r networkRow) Name() string             { return r.n.Name }
func (r networkRow) Driver() string           { return r.n.Driver }
func (r networkRow) Scope() string            { return r.n.Scope }
func (r networkRow) IPv4() string             { return strconv.FormatBool(r.n.EnableIPv4) }
func (r networkRow) IPv6() string             { return strconv.FormatBool(r.n.EnableIPv6) }
func (r networkRow) Internal() string         { return strconv.FormatBool(r.n.Internal) }
func (r networkRow) Labels() string           { return joinLabels(r.n.Labels) }
func (r networkRow) Label(name string) string { return r.n.Labels[name] }
func (r networkRow) CreatedAt() string        { return r.n.Created.String() }

// MarshalJSON implements json.Marshaler.
func (r networkRow) MarshalJSON() ([]byte, error) { return rowJSON(r) }

func networkInspectCommand(c *cli) *cobra.Command {
	var format string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] NETWORK [NETWORK...]",
		Short: "Display detailed information on one or more networks",
		Args:  minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inspectAll(cmd.Context(), c, args, format, func(ctx context.Context, client *api.Client, name string) (any, error) {
				return client.NetworkInspect(ctx, name, api.NetworkInspectOptions{Verbose: verbose})
			})
		},
		ValidArgsFunction: completeNetworkArgs(c, -1, false),
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", inspectFormatHelp)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "Verbose output for diagnostics")
	return cmd
}

func networkRemoveCommand(c *cli) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "rm NETWORK [NETWORK...]",
		Aliases: []string{"remove"},
		Short:   "Remove one or more networks",
		Args:    minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.forEach(cmd.Context(), args, func(client *api.Client, name string) error {
				err := client.NetworkRemove(cmd.Context(), name)
				if force && errdefs.IsNotFound(err) {
					return errSaid
				}
				return err
			})
		},
		ValidArgsFunction: completeOwnNetworks(c),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not error if the network does not exist")
	return cmd
}

func networkPruneCommand(c *cli) *cobra.Command {
	var force bool
	var filter filterFlag
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove all unused networks",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !force {
				fmt.Fprint(c.stdout, "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue? [y/N] ")
				if !readYes(c.stdin) {
					return errors.New("nothing was removed: the answer was not yes; leave the question out with --force")
				}
			}
			client, err := c.daemon(cmd.Context())
			if err != nil {
				return err
			}
			report, err := client.NetworksPrune(cmd.Context(), filter.filters)
			if err != nil {
				return err
			}
			if len(report.NetworksDeleted) > 0 {
				fmt.Fprintf(c.stdout, "Deleted Networks:\n%s\n\n", strings.Join(report.NetworksDeleted, "\n"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not prompt for confirmation")
	cmd.Flags().Var(&filter, "filter", `Provide filter values (e.g. "until=<timestamp>")`)
	return cmd
}

// readYes reads the answer to a question; anything but y or yes is a no.
func readYes(r io.Reader) bool {
	line, _ := bufio.NewReader(r).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true
	}
	return false
}

func networkConnectCommand(c *cli) *cobra.Command {
	var a attachment
	var simple simpleAttachment
	var linkLocal, driverOpts []string
	links := listFlag{check: checkLink}
	cmd := &cobra.Command{
		Use:               "connect [OPTIONS] NETWORK CONTAINER",
		Short:             "Connect a container to a network",
		Args:              exactArgs(2),
		ValidArgsFunction: completeNetworkArgs(c, 1, true),
	}
	f := cmd.Flags()
	f.StringSliceVar(&simple.aliases, "alias", nil, "Add network-scoped alias for the container")
	f.Var(&links, "link", "Add link to another container")
	f.StringSliceVar(&driverOpts, "driver-opt", nil, "driver options for the network")
	f.IntVar(&a.gwPriority, "gw-priority", 0, "Highest gw-priority provides the default gateway. Accepts positive and negative values.")
	f.StringVar(&simple.ip, "ip", "", `IPv4 address (e.g., "172.30.100.104")`)
	f.StringVar(&simple.ip6, "ip6", "", `IPv6 address (e.g., "2001:db8::33")`)
	f.StringVar(&simple.mac, "mac-address", "", "MAC address (e.g., 92:d0:c6:0a:29:33)")
	f.StringSliceVar(&linkLocal, "link-local-ip", nil, "")
	f.Lookup("link-local-ip").Hidden = true // it is refused
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.merge(simple); err != nil {
			return err
		}
		for _, text := range linkLocal {
			if err := a.set("link-local-ip", text); err != nil {
				return err
			}
		}
		a.links = links.values
		for _, text := range driverOpts {
			if err := a.set("driver-opt", text); err != nil {
				return err
			}
		}
		client, err := c.daemon(cmd.Context())
		if err != nil {
			return err
		}
		return client.NetworkConnect(cmd.Context(), args[0], network.ConnectRequest{Container: args[1], EndpointConfig: a.settings()})
	}
	return cmd
}

func networkDisconnectCommand(c *cli) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "disconnect [OPTIONS] NETWORK CONTAINER",
		Short: "Disconnect a container from a network",
		Args:  exactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.daemon(cmd.Context())
			if err != nil {
				return err
			}
			return client.NetworkDisconnect(cmd.Context(), args[0], network.DisconnectRequest{Container: args[1], Force: force})
		},
		ValidArgsFunction: completeNetworkArgs(c, 1, true),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force the container to disconnect from a network")
	return cmd
}
