package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
)

// Published ports of containers that are there already. Docker has no such commands:
// there a container is made anew.

func publishCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "publish CONTAINER PORT [PORT...]",
		Short: "Publish further ports of a container, at once if it runs",
		Long: `Publish further ports of a container, at once if it runs, and whenever it starts.

A PORT is written as for -p of run: ` + portGrammar + `. Either all
of them are published or none. What is published already stays as it is.`,
		Example: `  footbridge publish web 8000:80
  footbridge publish web 127.0.0.1:8443:443 53:53/udp`,
		Args: minArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, req, err := publishRequest(cmd, c, args[1:])
			if err != nil {
				return err
			}
			res, err := client.ContainerPublish(cmd.Context(), args[0], req)
			if err != nil {
				return err
			}
			for _, w := range res.Warnings {
				fmt.Fprintln(c.stderr, "WARNING:", w)
			}
			for _, line := range portLines(res.Ports) {
				fmt.Fprintln(c.stdout, line)
			}
			return nil
		},
		ValidArgsFunction: completeContainers(c, 1, true),
	}
}

func unpublishCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "unpublish CONTAINER PORT [PORT...]",
		Short: "Take published ports of a container back, at once if it runs",
		Long: `Take published ports of a container back, at once if it runs, and for its next starts. What
goes through them ends.

A PORT is written as for -p of run: ` + portGrammar + `, where a container
port alone means all that leads to it. Or it is a line of "footbridge port", or that line's ADDRESS:PORT of
the host, and means what was published there, with its other addresses: what is published at all
addresses goes as a whole. Either all are taken back or none.`,
		Example: `  footbridge unpublish web 8000:80
  footbridge unpublish web 53/udp
  footbridge unpublish web '80/tcp -> [::]:8000'
  footbridge unpublish web 127.0.0.1:8443`,
		Args: minArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			shown, specs, err := splitShown(args[1:])
			if err != nil {
				return err
			}
			client, req, err := publishRequest(cmd, c, specs)
			if err != nil {
				return err
			}
			if err := addShown(cmd.Context(), client, args[0], shown, req.PortBindings); err != nil {
				return err
			}
			return client.ContainerUnpublish(cmd.Context(), args[0], req)
		},
		ValidArgsFunction: completeContainers(c, 1, true),
	}
}

// publishRequest reads ports, and finds the daemon that is to be asked about them.
func publishRequest(cmd *cobra.Command, c *cli, ports []string) (*api.Client, api.PublishRequest, error) {
	_, bindings, err := parsePublish(ports, nil)
	if err != nil {
		return nil, api.PublishRequest{}, err
	}
	client, err := c.daemon(cmd.Context())
	return client, api.PublishRequest{PortBindings: bindings}, err
}
