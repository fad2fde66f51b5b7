package engine

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/footbridge-net/footbridge/engine/worker"
)

const (
	// maxViewHosts bounds what a container's view of names says of its hosts file, in bytes:
	// all of a view is one message to the worker.
	maxViewHosts = 32 << 10
	// maxHostName is the longest name that can be asked for, in bytes (RFC 1035).
	maxHostName = 253
	// hostLetters are what names have in them that somebody asks for; none is longer in JSON.
	hostLetters = "abcdefghijklmnopqrstuvwxyz0123456789-_."
)

// viewHosts are the names of the container's hosts file that its network's name server
// knows for it: those of --add-host, and its own. A program that wants the family
// that the file does not have asks the server.
func (e *Engine) viewHosts(def *ContainerDef, links []*link) []worker.Host {
	if def.Foreign != nil && !def.Foreign.Files { // its files are not ours
		return nil
	}
	var out []worker.Host
	size := 0
	add := func(name string, addrs ...netip.Addr) {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		// One address is less than 64 bytes of the message.
		if len(name) > maxHostName || strings.Trim(name, hostLetters) != "" || size+len(name)+64*len(addrs) > maxViewHosts {
			return
		}
		i := slices.IndexFunc(out, func(h worker.Host) bool { return h.Name == name })
		if i < 0 {
			size += len(name) + 64
			i, out = len(out), append(out, worker.Host{Name: name})
		}
		for _, a := range addrs {
			if a = a.Unmap().WithZone(""); !slices.Contains(out[i].Addresses, a) {
				size += 64
				out[i].Addresses = append(out[i].Addresses, a)
			}
		}
	}
	for _, h := range def.HostConfig.ExtraHosts {
		name, addr, err := parseHost(h)
		switch {
		case err != nil: // was refused at creation
		case addr.IsValid():
			add(name, addr)
		default:
			add(name, e.hostGateway(netMode{kind: modeNetwork}, links)...)
		}
	}
	for _, name := range strings.Fields(ownNames(def)) {
		for _, l := range links {
			add(name, l.ep.addresses()...)
		}
	}
	return out
}
