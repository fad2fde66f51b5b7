package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/engine/plane"
	"github.com/footbridge-net/footbridge/engine/store"
)

// A container's /etc/hosts has two parts:
//
//	what is there from the beginning     localhost, or the host's own file on the
//	                                     host's network: never touched again
//	lines that follow the networks       --add-host, the host's names, links, and the
//	                                     container's own name at each of its addresses
//
// The lines that were written last are kept beside the file. An update takes out those
// of them that do not hold any more and appends the new ones. All others are the
// user's; a line of ours that the user has changed or taken out is not put back.

// fileHostsLines holds the lines of the hosts file that are ours.
const fileHostsLines = "hosts.lines"

// maxHosts bounds the hosts file that is kept current, in bytes. A larger one is the
// container's work, and left alone.
const maxHosts = 1 << 20

// writeHosts writes the container's hosts file.
func (e *Engine) writeHosts(def *ContainerDef, m netMode, links []*link) (path string, err error) {
	path = filepath.Join(e.runtimeDir(def.ID), fileHosts)
	base := hostsBase(m)
	lines := e.hostsLines(def, m, links, base)
	text := append(base, strings.Join(lines, "")...)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return "", err
	}
	return path, e.keepHostsLines(def, lines)
}

func (e *Engine) keepHostsLines(def *ContainerDef, lines []string) error {
	return store.WriteFile(filepath.Join(e.runtimeDir(def.ID), fileHostsLines), []byte(strings.Join(lines, "")))
}

// hostsBase is what a hosts file begins with.
func hostsBase(m netMode) []byte {
	if m.kind == modeHost {
		// On the host's network the host's names hold.
		if text, err := os.ReadFile("/etc/hosts"); err == nil {
			if len(text) > 0 && text[len(text)-1] != '\n' {
				text = append(text, '\n')
			}
			return text
		}
	}
	return []byte("127.0.0.1\tlocalhost\n" +
		"::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n")
}

// hostsLines are the lines behind the base, as they should be now.
func (e *Engine) hostsLines(def *ContainerDef, m netMode, links []*link, base []byte) []string {
	var lines []string
	add := func(a netip.Addr, names string) {
		if line := fmt.Sprintf("%v\t%s\n", a, names); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	// The user's word counts more, and so does the host's about itself.
	hostNames := slices.Clone(plane.HostNames)
	taken := func(name string) {
		hostNames = slices.DeleteFunc(hostNames, func(n string) bool { return strings.EqualFold(n, name) })
	}
	for _, word := range bytes.Fields(base) {
		taken(string(word))
	}
	for _, h := range def.HostConfig.ExtraHosts {
		name, addr, err := parseHost(h)
		if err != nil {
			continue // was refused at creation
		}
		taken(name)
		if addr.IsValid() {
			add(addr, name)
			continue
		}
		for _, a := range e.hostGateway(m, links) {
			add(a, name)
		}
	}
	if len(hostNames) > 0 && (len(links) > 0 || m.kind == modeHost) {
		for _, a := range e.hostGateway(m, links) {
			add(a, strings.Join(hostNames, " "))
		}
	}
	if slices.ContainsFunc(links, func(l *link) bool { return l.n.def.Predefined }) {
		for _, to := range e.linkedTo(def) {
			if to.ep == nil {
				continue
			}
			for _, a := range to.ep.addresses() {
				add(a, to.names())
			}
		}
	}
	for _, l := range links {
		for _, a := range l.ep.addresses() {
			add(a, ownNames(def))
		}
	}
	return lines
}

// hostGateway are the addresses that stand for the host: the gateway's on the
// networks that lead outside, or on an internal one if there is no other; on the
// host's own network, its loopback. A container without a network gets those of the
// default network, which it does not reach: its own loopback would be somebody else.
// The configuration may say others.
func (e *Engine) hostGateway(m netMode, links []*link) []netip.Addr {
	if own := e.opts.Config.HostGateway; len(own) > 0 {
		return own
	}
	switch {
	case len(links) > 0:
		return gatewayAddrs(links, func(n *NetworkDef, is4 bool) netip.Addr { return n.gateway(is4).Addr() })
	case m.kind == modeHost:
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []netip.Addr
	if n, err := e.findNetwork(network.NetworkBridge); err == nil {
		for _, is4 := range []bool{true, false} {
			if g := n.def.gateway(is4); g.IsValid() {
				out = append(out, g.Addr())
			}
		}
	}
	return out
}

// updateHosts makes our lines of the container's hosts file what its networks and
// links say now. The file is bind mounted, so it stays the same inode.
func (e *Engine) updateHosts(def *ContainerDef, links []*link) error {
	m, err := def.mode()
	if err != nil {
		return err
	}
	if m.kind != modeNetwork && m.kind != modeNone {
		return nil // nothing of it ever changes
	}
	dir := e.runtimeDir(def.ID)
	f, err := openOwn(filepath.Join(dir, fileHosts), os.O_RDWR)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it has files of its own
	} else if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxHosts+1))
	if err != nil {
		return err
	}
	if len(text) > maxHosts {
		return fmt.Errorf("%s has grown beyond %d bytes", f.Name(), maxHosts)
	}
	was, err := readOwn(filepath.Join(dir, fileHostsLines), maxHosts)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	lines := e.hostsLines(def, m, links, nil)
	if strings.Join(lines, "") == string(was) {
		return nil
	}
	out := mergeHosts(string(text), slices.Collect(strings.Lines(string(was))), lines)
	if out != string(text) {
		if _, err := f.WriteAt([]byte(out), 0); err != nil {
			return err
		}
		if err := f.Truncate(int64(len(out))); err != nil {
			return err
		}
	}
	// Afterwards: lines that are there already are not added once more.
	return e.keepHostsLines(def, lines)
}

// mergeHosts replaces in a hosts file the lines that were ours by those that are.
func mergeHosts(text string, was, lines []string) string {
	var out strings.Builder
	present := map[string]bool{}
	for line := range strings.Lines(text) {
		if slices.Contains(was, line) && !slices.Contains(lines, line) {
			continue
		}
		present[line] = true
		out.WriteString(line)
	}
	for _, line := range lines {
		if present[line] || slices.Contains(was, line) { // in the latter case the user has taken it out
			continue
		}
		if out.Len() > 0 && !strings.HasSuffix(out.String(), "\n") {
			out.WriteByte('\n')
		}
		out.WriteString(line)
	}
	return out.String()
}

// updateFiles brings what the container sees of names below /etc up to date with its
// networks and links; c.op is held.
func (e *Engine) updateFiles(def *ContainerDef, links []*link) {
	if err := e.updateResolvConf(def, links); err != nil {
		e.log.Warn("resolv.conf of a container not brought up to date", "container", def.Name, "error", err)
	}
	if err := e.updateHosts(def, links); err != nil {
		e.log.Warn("hosts file of a container not brought up to date", "container", def.Name, "error", err)
	}
}

// ownNames are the container's names for itself in /etc/hosts.
func ownNames(def *ContainerDef) string {
	name := hostname(def)
	if d := def.Config.Domainname; d != "" {
		return name + "." + d + " " + name
	}
	return name
}
