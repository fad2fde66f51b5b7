package slirp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/dns"
	"github.com/footbridge-net/footbridge/engine/plane"
	"github.com/footbridge-net/footbridge/engine/worker"
	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/portfwd"
	"github.com/footbridge-net/footbridge/stack"
	"github.com/footbridge-net/footbridge/tap"
)

const (
	networkID = "slirp4netns"
	guestName = "guest"
	hostDNS   = "/etc/resolv.conf"
	// startTime bounds what is done before the network is there.
	startTime = 30 * time.Second
)

// runner is one run: what was made, to be undone in the opposite order.
type runner struct {
	o    *Options
	plan Plan
	out  io.Writer // standard output
	err  io.Writer
	log  *slog.Logger

	undo  []func() error
	sup   *worker.Supervisor
	plane *worker.Plane
}

func (r *runner) later(f func() error) { r.undo = append(r.undo, f) }

// close undoes all.
func (r *runner) close() error {
	var err error
	for i := len(r.undo) - 1; i >= 0; i-- {
		err = errors.Join(err, r.undo[i]())
	}
	r.undo = nil
	return err
}

// run makes the network and returns when it is over: nil at an end that was foreseen.
// stop ends it, with its own error.
func (r *runner) run(ctx context.Context, stop context.Context) (err error) {
	defer func() { err = errors.Join(err, r.close()) }()
	ends := newEnds()
	r.later(func() error { ends.stop(); return nil })
	for _, fd := range []int{r.o.ReadyFD, r.o.ExitFD, r.o.FD} {
		if fd >= 0 {
			unix.CloseOnExec(fd) // no child is to hold them
		}
	}
	way, err := r.o.way()
	if err != nil {
		return err
	}
	i, err := r.open(ctx, stop, ends)
	if err != nil {
		return err
	}
	if err := r.carry(i, way); err != nil {
		return err
	}
	if err := r.serveAPI(); err != nil {
		return err
	}
	if r.o.ExitFD >= 0 {
		if err := ends.hangUp(r.o.ExitFD, "exitfd event"); err != nil {
			return fmt.Errorf("exit-fd %d: %w", r.o.ExitFD, err)
		}
	}
	fmt.Fprint(r.out, r.plan.banner(r.o))
	if err := r.ready(); err != nil {
		return err
	}
	select {
	case end := <-ends.over:
		fmt.Fprintln(r.err, end)
		return nil
	case <-stop.Done():
		return context.Cause(stop)
	}
}

// way is where flows leave the host.
func (o *Options) way() (w plane.Outbound, err error) {
	if w.Addr4, err = outbound(o.Outbound4, true); err == nil {
		w.Addr6, err = outbound(o.Outbound6, false)
	}
	return w, err
}

// open gets the interface, and has its end watched.
func (r *runner) open(ctx, stop context.Context, ends *ends) (i *tap.Interface, err error) {
	switch r.o.Kind {
	case BESS:
		i, err = r.waitForBESS(stop)
	case ByFD:
		i, err = tap.Adopt(fdpass.NewHandle(r.o.FD))
	default:
		var p *place
		if p, err = r.o.find(); err != nil {
			return nil, err
		}
		i, err = p.open(ctx, r.o, r.plan)
		if err == nil {
			err = ends.whenLeft(p)
		}
		err = errors.Join(err, p.Close())
	}
	if err == nil && len(i.Queues) > 0 {
		var watched *fdpass.Handle
		if watched, err = i.Queues[0].Dup(); err == nil {
			err = ends.hangUp(watched.Take(), "the interface is gone")
		}
	}
	if err != nil && i != nil {
		err = errors.Join(err, i.Close())
	}
	return i, err
}

// open gets the TAP in the namespace.
func (p *place) open(ctx context.Context, o *Options, plan Plan) (*tap.Interface, error) {
	t := tap.OpenOptions{Name: o.TAP}
	if o.Configure {
		t.Setup = &tap.Setup{MAC: o.MAC, MTU: o.MTU, Address: netip.PrefixFrom(plan.Guest, plan.Network.Bits()), Gateway: plan.Gateway}
	}
	return tap.Open(ctx, p.Namespaces, t)
}

