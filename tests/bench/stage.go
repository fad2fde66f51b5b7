package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

// TCP and UDP ports, the same on the host and in every container.
const (
	iperfPort = 5201 // on the host also the ones above, one for each container that asks at the same time
	probePort = 5300
	// publishedPorts begin the ports of the host that lead to containers: see publishedPort.
	publishedPorts = 20000
	probeOffset    = maxBoxes
)

// settleLimit is how long something that was started may take until it is there.
const settleLimit = 15 * time.Second

// family is IPv4 or IPv6.
type family int

const (
	ip4 family = iota
	ip6
)

func (f family) String() string { return [...]string{"IPv4", "IPv6"}[f] }

// loopback is the host's.
func (f family) loopback() string { return [...]string{"127.0.0.1", "::1"}[f] }

// host is the address at which the host is reached by its containers and by the remote client.
func (f family) host() string { return world.Addr([...]string{"HOST4", "HOST6"}[f]).String() }

// bench is the stage: the world, and in it the containers that systems have made so far.
type bench struct {
	w       *world.World
	seconds time.Duration
	program string            // this program's file, as the world sees it
	host    [maxBoxes]*server // the host's iperf3
	boxes   map[boxKey]boxOrNot
}

// boxOrNot remembers a failure as well: it would be the same the next time, and take its time.
type boxOrNot struct {
	*box
	err error
}

type boxKey struct {
	system string
	mtu, i int
}

// box is one container that a system has connected: network namespace, interface, addresses, servers.
type box struct {
	place   world.Place
	before  []string      // what enters it from there
	address [2]netip.Addr // by family: where its neighbours find it. Invalid: it has none
	cannot  [2]string     // by family: why it reaches nothing outside, "" where it does
	port    [2]int        // by family: port of the host that leads to its iperf3; probeOffset above, to its probe. 0: none
	kept    [2]*bool      // by family: see keeps
	iperf   *server
}

// errCannot says that a system does not have what a row measures.
var errCannot = errors.New("cannot")

// newBench sets the stage for all: CUBIC and servers on the host.
func newBench(w *world.World, seconds time.Duration, program string) (*bench, error) {
	b := &bench{w: w, seconds: seconds, program: program, boxes: make(map[boxKey]boxOrNot)}
	for _, place := range []world.Place{world.Admin, world.Client} {
		if err := b.chooseCubic(&box{place: place}); err != nil {
			return nil, err
		}
	}
	host := &box{place: world.Admin}
	for i := range b.host {
		var err error
		if b.host[i], err = b.serveIperf(host, iperfPort+i); err != nil {
			return nil, err
		}
	}
	return b, b.serveProbe(host)
}

// box returns a system's container number i at an MTU, and makes it where there is none yet.
func (b *bench) box(s system, mtu, i int) (*box, error) {
	key := boxKey{s.name(), mtu, i}
	found, known := b.boxes[key]
	if !known {
		found.box, found.err = b.newBox(s, mtu, i)
		b.boxes[key] = found
	}
	return found.box, found.err
}

// newBox makes a container with its servers.
func (b *bench) newBox(s system, mtu, i int) (*box, error) {
	made, err := s.box(b, mtu, i)
	if err == nil {
		// Said on the command line is not done: some only tell it to a DHCP client.
		_, err = b.doIn(made, `ip -o link show up | grep -v -e ' lo: ' | grep ' mtu %d ' || { ip -o link show; exit 1; }`, mtu)
	}
	if err == nil {
		err = b.chooseCubic(made)
	}
	if err == nil {
		made.iperf, err = b.serveIperf(made, iperfPort)
	}
	if err == nil {
		err = b.serveProbe(made)
	}
	if err != nil {
		return nil, fmt.Errorf("container %d at MTU %d: %w", i, mtu, err)
	}
	for _, f := range []family{ip4, ip6} {
		if made.cannot[f] == "" {
			// Nobody is measured cold: neighbours are known then, and pasta knows the container's address by the first
			// packet that comes from there. What does not work is found by the rows.
			to := net.JoinHostPort(f.host(), strconv.Itoa(probePort))
			b.w.Run(made.place, append(slices.Clone(made.before), "timeout", "10", b.program, "probe", "rr", "-to", to, "-time", "10ms")...)
		}
	}
	return made, nil
}

// publishedPort is the port of the host that leads to iperf3 in a system's container; probeOffset above, to the probe.
func publishedPort(s system, mtu, i int) int {
	index := slices.IndexFunc(systems, func(other system) bool { return other.name() == s.name() })
	return publishedPorts + index*100 + slices.Index(mtus, mtu)*10 + i
}

// keeps says whether a container sees the remote client's address on connections to its published port.
func (b *bench) keeps(to *box, f family) (bool, error) {
	if to.kept[f] != nil {
		return *to.kept[f], nil
	}
	address := netip.AddrPortFrom(netip.MustParseAddr(f.host()), uint16(to.port[f]+probeOffset))
	// One process, which Kill ends for sure: a connection that stays would be taken for the next one.
	c := b.w.Command(world.Client, b.program, "probe", "hold", "-to", address.String(), "-time", "1m")
	if err := c.Start(); err != nil {
		return false, err
	}
	seen, err := b.until(to, "ss -Htn state established sport = :%d | grep .", probePort)
	c.Kill()
	if _, ended := c.Wait(); err == nil {
		err = ended
	}
	if err == nil {
		_, err = b.until(to, "! ss -Htn state established sport = :%d | grep -q .", probePort)
	}
	if err != nil {
		return false, err
	}
	kept := strings.Contains(seen, world.Addr([...]string{"CLIENT4", "CLIENT6"}[f]).String())
	to.kept[f] = &kept
	return kept, nil
}

