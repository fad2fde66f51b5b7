package slirp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/engine/foreign"
	"github.com/footbridge-net/footbridge/tap"
)

// place is the namespace that was named.
type place struct {
	tap.Namespaces
	watched foreign.Place // whose end may be the namespace's
	net     string        // its path
}

// find opens the namespace that the options name. Errors that the command line is to blame
// for are usageErrors.
func (o *Options) find() (*place, error) {
	p := &place{net: o.Path}
	if o.Kind == ByPID {
		p.net = fmt.Sprintf("/proc/%d/ns/net", o.PID)
	}
	if o.UserPath != "" {
		if _, err := os.Stat(o.UserPath); err != nil {
			return nil, misuse("userns path doesn't exist: %s", o.UserPath)
		}
	}
	if _, err := os.Lstat(p.net); err != nil && o.Kind == ByPath {
		return nil, misuse("existing path expected when --netns-type=path: %s", reason(err))
	}
	network, err := tap.OpenNetwork(p.net)
	if errors.Is(err, tap.ErrNotNamespace) {
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("%s: %s", p.net, reason(err))
	}
	p.Namespaces, err = o.owned(network, p.net)
	if err != nil {
		return nil, err
	}
	if p.watched, err = foreign.At(o.PID, o.Path, p.Net); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// owned adds the user namespace that has power over a network namespace. The kernel knows
// which it is; where it does not tell, or somebody else made it, the one that was named is
// tried, as with slirp4netns.
func (o *Options) owned(network *os.File, path string) (tap.Namespaces, error) {
	ns, err := tap.AddOwner(network)
	if err == nil {
		return ns, nil
	}
	user := o.UserPath
	if user == "" && o.Kind == ByPID {
		user = fmt.Sprintf("/proc/%d/ns/user", o.PID)
	}
	if ns.Net, err = tap.OpenNetwork(path); err != nil { // AddOwner has closed it
		return tap.Namespaces{}, err
	}
	if user != "" {
		if ns.User, err = os.Open(user); err != nil {
			return tap.Namespaces{}, errors.Join(fmt.Errorf("%s: %s", user, reason(err)), ns.Net.Close())
		}
	}
	return ns, nil
}

// left returns when nobody can be found in the namespace any more: what was named has gone,
// and no process that is seen here is in it. An error is ctx's.
func (p *place) left(ctx context.Context, ino namespaceID) error {
	watched := p.watched
	for {
		if err := watched.Await(ctx); !errors.Is(err, foreign.ErrGone) {
			return err
		}
		next, ok := ino.somebody()
		if !ok {
			return nil
		}
		watched = next
	}
}

// namespaceID is how a namespace is told from others as long as somebody has it open.
type namespaceID struct{ dev, ino uint64 }

func (p *place) id() (namespaceID, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(p.Net.Fd()), &st)
	return namespaceID{uint64(st.Dev), st.Ino}, err //nolint:unconvert // other widths elsewhere
}

// somebody gives a process that is in the namespace, if one is seen.
func (id namespaceID) somebody() (foreign.Place, bool) {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return foreign.Place{}, false
	}
	for _, e := range all {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		var st unix.Stat_t
		path := filepath.Join("/proc", e.Name(), "ns/net")
		if unix.Stat(path, &st) != nil || (namespaceID{uint64(st.Dev), st.Ino}) != id { //nolint:unconvert // see id
			continue
		}
		if next, err := foreign.At(pid, "", nil); err == nil {
			return next, true
		}
	}
	return foreign.Place{}, false
}

// reason is an error of the kernel's without what Go says around it, in C's words.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	var no unix.Errno
	if !errors.As(err, &no) {
		return err.Error()
	}
	switch no {
	case unix.ENOENT:
		return "No such file or directory"
	case unix.EACCES:
		return "Permission denied"
	case unix.EPERM:
		return "Operation not permitted"
	}
	return no.Error()
}

// outbound is the address that flows of a family leave by: named itself, or by an interface
// that has it.
func outbound(name string, v4 bool) (netip.Addr, error) {
	if name == "" {
		return netip.Addr{}, nil
	}
	option, family := "outbound-addr6", "ipv6"
	if v4 {
		option, family = "outbound-addr", "ipv4"
	}
	if a, err := netip.ParseAddr(name); err == nil && a.Is4() == v4 && a.Zone() == "" && !a.Is4In6() {
		return a, nil
	}
	if i, err := net.InterfaceByName(name); err == nil {
		addrs, err := i.Addrs()
		if err != nil {
			return netip.Addr{}, fmt.Errorf("%s: addresses of %s: %w", option, name, err)
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() == v4 && !p.Addr().IsLinkLocalUnicast() {
				return p.Addr(), nil
			}
		}
	}
	return netip.Addr{}, refuse("%s has to be valid %s address or interface name.", option, family)
}
