package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/tests/actors"
	"github.com/footbridge-net/footbridge/tests/world"
)

// Networks of the stage.
//
//	home    10.71.0.0/24 fd71::/64   mallory, alice, bob, dora (multi-homed)
//	away    10.72.0.0/24 fd72::/64   carol
//	plain   10.73.0.0/24             mallory's second interface, victor: no IPv6
//	inside  10.74.0.0/24 fd74::/64   no outside: mole, dora
//	shy     10.75.0.0/24 fd75::/64   kept apart: eve, who is linked to db; db, tess
//	open    10.76.0.0/24 fd76::/64   reached by the others: olga
//	bare    10.77.0.0/24 fd77::/64   no gateway: isla, ivan
//	hosted  10.78.0.0/24 fd78::/64   has ports of the host: hugo
const (
	homeNet, awayNet, plainNet, insideNet, shyNet, openNet, bareNet, hostedNet = "home", "away", "plain", "inside", "shy", "open", "bare", "hosted"
)

var networks = []struct {
	name    string
	subnets []string
	flags   []string
}{
	{homeNet, []string{"10.71.0.0/24", "fd71::/64"}, []string{"--ipv6", "-o", "com.footbridge.dhcp=true", "-o", "com.footbridge.ra=true"}},
	{awayNet, []string{"10.72.0.0/24", "fd72::/64"}, []string{"--ipv6"}},
	{plainNet, []string{"10.73.0.0/24"}, nil},
	{insideNet, []string{"10.74.0.0/24", "fd74::/64"}, []string{"--ipv6", "--internal"}},
	{shyNet, []string{"10.75.0.0/24", "fd75::/64"}, []string{"--ipv6", "-o", "com.docker.network.bridge.enable_icc=false"}},
	{openNet, []string{"10.76.0.0/24", "fd76::/64"}, []string{"--ipv6",
		"-o", "com.docker.network.bridge.gateway_mode_ipv4=nat-unprotected", "-o", "com.docker.network.bridge.gateway_mode_ipv6=nat-unprotected"}},
	{bareNet, []string{"10.77.0.0/24", "fd77::/64"}, []string{"--ipv6", "--internal",
		"-o", "com.docker.network.bridge.gateway_mode_ipv4=isolated", "-o", "com.docker.network.bridge.gateway_mode_ipv6=isolated"}},
	{hostedNet, []string{"10.78.0.0/24", "fd78::/64"}, []string{"--ipv6",
		"-o", fmt.Sprintf("com.footbridge.host.ports=%d;%[1]d/udp", world.PortLoopback)}},
}

// Published ports of the stage.
const (
	portPublished = 8100 // bob's portPeer, on all addresses of the host
	portOwnOnly   = 8101 // bob's portEcho, on 127.0.0.1 and ::1
	portNoServer  = 8102 // bob's portLoopback, on which he serves on his loopback only
	portPubEcho   = 8103 // alice's portEcho, on all addresses
	portPubCrowd  = 8104 // dora's portEcho, on all addresses
)

// publishedEverywhere are those of TCP on all addresses, which a gateway's is one of to
// its containers. None is UDP's.
var publishedEverywhere = []int{portPublished, portNoServer, portPubEcho, portPubCrowd}

// containers in the order of their start, which gives them their addresses.
var containers = []struct {
	name     string
	networks []string
	flags    []string
}{
	// Privileged: whatever can be done to one's own interfaces and devices, mallory can do.
	{"mallory", []string{homeNet, plainNet}, []string{"--privileged"}},
	{"alice", []string{homeNet}, []string{"-p", fmt.Sprintf("%d:%d", portPubEcho, portEcho)}},
	{"bob", []string{homeNet}, []string{"-p", fmt.Sprintf("%d:%d", portPublished, portPeer),
		"-p", fmt.Sprintf("127.0.0.1:%d:%d", portOwnOnly, portEcho), "-p", fmt.Sprintf("[::1]:%d:%d", portOwnOnly, portEcho),
		"-p", fmt.Sprintf("%d:%d", portNoServer, portLoopback)}},
	{"carol", []string{awayNet}, nil},
	{"victor", []string{plainNet}, nil},
	{"mole", []string{insideNet}, []string{"--privileged"}},
	{"dora", []string{homeNet, insideNet}, []string{"--privileged", "-p", fmt.Sprintf("%d:%d", portPubCrowd, portEcho)}},
	{"db", []string{shyNet}, []string{"--expose", fmt.Sprintf("%d/udp", portNobody), "--expose", fmt.Sprintf("%d/udp", portOpen), "--expose", strconv.Itoa(portOpen)}},
	{"eve", []string{shyNet}, []string{"--privileged", "--link", "db"}},
	{"tess", []string{shyNet}, nil},
	{"olga", []string{openNet}, []string{"--privileged"}},
	{"isla", []string{bareNet}, []string{"--privileged"}},
	{"ivan", []string{bareNet}, nil},
	{"hugo", []string{hostedNet}, []string{"--privileged"}},
}

// machine is one interface of an actor.
type machine struct {
	actor    *actor
	iface    string
	mac      packet.MAC
	gateway  packet.MAC
	ip4, ip6 netip.Addr
	gw4, gw6 netip.Addr
	local    netip.Addr // link-local
	alone    bool       // see decoy
}

// stage is the world with everything in it.
type stage struct {
	w        *world.World
	hub      *actors.Hub
	actors   map[string]*actor
	machines map[string]*machine // by name; the second interface is NAME/NETWORK
	mark     [markLen - 2]byte
	shots    uint16
	short    bool
	seed     int64
	empty    world.Snapshot // the host before footbridge's first command
}

