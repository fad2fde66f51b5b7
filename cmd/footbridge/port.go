package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"
)

func portCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "port CONTAINER [PRIVATE_PORT[/PROTO]]",
		Short: "List port mappings or a specific mapping for the container",
		Args:  rangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			private := ""
			if len(args) == 2 {
				private = args[1]
			}
			return printPorts(cmd.Context(), c, args[0], private)
		},
		ValidArgsFunction: completeContainers(c, 1, false),
	}
}

func printPorts(ctx context.Context, c *cli, name, private string) error {
	var wanted network.Port
	if private != "" {
		number, proto, found := strings.Cut(private, "/")
		if _, err := portNumber(number); err != nil {
			return err
		}
		if found && !knownProto(strings.ToLower(proto)) {
			return fmt.Errorf("invalid proto %q: it is tcp or udp", proto)
		}
		var err error
		if wanted, err = network.ParsePort(private); err != nil {
			return err
		}
	}
	_, found, err := c.container(ctx, name)
	if err != nil {
		return err
	}
	var ports network.PortMap
	if found.NetworkSettings != nil {
		ports = found.NetworkSettings.Ports
	}
	if private == "" {
		for _, line := range portLines(ports) {
			fmt.Fprintln(c.stdout, line)
		}
		return nil
	}
	if len(ports[wanted]) == 0 {
		return fmt.Errorf("no public port '%s' published for %s%s", wanted, name, otherProto(ports, wanted))
	}
	for _, binding := range ports[wanted] {
		fmt.Fprintln(c.stdout, hostAddress(binding))
	}
	return nil
}

// otherProto is a hint that the number is published with another protocol.
func otherProto(ports network.PortMap, wanted network.Port) string {
	for port, bindings := range ports {
		if port.Num() == wanted.Num() && port != wanted && len(bindings) > 0 {
			return fmt.Sprintf("; '%s' is", port)
		}
	}
	return ""
}

// portLines returns "80/tcp -> 0.0.0.0:8000" for every mapping, in order.
func portLines(ports network.PortMap) []string {
	private := make([]network.Port, 0, len(ports))
	for port := range ports {
		private = append(private, port)
	}
	slices.SortFunc(private, func(a, b network.Port) int {
		if a.Num() != b.Num() {
			return int(a.Num()) - int(b.Num())
		}
		return strings.Compare(string(a.Proto()), string(b.Proto()))
	})
	var lines []string
	for _, port := range private {
		bindings := slices.SortedStableFunc(slices.Values(ports[port]), func(a, b network.PortBinding) int { return a.HostIP.Compare(b.HostIP) })
		for _, binding := range bindings {
			lines = append(lines, fmt.Sprintf("%s -> %s", port, hostAddress(binding)))
		}
	}
	return lines
}

func hostAddress(b network.PortBinding) string {
	ip := "0.0.0.0"
	if b.HostIP.IsValid() {
		ip = b.HostIP.String()
	}
	return net.JoinHostPort(ip, b.HostPort)
}