// do runs a shell command that must succeed and returns its output.
func (b *bench) do(place world.Place, format string, args ...any) (string, error) {
	return b.doIn(&box{place: place}, format, args...)
}

// doIn is do in a container.
func (b *bench) doIn(at *box, format string, args ...any) (string, error) {
	command := fmt.Sprintf(format, args...)
	r := b.w.Run(at.place, append(slices.Clone(at.before), "sh", "-c", command)...)
	if r.Err != nil || r.Code != 0 {
		return "", fmt.Errorf("%s: exit status %d, %v: %s%s", command, r.Code, r.Err, r.Stdout, r.Stderr)
	}
	return strings.TrimSpace(r.Stdout), nil
}

// until repeats a command until it succeeds.
func (b *bench) until(at *box, format string, args ...any) (string, error) {
	var out string
	var err error
	if !world.Poll(settleLimit, func() bool {
		out, err = b.doIn(at, format, args...)
		return err == nil
	}) {
		return "", fmt.Errorf("waited %v: %w", settleLimit, err)
	}
	return out, nil
}

// chooseCubic writes the congestion control into every route of a machine. Unlike the sysctl and the socket option, that
// is allowed to whoever owns the network namespace, whatever the machine's administrator chose, and it holds for sockets
// of programs that choose nothing: those of slirp4netns, pasta and footbridge on the host.
//
// IPv6 routes to the machine's own addresses have metric 0, and none of metric 0 can be changed: another takes its place.
func (b *bench) chooseCubic(at *box) error {
	_, err := b.doIn(at, `set -e
		for t in local main; do ip -4 route show table $t; done | grep -v ^broadcast | while read -r route; do
			t=main; case $route in local*) t=local; esac
			ip -4 route change $route table $t congctl cubic; done
		ip -6 route show | grep -v ^fe80: | sed 's/ expires [0-9]*sec//' | while read -r route; do
			ip -6 route change $route congctl cubic; done
		ip -6 route show table local | sed -n 's/ metric 0 pref medium$//p' | grep ^local | while read -r route; do
			ip -6 route add $route table local metric 1 congctl cubic
			ip -6 route del $route table local metric 0; done`)
	if err != nil {
		return fmt.Errorf("choosing CUBIC: %w", err)
	}
	return nil
}

// start starts a command that lives as long as the world. What it says is kept for whoever wants to know why it ended.
func (b *bench) start(at *box, args ...string) (*world.Cmd, *output, error) {
	c := b.w.Command(at.place, append(slices.Clone(at.before), args...)...)
	out := &output{}
	c.Stdout, c.Stderr = out, out
	return c, out, c.Start()
}

// server is a process that listens at some place as long as the world lives.
type server struct {
	at   *box
	port int
	args []string
	cmd  *world.Cmd
}

// serve starts a server and waits until it listens.
func (b *bench) serve(at *box, port int, args ...string) (*server, error) {
	s := &server{at: at, port: port, args: args}
	return s, b.startServer(s)
}

func (b *bench) startServer(s *server) error {
	s.cmd = b.w.Command(s.at.place, append(slices.Clone(s.at.before), s.args...)...)
	if err := s.cmd.Start(); err != nil {
		return err
	}
	_, err := b.until(s.at, "ss -Hltn sport = :%d | grep -q .", s.port)
	return err
}

// again ends a server that hangs with a client that is gone, so that it has not gone for those who come after.
func (b *bench) again(s *server) error {
	s.cmd.Kill()
	if _, err := s.cmd.Wait(); err != nil {
		return err
	}
	return b.startServer(s)
}

// serveIperf starts an iperf3 server, serveProbe one of the probe.
func (b *bench) serveIperf(at *box, port int) (*server, error) {
	return b.serve(at, port, "iperf3", "-s", "-p", strconv.Itoa(port))
}

func (b *bench) serveProbe(at *box) error {
	_, err := b.serve(at, probePort, b.program, "probe", "serve", "-port", strconv.Itoa(probePort))
	return err
}

// enter is the command before others that makes them work in the user and network namespace of a process, with all
// capabilities there: its owner has them. All systems' containers are entered so, footbridge's as well, so that
// nobody's own command (footbridge exec) is counted.
func enter(pid string) []string {
	return []string{"nsenter", "--target", pid, "--user", "--net", "--preserve-credentials"}
}

// hold starts a process in a user and a network namespace of its own, for systems that are given one.
func (b *bench) hold() (pid string, err error) {
	holder := b.w.Command(world.Host, "unshare", "--user", "--map-root-user", "--net", "sleep", "infinity")
	if err := holder.Start(); err != nil {
		return "", err
	}
	pid = strconv.Itoa(holder.PID)
	// unshare becomes sleep when its namespaces are there and its ids are mapped.
	_, err = b.until(&box{place: world.Host}, "grep -qx sleep /proc/%s/comm", pid)
	return pid, err
}
