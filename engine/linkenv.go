package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// linkVariables are those of one link, under Docker's names. A variable may come
// twice, with the same value.
func linkVariables(name, alias string, address netip.Addr, target container.Config) []string {
	prefix := strings.ReplaceAll(strings.ToUpper(alias), "-", "_")
	var env []string
	set := func(key, format string, args ...any) {
		env = append(env, prefix+key+"="+fmt.Sprintf(format, args...))
	}
	var ports []network.Port
	for p := range target.ExposedPorts {
		ports = append(ports, p)
	}
	slices.SortFunc(ports, func(a, b network.Port) int {
		if a.Num() != b.Num() {
			return int(a.Num()) - int(b.Num())
		}
		return tcpFirst(string(a.Proto())) - tcpFirst(string(b.Proto()))
	})
	url := func(p network.Port) string {
		return fmt.Sprintf("%s://%v", p.Proto(), netip.AddrPortFrom(address, p.Num()))
	}
	key := func(p network.Port) string {
		return fmt.Sprintf("_PORT_%d_%s", p.Num(), strings.ToUpper(string(p.Proto())))
	}
	if len(ports) > 0 {
		set("_PORT", "%s", url(ports[0]))
	}
	for _, run := range contiguous(ports) {
		first, last := run[0], run[len(run)-1]
		set(key(first)+"_START", "%s", url(first))
		set(key(first)+"_PORT_START", "%d", first.Num())
		set(key(first)+"_END", "%s", url(last))
		set(key(first)+"_PORT_END", "%d", last.Num())
	}
	for _, p := range ports {
		set(key(p), "%s", url(p))
		set(key(p)+"_ADDR", "%v", address)
		set(key(p)+"_PORT", "%d", p.Num())
		set(key(p)+"_PROTO", "%s", p.Proto())
	}
	set("_NAME", "/%s/%s", name, alias)
	for _, kv := range target.Env {
		k, v, ok := strings.Cut(kv, "=")
		if ok && k != "HOME" && k != "PATH" { // these are the target's own affair
			set("_ENV_"+k, "%s", v)
		}
	}
	return env
}

func tcpFirst(proto string) int {
	if proto == "tcp" {
		return 0
	}
	return 1
}

// contiguous are the runs of at least two ports of one transport, each the next
// one's neighbour, in sorted ports.
func contiguous(ports []network.Port) [][]network.Port {
	var runs [][]network.Port
	for _, proto := range []network.IPProtocol{network.TCP, network.UDP, network.SCTP} {
		var run []network.Port
		flush := func() {
			if len(run) > 1 {
				runs = append(runs, run)
			}
			run = nil
		}
		for _, p := range ports {
			if p.Proto() != proto {
				continue
			}
			if len(run) > 0 && p.Num() != run[len(run)-1].Num()+1 {
				flush()
			}
			run = append(run, p)
		}
		flush()
	}
	return runs
}
