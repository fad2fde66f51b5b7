package tap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// A View is what a network namespace has, as far as it matters to whoever is about
// to make interfaces in it. It is told by a process in there, where the container may
// be root: it decides about this namespace alone.
type View struct {
	// Cookie is the namespace's own number, which no other gets until the next boot;
	// 0 where the kernel has none (before 5.14).
	Cookie     uint64   `json:",omitempty"`
	Interfaces []string `json:",omitempty"` // names, lo among them
	Loopback   bool     `json:",omitempty"` // lo is up
	// Default4 and Default6 are the interfaces that default routes go over. One that
	// goes over several, or none, has the name "".
	Default4, Default6 []string `json:",omitempty"`
}

// maxInterfaces bounds the names in a View, so that they fit into one message.
const maxInterfaces = 2048

// Look says what is in a namespace, and gives another handle of it, which keeps nothing
// but the namespace: one that was opened by the path of a mount keeps the mount busy. The
// caller closes it.
func Look(ctx context.Context, ns Namespaces) (View, *os.File, error) {
	r, fds, _, err := ask(ctx, ns, request{Op: opLook}, nil)
	defer func() { fdpass.CloseAll(fds) }()
	if err != nil {
		return View{}, nil, err
	}
	if r.View == nil {
		return View{}, nil, fmt.Errorf("tap: look: %w: nothing was seen", ErrReply)
	}
	var asked, given unix.Stat_t
	if err := errors.Join(unix.Fstat(int(ns.Net.Fd()), &asked), unix.Fstat(fds[0].FD(), &given)); err != nil {
		return View{}, nil, fmt.Errorf("tap: look: %w", err)
	}
	if asked.Dev != given.Dev || asked.Ino != given.Ino {
		return View{}, nil, fmt.Errorf("tap: look: %w: another namespace", ErrReply)
	}
	return *r.View, os.NewFile(uintptr(fds[0].Take()), ns.Net.Name()), nil
}

// performLook is the helper's part.
func performLook(h *netlink.Handle) (reply, []int, error) {
	v, err := view(h)
	if err != nil {
		return reply{}, nil, err
	}
	fd, err := unix.Open("/proc/self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return reply{}, nil, fmt.Errorf("open /proc/self/ns/net: %w", err)
	}
	return reply{View: v, Queues: 1}, []int{fd}, nil
}

func view(h *netlink.Handle) (*View, error) {
	v := &View{}
	links, err := retryDump(h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	if len(links) > maxInterfaces {
		return nil, fmt.Errorf("%w: the namespace has %d interfaces, and at most %d are looked through", ErrOptions, len(links), maxInterfaces)
	}
	names := map[int]string{}
	for _, l := range links {
		a := l.Attrs()
		names[a.Index] = a.Name
		v.Interfaces = append(v.Interfaces, a.Name)
		if a.RawFlags&unix.IFF_LOOPBACK != 0 {
			v.Loopback = a.RawFlags&unix.IFF_UP != 0
		}
	}
	for _, f := range []struct {
		family int
		over   *[]string
	}{{netlink.FAMILY_V4, &v.Default4}, {netlink.FAMILY_V6, &v.Default6}} {
		routes, err := retryDump(func() ([]netlink.Route, error) { return h.RouteList(nil, f.family) })
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for i := range routes {
			r := &routes[i]
			if isDefault(r) && (r.Type == unix.RTN_UNICAST || r.Type == unix.RTN_UNSPEC) && !slices.Contains(*f.over, names[r.LinkIndex]) {
				*f.over = append(*f.over, names[r.LinkIndex])
			}
		}
	}
	v.Cookie, err = cookie()
	return v, err
}

// cookie is the number of the namespace that this process is in.
func cookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	n, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return 0, nil
	}
	return n, err
}

// clean bounds what was told, and makes it fit for a terminal.
func (v *View) clean() error {
	for _, list := range [][]string{v.Interfaces, v.Default4, v.Default6} {
		if len(list) > maxInterfaces {
			return fmt.Errorf("%w: %d interfaces", ErrReply, len(list))
		}
		for i, name := range list {
			if list[i] = clean(name); len(name) > maxName {
				return fmt.Errorf("%w: an interface whose name has %d bytes", ErrReply, len(name))
			}
		}
	}
	return nil
}
