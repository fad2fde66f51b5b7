package main

import (
	"encoding/csv"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-connections/nat"
	"github.com/moby/moby/api/types/network"
)

// parsePublish turns the -p and --expose flags into what the API wants.
func parsePublish(publish, expose []string) (network.PortSet, network.PortMap, error) {
	exposed := network.PortSet{}
	bindings := network.PortMap{}
	for _, spec := range publish {
		short, err := shortPublish(spec)
		if err != nil {
			return nil, nil, err
		}
		short, zone := takeZone(short)
		mappings, err := nat.ParsePortSpec(short)
		if err != nil {
			return nil, nil, portError(short, err)
		}
		for _, m := range mappings {
			port, binding, err := fromNAT(m, zone)
			if err != nil {
				return nil, nil, err
			}
			exposed[port] = struct{}{}
			// The same mapping given twice is one mapping.
			if !slices.Contains(bindings[port], binding) {
				bindings[port] = append(bindings[port], binding)
			}
		}
	}
	for _, spec := range expose {
		ports, err := parseExpose(spec)
		if err != nil {
			return nil, nil, err
		}
		for port := range ports.All() {
			exposed[port] = struct{}{}
		}
	}
	return exposed, bindings, nil
}

// portGrammar is how a published port is written.
const portGrammar = "[[ip:][host-port]:]container-port[/tcp|udp]"

// portError adds to an error of Docker's parser what is wrong with a number, or how it was probably meant.
func portError(spec string, err error) error {
	first, rest, two := strings.Cut(spec, ":")
	if _, ierr := netip.ParseAddr(first); ierr == nil && two && !strings.Contains(rest, ":") {
		return fmt.Errorf("%w: an address is followed by a host port, which may be empty: -p %s::%s has a free one chosen", err, first, rest)
	}
	_, number, _ := strings.Cut(err.Error(), "Port: ") // invalid hostPort and containerPort
	low, high, _ := strings.Cut(number, "-")
	a, aerr := strconv.Atoi(low)
	b, berr := strconv.Atoi(high)
	switch {
	case aerr == nil && berr == nil && a > b:
		return fmt.Errorf("%w: a range begins with its lower port: %s-%s", err, high, low)
	case aerr == nil && (a < 0 || a > maxPort), berr == nil && b > maxPort:
		return fmt.Errorf("%w: ports are 1-%d", err, maxPort)
	}
	return fmt.Errorf("%w: publish ports as %s", err, portGrammar)
}

// maxPort is the highest port of TCP and UDP.
const maxPort = 65535

// takeZone takes the interface out of a link-local address, as in
// [fe80::1%eth0]:8000:80; Docker's parser knows none.
func takeZone(spec string) (rest, zone string) {
	address, after, found := strings.Cut(spec, "%")
	if !found {
		return spec, ""
	}
	end := strings.IndexAny(after, "]:")
	if end <= 0 {
		return spec, "" // for the parser to refuse
	}
	return address + after[end:], after[:end]
}

// fromNAT turns a mapping of the parser's, which is made of texts, into the
// API's types. The zone is the address's.
func fromNAT(m nat.PortMapping, zone string) (network.Port, network.PortBinding, error) {
	port, err := network.ParsePort(string(m.Port))
	if err != nil {
		return network.Port{}, network.PortBinding{}, err
	}
	if port.Num() == 0 {
		return network.Port{}, network.PortBinding{}, fmt.Errorf("invalid containerPort: 0: a container's ports are 1-65535")
	}
	binding := network.PortBinding{HostPort: m.Binding.HostPort}
	host := m.Binding.HostIP
	if zone != "" {
		host += "%" + zone
	}
	if host != "" {
		if binding.HostIP, err = netip.ParseAddr(host); err != nil {
			return network.Port{}, network.PortBinding{}, fmt.Errorf("invalid IP address: %s", host)
		}
	}
	return port, binding, nil
}

// parseExpose parses one --expose: PORT[-PORT][/tcp|udp].
func parseExpose(spec string) (network.PortRange, error) {
	ports, err := network.ParsePortRange(spec)
	if err != nil {
		return network.PortRange{}, fmt.Errorf("invalid range format for --expose: %s, error: %w", spec, err)
	}
	if ports.Start() == 0 || !knownProto(string(ports.Proto())) {
		return network.PortRange{}, fmt.Errorf("invalid range format for --expose: %s: it is port[-port][/tcp|udp]", spec)
	}
	return ports, nil
}

func knownProto(proto string) bool { return proto == "tcp" || proto == "udp" || proto == "sctp" }

// shortPublish turns the long form of -p, key=value pairs, into the short one;
// the short form is returned as it is.
func shortPublish(spec string) (string, error) {
	if !strings.Contains(spec, "=") {
		return spec, nil
	}
	fields, err := csv.NewReader(strings.NewReader(spec)).Read()
	if err != nil {
		return "", fmt.Errorf("invalid publish opts format (%s): %w", spec, err)
	}
	var target, published, proto, hostIP string
	for _, field := range fields {
		key, value, ok := strings.Cut(field, "=")
		if !ok || value == "" {
			return "", fmt.Errorf("invalid publish opts format (should be name=value but got '%s')", field)
		}
		switch strings.ToLower(key) {
		case "target":
			target = value
		case "published":
			published = value
		case "protocol":
			proto = strings.ToLower(value)
			if !knownProto(proto) {
				return "", fmt.Errorf("invalid protocol value '%s': it is tcp or udp", value)
			}
		case "mode":
			// Both mean the same here: there is one host.
			if value != "host" && value != "ingress" {
				return "", fmt.Errorf("invalid publish mode value '%s': it is host or ingress", value)
			}
		case "host_ip", "host-ip":
			if _, err := netip.ParseAddr(value); err != nil {
				return "", fmt.Errorf("invalid IP address: %s", value)
			}
			hostIP = value
		default:
			return "", fmt.Errorf("invalid publish field '%s': known are target, published, protocol, mode and host_ip", key)
		}
	}
	if target == "" {
		return "", fmt.Errorf("invalid publish opts (%s): target, the container's port, is missing", spec)
	}
	short := target
	if proto != "" {
		short += "/" + proto
	}
	switch {
	case hostIP != "":
		return net.JoinHostPort(hostIP, published) + ":" + short, nil
	case published != "":
		return published + ":" + short, nil
	}
	return short, nil
}

// portNumber parses a port of TCP or UDP.
func portNumber(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("invalid port %q: ports are 1-65535", text)
	}
	return uint16(n), nil
}
