package main

import (
	"fmt"
	"net"

	"github.com/miekg/dns"
)

// nameServer is where this container is told to ask.
func nameServer() (string, error) {
	config, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return "", err
	}
	if len(config.Servers) == 0 {
		return "", fmt.Errorf("no name server")
	}
	return net.JoinHostPort(config.Servers[0], "53"), nil
}

// question is a message that asks for a name's IPv4 addresses.
func question(name string) ([]byte, error) {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), dns.TypeA)
	return m.Pack()
}