// waitForBESS makes the socket and waits for its one client.
func (r *runner) waitForBESS(stop context.Context) (*tap.Interface, error) {
	if len(r.o.Path) >= maxSocketPath {
		return nil, fmt.Errorf("the specified BESS socket path is too long (>= %d)", maxSocketPath)
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: r.o.Path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("BESS socket: %w", err)
	}
	defer l.Close()
	fmt.Fprintf(r.out, "Waiting for connection to %s\n", r.o.Path)
	defer context.AfterFunc(stop, func() { l.Close() })()
	c, err := l.AcceptUnix()
	if err != nil {
		if stop.Err() != nil {
			err = context.Cause(stop)
		}
		return nil, fmt.Errorf("BESS socket: %w", err)
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var h *fdpass.Handle
	cerr := raw.Control(func(fd uintptr) { h, err = fdpass.NewHandle(int(fd)).Dup() })
	if err = errors.Join(err, cerr); err != nil {
		return nil, err
	}
	return tap.Adopt(h)
}

// carry starts the worker, with the network and the interface.
func (r *runner) carry(i *tap.Interface, way plane.Outbound) (err error) {
	plugged := false
	defer func() {
		if !plugged {
			err = errors.Join(err, i.Close())
		}
	}()
	if r.sup, err = worker.New(worker.Options{Logger: r.log}); err != nil {
		return err
	}
	r.later(r.sup.Close)
	upstream, err := dns.NewUpstream(hostDNS, dns.UpstreamOptions{Logger: r.log})
	if err != nil {
		return fmt.Errorf("host's resolvers: %w", err)
	}
	r.later(upstream.Close)
	r.sup.SetServers(upstream.Config())
	upstream.Subscribe(func(c dns.Config) { r.sup.SetServers(c) })
	if err := r.sup.Release(); err != nil {
		return err
	}
	if r.plane, err = r.sup.NewPlane(r.o.spec(r.plan, way)); err != nil {
		return err
	}
	plugged = true // Plug takes it over
	_, err = r.plane.Plug(i, link(i))
	return err
}

// spec is the network.
func (o *Options) spec(p Plan, way plane.Outbound) worker.Spec {
	s := worker.Spec{
		ID: networkID, Name: networkID, MTU: o.MTU, Gateway4: netip.PrefixFrom(p.Gateway, p.Network.Bits()),
		Rules: plane.Rules{
			Outbound: way, NoHost: o.NoHost, NoSplice: true,
			DNS:  plane.DNS{Addr4: p.DNS, Off: o.NoDNS},
			DHCP: plane.DHCP{On: true, First4: p.DHCPFirst, Last4: p.DHCPLast},
		},
	}
	if o.IPv6 {
		s.Gateway6 = netip.PrefixFrom(gateway6, network6.Bits())
		s.Rules.DNS.Addr6, s.Rules.RA = dns6, true
	}
	if !o.NoHost {
		s.Rules.HostPorts = []plane.PortRange{{Proto: "tcp", First: 1, Last: 65535}, {Proto: "udp", First: 1, Last: 65535}}
	}
	return s
}

// link is the guest's endpoint: everything but the gateway is behind it. Its own address is
// the one that follows from its MAC, which nobody else would take.
func link(i *tap.Interface) worker.Link {
	mac := packet.MAC(i.MAC)
	if mac == (packet.MAC{}) {
		_, _ = rand.Read(mac[:]) // never fails
		mac[0] = mac[0]&^3 | 2   // one station's, and of nobody's making
	}
	return worker.Link{
		Endpoint: guestName,
		Link: plane.Link{
			Container: guestName, Interface: i.Name, MAC: mac,
			Addresses: []netip.Prefix{netip.PrefixFrom(mac.LinkLocal(), 64)},
			Guard:     stack.Guard{Nested: true, Sole: true},
		},
	}
}

// publish leads a port of the host to the guest.
func (r *runner) publish(f Forward) (io.Closer, error) {
	ls, err := r.sup.Publish([]worker.Published{{Plane: r.plane, Mapping: portfwd.Mapping{
		Proto: f.Proto, Host: netip.AddrPortFrom(f.HostAddr, f.HostPort), Container: netip.AddrPortFrom(f.GuestAddr, f.GuestPort), Owner: guestName,
	}}}, 0, 0)
	if err != nil {
		return nil, err
	}
	return ls[0], nil
}

// serveAPI makes the API socket, if one is wanted, and has it served.
func (r *runner) serveAPI() error {
	if r.o.APISocket == "" {
		return nil
	}
	l, err := listenAPI(r.o.APISocket)
	if err != nil {
		return err
	}
	r.later(l.Close)
	f := &forwards{publish: r.publish, guest: r.plan.Guest, log: r.log}
	go f.serve(l)
	return nil
}

// ready tells the caller that the network is there.
func (r *runner) ready() error {
	if r.o.ReadyFD < 0 {
		return nil
	}
	f := os.NewFile(uintptr(r.o.ReadyFD), "ready-fd")
	_, err := f.Write([]byte{'1'})
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("ready-fd %d: %w", r.o.ReadyFD, err)
	}
	return nil
}
