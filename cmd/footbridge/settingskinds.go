package main

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// settingKinds are what the values of footbridge.toml have to be.
var settingKinds = map[string]string{
	"default-address-pools":      "a list of tables",
	"default-address-pools.base": `an address with a length, such as "10.200.0.0/16"`,
	"default-address-pools.size": "the length of a subnet, such as 24",

	"bip":           `an address with the subnet's length, such as "10.9.0.1/24"`,
	"bip6":          `an address with the subnet's length, such as "fd00:9::1/64"`,
	"fixed-cidr":    `an address with a length, such as "10.9.0.128/25"`,
	"fixed-cidr-v6": `an address with a length, such as "fd00:9::/80"`,
	"ipv6":          "true or false",
	"mtu":           "a whole number, such as 1400",
	"icc":           "true or false",
	"ip":            `an address, such as "127.0.0.1"`,

	"default-network-names": "true or false",
	"default-network-opts":  `a table of each driver's options, all in quotation marks`,
	"dns":                   `a list of addresses, such as ["192.0.2.1"]`,
	"dns-search":            `a list of domains, such as ["corp.example"]`,
	"dns-opts":              `a list of options, such as ["timeout:1"]`,
	"host-gateway-ips":      `a list of addresses, such as ["192.0.2.9"]`,
	"idle-timeout":          `a time with a unit, such as "90s"`,
	"log-level":             `a word, such as "debug"`,
}

// isWrongKind reports whether an error is about a value that is not of its key's kind: its text is about Go then.
func isWrongKind(err *toml.DecodeError) bool {
	text := err.Error()
	return len(err.Key()) > 0 && (strings.Contains(text, "cannot decode") || strings.Contains(text, "Parse") || strings.Contains(text, "too large"))
}

// wrongKind says of a line what the value of its key has to be.
func wrongKind(line string, row int, key toml.Key) error {
	for n := len(key); n > 0; n-- { // below a driver are names of options
		name := strings.Join(key[:n], ".")
		if kind, ok := settingKinds[name]; ok {
			return fmt.Errorf("line %d: %s: %s must be %s", row, strings.TrimSpace(line), name, kind)
		}
	}
	return fmt.Errorf("line %d: %s: the value is not of the kind that %s has", row, strings.TrimSpace(line), strings.Join(key, "."))
}
