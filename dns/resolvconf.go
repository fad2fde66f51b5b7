package dns

import (
	"net/netip"
	"slices"
	"strings"
)

// maxServers is how many of a resolv.conf's servers are asked, as in libc
// (MAXNS in resolv.h) and Docker.
const maxServers = 3

// domainPort is where resolv.conf's servers listen; the file cannot say otherwise.
const domainPort = 53

// Config is what a resolv.conf says. It is not to be changed by its readers. It
// can be written as JSON.
type Config struct {
	// Servers are asked in this order. At most three. An [Upstream] has their
	// zones as interfaces' numbers.
	Servers []netip.AddrPort
	// Search are the search domains.
	Search []string
	// Options as they are written, e.g. "ndots:2".
	Options []string
}

func (c Config) equal(d Config) bool {
	return slices.Equal(c.Servers, d.Servers) && slices.Equal(c.Search, d.Search) && slices.Equal(c.Options, d.Options)
}

// ParseConfig reads a resolv.conf as libc does (resolv.conf(5)): unknown lines
// and addresses that are none are passed over, the last search or domain line
// counts, comments start with # or ;. It never fails: half of a broken file is
// better than no names at all.
func ParseConfig(data []byte) Config {
	var c Config
	for line := range strings.Lines(string(data)) {
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		// A keyword starts in the first column; an indented line is none.
		if line == "" || line[0] == ' ' || line[0] == '\t' {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			addr, err := netip.ParseAddr(fields[1])
			if err == nil && len(c.Servers) < maxServers {
				c.Servers = append(c.Servers, netip.AddrPortFrom(addr, domainPort))
			}
		case "domain":
			c.Search = searchList(fields[1:2])
		case "search":
			c.Search = searchList(fields[1:])
		case "options":
			c.Options = append(c.Options, fields[1:]...)
		}
	}
	return c
}

// searchList drops what means "no domain": a lone dot, as systemd-resolved writes it.
func searchList(domains []string) []string {
	var list []string
	for _, d := range domains {
		if d != "." {
			list = append(list, d)
		}
	}
	return list
}
