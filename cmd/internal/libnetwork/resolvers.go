package libnetwork

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/footbridge-net/footbridge/dns"
)

// maxRouteTable bounds what is read of a table of routes, in bytes.
const maxRouteTable = 1 << 20

// Resolvers returns the name servers of dockerd's resolv.conf that are in a network of
// RootlessKit's own, such as slirp4netns's 10.0.2.3: on a link of dockerd's network
// namespace. Others are reached from everywhere.
func (p Place) Resolvers() []netip.Addr {
	text, err := os.ReadFile(filepath.Join(p.root(), "etc/resolv.conf"))
	if err != nil || !strings.HasSuffix(p.network(), "/ns/net") { // dockerd asks by the host's own network
		return nil
	}
	pid := "self"
	if p.Process.PID != 0 {
		pid = fmt.Sprint(p.Process.PID)
	}
	routes, err := os.ReadFile("/proc/" + pid + "/net/route")
	if err != nil || len(routes) > maxRouteTable {
		return nil
	}
	return onLinks(dns.ParseConfig(text), parseRoutes(routes))
}

// onLinks returns the servers that are in one of the subnets.
func onLinks(c dns.Config, links []netip.Prefix) []netip.Addr {
	var out []netip.Addr
	for _, server := range c.Servers {
		for _, link := range links {
			if a := server.Addr(); link.Contains(a) && !a.IsLoopback() {
				out = append(out, a)
				break
			}
		}
	}
	return out
}

// parseRoutes returns the subnets in /proc/PID/net/route that are on a link. Its numbers are
// hexadecimal, in the machine's byte order.
func parseRoutes(text []byte) []netip.Prefix {
	var out []netip.Prefix
	for line := range bytes.Lines(text) {
		f := strings.Fields(string(line))
		if len(f) < 8 {
			continue
		}
		to, ok1 := routeAddr(f[1])
		gateway, ok2 := routeAddr(f[2])
		mask, ok3 := routeAddr(f[7])
		if !ok1 || !ok2 || !ok3 || !gateway.IsUnspecified() {
			continue
		}
		bits := 0
		for m := mask.As4(); bits < 32 && m[bits/8]&(0x80>>(bits%8)) != 0; {
			bits++
		}
		if bits > 0 { // else it is everything
			out = append(out, netip.PrefixFrom(to, bits).Masked())
		}
	}
	return out
}

func routeAddr(text string) (netip.Addr, bool) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != 4 {
		return netip.Addr{}, false
	}
	var a [4]byte
	binary.NativeEndian.PutUint32(a[:], binary.BigEndian.Uint32(b))
	return netip.AddrFrom4(a), true
}
