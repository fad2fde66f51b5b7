package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/internal/proxy"
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

// join copies standard input to a connection to a container and that to standard output,
// until the container has said all it had to say. That the connection was cut before is
// an error, which cannot be told when standard input has ended first.
func join(c *cli, conn net.Conn) error {
	joined := proxy.NewJoined(conn)
	if c.stdin != nil {
		go func() {
			if _, err := io.Copy(joined, c.stdin); err == nil {
				_ = joined.CloseWrite()
			}
		}()
	}
	_, err := io.Copy(c.stdout, joined)
	if errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("the connection was cut, and what came of it may not be all: %w", err)
	}
	if err != nil {
		return fmt.Errorf("connection broken: %w", err)
	}
	return nil
}
