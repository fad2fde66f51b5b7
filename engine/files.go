package engine

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/engine/store"
	"github.com/footbridge-net/footbridge/engine/worker"
)

// Files in a container's runtime directory that it sees below /etc, and what
// we remember of them.
const (
	fileResolv   = "resolv.conf"
	fileHosts    = "hosts"
	fileHostname = "hostname"
	// fileResolvSum holds the hash of the resolv.conf that we wrote: another
	// content is the user's, who is not to be overruled.
	fileResolvSum = "resolv.sum"
)

// runtimeDir is the container's directory while it runs.
func (e *Engine) runtimeDir(id string) string {
	return filepath.Join(e.opts.RuntimeDir, "c", short(id))
}

// logPath is where the container's output is kept.
func (e *Engine) logPath(id string) string {
	return filepath.Join(e.opts.StateDir, "containers", id, id+"-json.log")
}

// makeDirs makes the container's directories; what an earlier life left in
// the runtime directory is gone then.
func (e *Engine) makeDirs(id string) error {
	dir := e.runtimeDir(id)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.MkdirAll(filepath.Dir(e.logPath(id)), 0o700)
}

// writeFiles writes what the container sees of /etc and names it in spec.
func (e *Engine) writeFiles(def *ContainerDef, m netMode, links []*link, spec *shim.Spec) error {
	dir := e.runtimeDir(def.ID)
	write := func(name string, content []byte) (string, error) {
		path := filepath.Join(dir, name)
		return path, os.WriteFile(path, content, 0o644)
	}
	var err error
	if spec.HostnameFile, err = write(fileHostname, []byte(spec.Hostname+"\n")); err != nil {
		return err
	}
	if spec.Hosts, err = e.writeHosts(def, m, links); err != nil {
		return err
	}
	// The host's resolvers are reachable as they are only from the host's own
	// network; a namespace given by path is somebody else's to set up. One on the
	// network none may be on another later.
	if (m.kind == modeHost || m.kind == modePath) && len(def.HostConfig.DNS) == 0 &&
		len(def.HostConfig.DNSSearch) == 0 && len(def.HostConfig.DNSOptions) == 0 {
		return nil
	}
	content := e.resolvFile(def, links)
	if spec.ResolvConf, err = write(fileResolv, content); err != nil {
		return err
	}
	_, err = write(fileResolvSum, sum(content))
	return err
}

// resolvFile is the container's /etc/resolv.conf: the gateway as the server,
// the host's search domains and options unless the user gave others.
func (e *Engine) resolvFile(def *ContainerDef, links []*link) []byte {
	host := e.resolvers()
	servers := def.HostConfig.DNS
	if len(links) > 0 && !e.direct(def, links) {
		servers = serverAddrs(links)
	}
	if len(servers) == 0 {
		for _, s := range host.Servers {
			servers = append(servers, s.Addr())
		}
	}
	search := host.Search
	if s := def.HostConfig.DNSSearch; len(s) > 0 {
		search = slices.DeleteFunc(slices.Clone(s), func(d string) bool { return d == "." })
	}
	// A host's ndots is about its own search domains: it would have "db" asked for as
	// "db.corp.example" first.
	options := slices.DeleteFunc(slices.Clone(host.Options), func(o string) bool { return strings.HasPrefix(o, "ndots:") })
	if o := def.HostConfig.DNSOptions; len(o) > 0 {
		options = slices.Clone(o)
	}
	// Names without a dot are tried as they are first: containers' names have
	// none, and a search domain must not come before them.
	if !slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "ndots:") }) {
		options = append(slices.Clip(options), "ndots:0")
	}
	var b bytes.Buffer
	b.WriteString("# Written by footbridge. Edits are kept: footbridge then no longer follows the host's file.\n")
	for _, s := range servers {
		fmt.Fprintf(&b, "nameserver %v\n", s)
	}
	if len(search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(search, " "))
	}
	fmt.Fprintf(&b, "options %s\n", strings.Join(options, " "))
	return b.Bytes()
}

// serverAddrs are the gateways to ask for names: that of the default route
// first, since it knows the way out, then those of the other networks; libc uses
// three.
func serverAddrs(links []*link) []netip.Addr {
	return gatewayAddrs(links, (*NetworkDef).resolver)
}