// Actors that are no containers.
const (
	onHost     = "user"     // the host's user
	onRoot     = "admin"    // the host's administrator: may listen on interfaces and look at processes
	onInternet = "internet" // behind the uplink
	onClient   = "client"   // a remote machine
)

func newStage(w *world.World, seed int64, short bool) (*stage, error) {
	s := &stage{w: w, actors: make(map[string]*actor), machines: make(map[string]*machine), seed: seed, short: short}
	random(seed).Read(s.mark[:])
	var err error
	if s.hub, err = actors.NewHub(filepath.Join(world.Stage(), "hub")); err != nil {
		return nil, err
	}
	for name, place := range map[string]world.Place{onHost: world.Host, onRoot: world.Admin, onInternet: world.Internet, onClient: world.Client} {
		c := w.Command(place, s.hub.Command(name)...)
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{onHost, onRoot, onInternet, onClient} {
		if err := s.join(name); err != nil {
			return nil, err
		}
	}
	s.empty = w.Snapshot()
	for _, n := range networks {
		args := append([]string{"network", "create"}, n.flags...)
		for _, subnet := range n.subnets {
			args = append(args, "--subnet", subnet)
		}
		if _, err := s.footbridge(append(args, n.name)...); err != nil {
			return nil, err
		}
	}
	for _, c := range containers {
		args := []string{"run", "-d", "--name", c.name}
		for _, n := range c.networks {
			args = append(args, "--network", n)
		}
		args = append(append(args, c.flags...), "--")
		if _, err := s.footbridge(append(args, s.hub.Command(c.name)...)...); err != nil {
			return nil, err
		}
	}
	for _, c := range containers {
		if err := s.join(c.name); err != nil {
			return nil, err
		}
		for i, n := range c.networks {
			name := c.name
			if i > 0 {
				name += "/" + n
			}
			if err := s.look(name, c.name, fmt.Sprintf("eth%d", i), n); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// join connects to an actor.
func (s *stage) join(name string) error {
	a, err := s.hub.Await(name, nil, arrival)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, s.w.Run(world.Host, world.Binary(), "logs", name).Stderr)
	}
	s.actors[name] = &actor{a}
	return nil
}

// look fills in what is to be known of an interface.
func (s *stage) look(name, actor, iface, network string) error {
	m := &machine{actor: s.actors[actor], iface: iface}
	for _, n := range networks {
		if n.name != network {
			continue
		}
		for _, subnet := range n.subnets {
			gateway := netip.MustParsePrefix(subnet).Addr().Next()
			if gateway.Is4() {
				m.gw4 = gateway
			} else {
				m.gw6 = gateway
			}
		}
	}
	if network == bareNet {
		m.gw4, m.gw6 = names4, names6
	}
	var link LinkReply
	if err := m.actor.call("Link", [2]string{iface, m.gw4.String()}, &link); err != nil {
		return err
	}
	m.mac, m.gateway = link.MAC, link.Gateway
	for _, text := range link.Addresses {
		p, err := netip.ParsePrefix(text)
		switch {
		case err != nil:
		case p.Addr().Is4():
			m.ip4 = p.Addr()
		case p.Addr().IsLinkLocalUnicast():
			m.local = p.Addr()
		default:
			m.ip6 = p.Addr()
		}
	}
	s.machines[name] = m
	return nil
}

// footbridge runs the program under test as the host's user.
func (s *stage) footbridge(args ...string) (string, error) {
	r := s.w.Run(world.Host, append([]string{world.Binary()}, args...)...)
	if r.Err != nil || r.Code != 0 {
		return "", fmt.Errorf("footbridge %s: exit status %d, %v: %s%s", strings.Join(args, " "), r.Code, r.Err, r.Stdout, r.Stderr)
	}
	return strings.TrimSpace(r.Stdout), nil
}

// status asks the daemon.
func (s *stage) status() (api.Status, error) {
	var status api.Status
	text, err := s.footbridge("daemon", "status", "--format", "json")
	if err != nil {
		return status, err
	}
	return status, json.Unmarshal([]byte(text), &status)
}

// counters of one container on one network, or of the network with an empty container.
func counters(status api.Status, network, container string) map[string]uint64 {
	for _, n := range status.Networks {
		if n.Name != network {
			continue
		}
		if container == "" {
			return n.Counters
		}
		for _, c := range n.Containers {
			if c.Container == container {
				return c.Counters
			}
		}
	}
	return nil
}

// run runs a command at an actor's; that it fails is an error.
func (a *actor) run(format string, args ...any) (string, error) {
	command := fmt.Sprintf(format, args...)
	var r RunReply
	if err := a.call("Run", []string{"sh", "-c", command}, &r); err != nil {
		return "", err
	}
	if r.Code != 0 {
		return r.Output, fmt.Errorf("%s, %s: exit status %d: %s", a.Name, command, r.Code, r.Output)
	}
	return r.Output, nil
}

// try makes attempts at an actor's.
func (a *actor) try(attempts ...Attempt) ([]Outcome, error) {
	var outcomes []Outcome
	err := a.call("Try", attempts, &outcomes)
	if err == nil && len(outcomes) != len(attempts) {
		err = errors.New("fewer outcomes than attempts")
	}
	return outcomes, err
}

// settle waits for something that others do; it fails with what was waited for.
func settle(what string, condition func() bool) error {
	const limit = 10 * time.Second
	if !world.Poll(limit, condition) {
		return fmt.Errorf("waited %v for %s", limit, what)
	}
	return nil
}
