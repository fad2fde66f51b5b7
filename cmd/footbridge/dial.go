package main

import (
	"fmt"
	"io"
	"net"

	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
)

func dialCommand(c *cli) *cobra.Command {
	var network string
	cmd := &cobra.Command{
		Use:   "dial [OPTIONS] CONTAINER:PORT | ADDRESS:PORT",
		Short: "Connect standard input and output to a TCP port of a container",
		Example: `  footbridge dial web:80
  ssh -o ProxyCommand='footbridge dial %h:%p' root@box`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			host, port, err := api.ParseHostPort(args[0])
			if err != nil {
				return err
			}
			client, err := c.daemon(cmd.Context())
			if err != nil {
				return err
			}
			conn, err := client.Dial(cmd.Context(), api.DialRequest{Network: network, Host: host, Port: port})
			if err != nil {
				return err
			}
			defer conn.Close()
			return join(c, conn)
		},
	}
	cmd.Flags().StringVarP(&network, "network", "n", "", "Look for the container on this network only")
	completeNetworks(c, cmd, "network")
	return cmd
}

// join copies standard input to conn and conn to standard output, until the other side
// has said all it had to say.
func join(c *cli, conn net.Conn) error {
	if c.stdin != nil {
		go func() {
			_, err := io.Copy(conn, c.stdin)
			if half, ok := conn.(interface{ CloseWrite() error }); ok && err == nil {
				_ = half.CloseWrite()
			}
		}()
	}
	_, err := io.Copy(c.stdout, conn)
	if err != nil {
		return fmt.Errorf("connection broken: %w", err)
	}
	return nil
}