// gatewayAddrs are those that addr gives for the networks of the default routes or,
// without any, for the first one that has any.
func gatewayAddrs(links []*link, addr func(n *NetworkDef, is4 bool) netip.Addr) []netip.Addr {
	g := chooseGateways(links)
	var out []netip.Addr
	add := func(l *link, is4 bool) {
		if l == nil {
			return
		}
		if a := addr(&l.n.def, is4); a.IsValid() && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	add(g.v4, true)
	add(g.v6, false)
	for i := 0; i < len(links) && len(out) == 0; i++ { // internal networks only
		add(links[i], true)
		add(links[i], false)
	}
	return out
}

// direct reports whether the container asks the servers given by --dns itself:
// on networks without names, and where they are reachable only from inside.
func (e *Engine) direct(def *ContainerDef, links []*link) bool {
	if len(def.HostConfig.DNS) == 0 {
		return false
	}
	resolves := slices.ContainsFunc(links, func(l *link) bool { return l.n.def.resolves() })
	return !resolves || slices.ContainsFunc(def.HostConfig.DNS, func(a netip.Addr) bool {
		return !e.policy.Allow(a)
	})
}

// viewOf is the container's own view of names on a network: its other networks'
// names, and its own servers.
func (e *Engine) viewOf(def *ContainerDef, l *link, links []*link) worker.View {
	var v worker.View
	for _, other := range links {
		if other != l && other.n.def.resolves() {
			v.Networks = append(v.Networks, other.n.def.ID)
		}
	}
	if !e.direct(def, links) && !l.n.def.Internal {
		for _, a := range def.HostConfig.DNS {
			v.Servers = append(v.Servers, netip.AddrPortFrom(a, 53))
		}
	}
	v.Aliases = e.viewLinks(links)
	v.Hosts = e.viewHosts(def, links)
	return v
}

func sum(b []byte) []byte {
	h := sha256.Sum256(b)
	return fmt.Appendf(nil, "%x\n", h)
}

// rewriteResolvConfs brings the resolv.conf of running containers up to date
// with the host's.
func (e *Engine) rewriteResolvConfs() {
	for _, c := range e.allContainers() {
		c.op.Lock()
		e.mu.Lock()
		r := c.run
		e.mu.Unlock()
		if r != nil && r.process != nil {
			if err := e.updateResolvConf(c.def, r.links); err != nil {
				e.log.Warn("resolv.conf of a container not brought up to date", "container", c.def.Name, "error", err)
			}
		}
		c.op.Unlock()
	}
}

// updateResolvConf rewrites the container's resolv.conf unless somebody else
// has changed it. The file is bind mounted, so it stays the same inode; the
// container may write to it and its directory is ours alone, but nothing on
// the way is followed all the same.
func (e *Engine) updateResolvConf(def *ContainerDef, links []*link) error {
	dir := e.runtimeDir(def.ID)
	f, err := openOwn(filepath.Join(dir, fileResolv), os.O_RDWR)
	if errors.Is(err, os.ErrNotExist) {
		return nil // the container shows the host's own
	} else if err != nil {
		return err
	}
	defer f.Close()
	const most = 64 << 10 // what a resolv.conf of ours never reaches
	old, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return err
	}
	was, err := readOwn(filepath.Join(dir, fileResolvSum), most)
	if err != nil || !bytes.Equal(was, sum(old)) {
		return err // the user's own now
	}
	content := e.resolvFile(def, links)
	if bytes.Equal(content, old) {
		return nil
	}
	// The hash first: if this process ends in between, the file counts as
	// the user's and is left alone.
	if err := store.WriteFile(filepath.Join(dir, fileResolvSum), sum(content)); err != nil {
		return err
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(content)))
}

// openOwn opens a file of ours in a container's runtime directory. That is hidden
// from the container; but a privileged one can uncover it, and put a link or a pipe
// in the file's place.
func openOwn(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not the file that it was: somebody has replaced it", path)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// readOwn reads a file of ours that has at most so many bytes.
func readOwn(path string, most int64) ([]byte, error) {
	f, err := openOwn(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return b, err
}
