package tap

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/tap/internal/nsexec"
)

// helperName is the helper's argv[0].
const helperName = "footbridge-tap"

// holdArg makes a process of that name wait until its input ends: Probe's
// throw-away namespaces.
const holdArg = "hold"

// helperEnv is the helper's whole environment. It lives for milliseconds: garbage
// need not be collected, one thread of Go code is all it uses, and the limits of its
// cgroup need not be looked for.
var helperEnv = []string{"GOGC=off", "GOMAXPROCS=1", "GODEBUG=containermaxprocs=0,updatemaxprocs=0"}

// socketFD is where nsexec puts the socket to the daemon.
const socketFD = 3

// Dispatch returns at once unless this process was started as a helper of this
// package; then it does the helper's work and never returns. Call it first thing
// in main, and in TestMain of every package whose tests attach devices.
func Dispatch() {
	switch {
	case nsexec.IsHelper(os.Args, helperName):
		os.Exit(serve())
	case len(os.Args) == 2 && os.Args[0] == helperName && os.Args[1] == holdArg:
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
}

// Prepare takes what the starts of helpers need and keep, while this process has few descriptors: a helper
// then costs the same however many there are later. Without it, the first start does.
//
// Errors: those of open(2) and fcntl(2).
func Prepare() error { return nsexec.Prepare() }

// serve answers requests until there are no more. Its exit status tells of errors that
// cannot be answered.
func serve() int {
	// Processes of the same uid shall not trace this one. It does not keep out the root
	// of the user namespace: see the package comment.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)

	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		err = fmt.Errorf("netlink: %w", err)
	}
	b := make([]byte, messageLimit+1)
	for answered := 0; ; answered++ {
		n, rerr := unix.Read(socketFD, b)
		if errors.Is(rerr, unix.EINTR) {
			continue
		}
		if rerr == nil && n == 0 && answered > 0 {
			return 0
		}
		if rerr != nil || n == 0 {
			fmt.Fprintln(os.Stderr, "read the request:", rerr)
			return 2
		}
		if serr := answer(h, err, b[:n]); serr != nil {
			fmt.Fprintln(os.Stderr, "send the reply:", serr)
			return 2
		}
	}
}

// answer answers one request, with the error if there is one already.
func answer(h *netlink.Handle, err error, message []byte) error {
	var r reply
	var fds []int
	if err == nil {
		var req request
		if req, err = decodeRequest(message); err == nil {
			r, fds, err = perform(h, req)
		}
	}
	if err != nil {
		r, fds = failed(err), nil
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	err = unix.Sendmsg(socketFD, r.encode(), rights, nil, 0)
	for _, fd := range fds {
		unix.Close(fd) // a queue is the daemon's alone
	}
	return err
}

func perform(h *netlink.Handle, req request) (reply, []int, error) {
	switch req.Op {
	case opAttach:
		return performAttach(h, req.Link)
	case opDetach:
		if req.Link.Bare {
			return reply{}, nil, performDetachBare(h, req.Link)
		}
		return reply{}, nil, performDetach(h, req.Link.Name)
	case opReroute:
		return performReroute(h, req.Link)
	case opLoopback:
		return reply{}, nil, loopbackUp(h)
	case opLoopbackDown:
		return reply{}, nil, loopbackDown(h)
	case opLook:
		return performLook(h)
	case opOpen:
		if req.Open == nil {
			return reply{}, nil, errors.New("open: nothing was named")
		}
		return performOpen(h, *req.Open)
	}
	return reply{}, nil, fmt.Errorf("the helper knows no operation %q", req.Op)
}

// performAttach finds or makes the device, attaches its queues and configures it.
func performAttach(h *netlink.Handle, o LinkOptions) (r reply, fds []int, err error) {
	if o.Existing == Refuse {
		if err := unused(h, o.Name); err != nil {
			return reply{}, nil, err
		}
	}
	var link *netlink.Tuntap
	created := false
	if o.Bare && o.Existing != Refuse {
		link, err = takeBare(h, o)
	} else {
		link, created, err = findOrCreate(h, o.Name, o.Queues > 1)
	}
	if err != nil {
		return reply{}, nil, err
	}
	name := link.Attrs().Name
	defer func() {
		if err == nil {
			return
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
		if created {
			err = errors.Join(err, h.LinkDel(link))
		}
	}()
	features := Features{}
	for i := range o.Queues {
		fd, err := openQueue(name, several(link))
		if err != nil {
			return reply{}, fds, err
		}
		fds = append(fds, fd)
		if i == 0 {
			if features, err = setOffloads(fd); err != nil {
				return reply{}, fds, fmt.Errorf("offloads of %s: %w", o.Name, err)
			}
			// Else any process of the container that may open /dev/net/tun could
			// attach a queue of its own. An unmapped uid cannot be an owner.
			if err := unix.IoctlSetInt(fd, unix.TUNSETOWNER, os.Geteuid()); err != nil && !errors.Is(err, unix.EINVAL) {
				return reply{}, fds, fmt.Errorf("owner of %s: %w", o.Name, err)
			}
		}
	}
	c := configurer{h: h, link: link, o: o, mac: link.Attrs().HardwareAddr}
	if created {
		c.o.Existing = Configure
	}
	// The kernel notes at once that a link which is up gets a carrier; one that has a
	// carrier and comes up it looks after within a second, and IPv6 waits for
	// that. Kernels before 5.0 do not know the request.
	down := link.Attrs().RawFlags&unix.IFF_UP == 0 && c.o.Existing == Configure
	if down {
		_ = unix.IoctlSetPointerInt(fds[0], unix.TUNSETCARRIER, 0)
	}
	if err := c.configure(); err != nil {
		return reply{}, fds, err
	}
	if down {
		_ = unix.IoctlSetPointerInt(fds[0], unix.TUNSETCARRIER, 1)
	}
	r = reply{Index: link.Attrs().Index, Features: features, Created: created, Queues: len(fds), Warnings: c.warnings}
	if o.Bare {
		r.Name = name
	}
	copy(r.MAC[:], c.mac)
	return r, fds, nil
}

// performReroute makes the default routes over an interface that is there.
func performReroute(h *netlink.Handle, o LinkOptions) (reply, []int, error) {
	link, err := find(h, o.Name)
	if err == nil && link == nil {
		err = unix.ENODEV
	}
	if err != nil {
		return reply{}, nil, err
	}
	o.Existing = Reroute
	c := configurer{h: h, link: link, o: o}
	return reply{}, nil, c.configure()
}

func performDetach(h *netlink.Handle, name string) error {
	link, err := find(h, name)
	if err != nil || link == nil {
		return err
	}
	if err := h.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}
