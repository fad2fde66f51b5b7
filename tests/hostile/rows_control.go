package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/footbridge-net/footbridge/tests/world"
)

const groupControl = "the control plane, and who listens"

// control are the rows about what is reachable that is nobody's but the user's.
var control = []row{
	{group: groupControl, name: "the gateway's TCP and UDP ports: 53, and what is published everywhere", run: gatewayPorts},
	{group: groupControl, name: "what listens on the host: published ports and nothing abstract", run: hostListeners},
	{group: groupControl, name: "the API and the shims, from containers of every mode", run: controlSockets},
	{group: groupControl, name: "footbridge's processes, from containers", run: controlProcesses},
	{group: groupControl, name: "a port published on 127.0.0.1, from elsewhere", run: loopbackListener},
	{group: groupControl, name: "containers' own addresses, from a machine with a route to them", run: routedClient},
	{group: groupControl, name: "a container's loopback, by a published port", run: containerLoopback},
	{group: groupControl, name: "strangers, at the host's port of a container's UDP flow", run: strangers},
	{group: groupControl, name: "who a client is, to the server: never 127.0.0.1 or another", run: clientIdentity},
}

func gatewayPorts(s *stage, r *result) error {
	me := s.machines["mallory"]
	var ports []uint16
	if s.short {
		random := random(s.seed)
		for port := uint16(1); port <= 200; port++ {
			ports = append(ports, port)
		}
		for range 60 {
			ports = append(ports, uint16(601+random.Intn(65535-601)))
		}
		ports = append(ports, 2375, 2376, 7777, 8080, 8999, portOwnOnly)
		for _, port := range publishedEverywhere {
			ports = append(ports, uint16(port))
		}
	} else {
		for port := 1; port < 65536; port++ {
			ports = append(ports, uint16(port))
		}
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	for _, scan := range []ScanArgs{{From: me.ip4, To: me.gw4}, {From: me.ip6, To: me.gw6}, {From: me.ip4, To: me.gw4, UDP: true}, {From: me.ip6, To: me.gw6, UDP: true}} {
		scan.Interface, scan.MAC, scan.Gateway, scan.Ports = me.iface, me.mac, me.gateway, ports
		scan.Payload = question(7, "alice.")
		var answer ScanReply
		if err := me.actor.call("Scan", scan, &answer); err != nil {
			return err
		}
		r.tried += len(ports)
		if !slices.Contains(answer.Open, 53) {
			return fmt.Errorf("not even port 53 of %s answers (%d closed, %d silent)", scan.To, answer.Closed, answer.Silent)
		}
		for _, port := range answer.Open {
			if port != 53 && (scan.UDP || !slices.Contains(publishedEverywhere, int(port))) {
				r.in("port %d of %s, UDP %v", port, scan.To, scan.UDP)
			}
		}
		if !scan.UDP && answer.Silent > 0 {
			r.remark("%d of %s silent", answer.Silent, scan.To)
		}
	}
	return nil
}

// ephemeral is where the kernel's own choice of ports begins (net.ipv4.ip_local_port_range).
const ephemeral = 32768

func hostListeners(s *stage, r *result) error {
	// What the world and the actors serve was there before footbridge: the stage starts them first.
	expected := map[string]bool{}
	for _, port := range publishedEverywhere {
		for _, ip := range []string{"0.0.0.0", "::"} {
			expected["tcp "+net.JoinHostPort(ip, strconv.Itoa(port))] = true
		}
	}
	for _, ip := range []string{"127.0.0.1", "::1"} {
		expected["tcp "+net.JoinHostPort(ip, strconv.Itoa(portOwnOnly))] = true
	}
	for _, line := range s.w.Snapshot().Since(s.empty) {
		kind, _, _ := strings.Cut(line, " ")
		if kind != "tcp" && kind != "udp" && kind != "unix" && kind != "link" {
			continue
		}
		// The host's side of a container's own UDP flows; see the row about strangers.
		if at, err := netip.ParseAddrPort(strings.TrimPrefix(line, "udp ")); kind == "udp" && err == nil && at.Port() >= ephemeral {
			continue
		}
		r.tried++
		if !expected[line] {
			r.in("there is %s", line)
		}
	}
	if r.tried == 0 {
		return fmt.Errorf("not even the published ports are seen to listen")
	}
	return nil
}

// modes are the kinds of networks that a container may have, and the flags for it.
var modes = [][]string{
	{"--network", homeNet}, {"--network", awayNet}, {"--network", "bridge"}, {"--network", insideNet}, {"--network", "host"}, {"--network", "none"},
	{"--network", "container:alice"}, {"--network", homeNet, "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"},
}

// inEveryMode runs a shell script in a container of each mode. It prints "begin", "end", and "LET IN: " and what, for what it
// has got at.
func inEveryMode(s *stage, r *result, script string) error {
	for _, mode := range modes {
		args := append(append([]string{"run", "--rm"}, mode...), "--", "sh", "-c", script)
		ran := s.w.Run(world.Host, append([]string{world.Binary()}, args...)...)
		if ran.Err != nil || !strings.Contains(ran.Stdout, "begin") || !strings.Contains(ran.Stdout, "end") {
			return fmt.Errorf("a container with %s: exit status %d, %v: %s%s", strings.Join(mode, " "), ran.Code, ran.Err, ran.Stdout, ran.Stderr)
		}
		r.tried++
		for line := range strings.Lines(ran.Stdout) {
			if text, ok := strings.CutPrefix(line, "LET IN: "); ok {
				r.in("with %s: %s", strings.Join(mode, " "), strings.TrimSpace(text))
			}
		}
	}
	return nil
}

func controlSockets(s *stage, r *result) error {
	status, err := s.status()
	if err != nil {
		return err
	}
	// From the outside everything is there.
	if r := s.w.Run(world.Host, "sh", "-c", "curl -sS --unix-socket "+status.Socket+" http://localhost/_ping"); !strings.Contains(r.Stdout, "OK") {
		return fmt.Errorf("the API does not answer its user: %s%s", r.Stdout, r.Stderr)
	}
	script := fmt.Sprintf(`echo begin
socket=%q runtime=%q state=%q
curl -sS -m 2 --unix-socket $socket http://localhost/_ping >/dev/null 2>&1 && echo "LET IN: the API answers"
for d in $runtime $state; do find $d -mindepth 1 2>/dev/null | sed 's/^/LET IN: /'; done
find /run /tmp /var -xdev -type s -not -path '/tmp/fbw*/actors/*' 2>/dev/null | while read -r f; do
	curl -sS -m 2 --unix-socket $f http://localhost/_ping >/dev/null 2>&1 && echo "LET IN: $f answers"; done
grep -a '@' /proc/net/unix | grep -a -i footbridge | sed 's/^/LET IN: abstract /'
umount $runtime 2>/dev/null && echo "LET IN: the cover of $runtime can be taken off"
umount $state 2>/dev/null && echo "LET IN: the cover of $state can be taken off"
unshare -Urm sh -c "umount $runtime || umount -l $runtime" 2>/dev/null && echo "LET IN: the cover can be taken off in a user namespace"
mkdir -p $runtime 2>/dev/null; (echo x >$runtime/daemon.lock) 2>/dev/null && [ -s $runtime/../footbridge/daemon.lock ] && ls $runtime | grep -v daemon.lock | sed 's/^/LET IN: /'
timeout 5 footbridge ps -a 2>/dev/null | grep -q alice && echo "LET IN: footbridge ps works"
echo end`, status.Socket, status.RuntimeDir, status.StateDir)
	return inEveryMode(s, r, script)
}

func controlProcesses(s *stage, r *result) error {
	status, err := s.status()
	if err != nil {
		return err
	}
	script := fmt.Sprintf(`echo begin
for p in /proc/[0-9]*; do c=$(cat $p/comm 2>/dev/null); case "$c" in footbridge-init) ;; footbridge*) echo "LET IN: sees $p $c";; esac; done
for f in environ mem maps; do cat /proc/1/$f >/dev/null 2>&1 && echo "LET IN: /proc/1/$f is readable"; done
readlink /proc/1/fd/* >/dev/null 2>&1 && echo "LET IN: /proc/1/fd can be followed"
ls /proc/1/root/ >/dev/null 2>&1 && echo "LET IN: /proc/1/root can be entered"
kill -0 %d 2>/dev/null && [ -d /proc/%d ] && grep -q footbridge /proc/%d/comm && echo "LET IN: the daemon can be signalled"
python3 -c 'import ctypes,sys; l=ctypes.CDLL(None); sys.exit(l.ptrace(16,1,0,0)==0)' || echo "LET IN: pid 1 can be traced"
echo end`, status.PID, status.PID, status.PID)
	return inEveryMode(s, r, script)
}

func loopbackListener(s *stage, r *result) error {
	own := strconv.Itoa(portOwnOnly)
	if err := reachable(s.actors[onHost], Attempt{Network: "tcp", Address: "127.0.0.1:" + own, Say: "x"}, Attempt{Network: "tcp", Address: "[::1]:" + own, Say: "x"}); err != nil {
		return err
	}
	me := s.machines["mallory"]
	for _, from := range []*actor{s.actors[onClient], s.actors[onInternet], s.actors[onHost], me.actor, s.actors["carol"]} {
		var attempts []Attempt
		addresses := []netip.Addr{world.Addr("HOST4"), world.Addr("HOST6"), world.Addr("UPLINK4"), world.Addr("UPLINK6"), me.gw4, me.gw6}
		for _, a := range addresses {
			attempts = append(attempts, Attempt{Network: "tcp", Address: net.JoinHostPort(a.String(), own), Say: "x", Wait: patience})
		}
		if err := unreachable(r, from, attempts); err != nil {
			return err
		}
	}
	// A machine of the same link that sends packets for 127.0.0.1 there, as no router would.
	if _, err := s.actors[onClient].run("ip route add 127.0.0.2/32 via %s 2>/dev/null; sysctl -qw net.ipv4.conf.lan0.route_localnet=1", world.Addr("HOST4")); err != nil {
		return err
	}
	return unreachable(r, s.actors[onClient], []Attempt{{Network: "tcp", Address: "127.0.0.2:" + own, Say: "x", Wait: patience}})
}

func routedClient(s *stage, r *result) error {
	client, alice := s.actors[onClient], s.machines["alice"]
	if _, err := client.run("ip route replace 10.71.0.0/24 via %s; ip -6 route replace fd71::/64 via %s", world.Addr("HOST4"), world.Addr("HOST6")); err != nil {
		return err
	}
	if err := reachable(client, Attempt{Network: "tcp", Address: fmt.Sprintf("%s:%d", world.Addr("HOST4"), portPubEcho), Say: "x"}); err != nil {
		return err
	}
	attempts := append(everyWay(alice.ip4, "", portEcho, portSecret), everyWay(alice.ip6, "", portEcho, portSecret)...)
	return s.quietly(r, []lane{alice.lane("alice")}, func() error { return unreachable(r, client, attempts) })
}

func containerLoopback(s *stage, r *result) error {
	if err := reachable(s.machines["bob"].actor, Attempt{Network: "tcp", Address: net.JoinHostPort("127.0.0.1", strconv.Itoa(portLoopback)), Listen: true}); err != nil {
		return err
	}
	port := strconv.Itoa(portNoServer)
	for _, c := range []struct {
		from    *actor
		address string
	}{
		{s.actors[onHost], "127.0.0.1"}, {s.actors[onHost], "::1"}, {s.actors[onHost], world.Addr("HOST4").String()},
		{s.actors[onClient], world.Addr("HOST4").String()}, {s.actors[onClient], world.Addr("HOST6").String()},
		{s.actors["mallory"], world.Addr("HOST4").String()}, {s.actors["carol"], world.Addr("HOST6").String()},
	} {
		at := Attempt{Network: "tcp", Address: net.JoinHostPort(c.address, port), Listen: true, Wait: patience}
		outcomes, err := c.from.try(at)
		if err != nil {
			return err
		}
		r.tried++
		// The host's listener may take the connection before it knows; nothing may come over it.
		if outcomes[0].Answer != "" {
			r.in("%s: %s", c.from.Name, outcomeText(at, outcomes[0]))
		}
	}
	return nil
}

func clientIdentity(s *stage, r *result) error {
	for _, c := range []struct {
		from *actor
		to   string
		want []string // addresses as which the server may see the client
	}{
		{s.actors[onClient], "HOST4", []string{world.Addr("CLIENT4").String()}},
		{s.actors[onClient], "HOST6", []string{world.Addr("CLIENT6").String()}},
		{s.actors[onInternet], "UPLINK4", []string{world.Addr("ROUTER4").String()}},
		{s.actors[onInternet], "UPLINK6", []string{world.Addr("ROUTER6").String()}},
		// The host's own clients, and containers that come by the host's address, have an address of the host.
		{s.actors[onHost], "HOST4", s.hostAddresses()},
		{s.actors["mallory"], "HOST4", s.hostAddresses()},
		{s.actors["carol"], "HOST6", s.hostAddresses()},
	} {
		to := net.JoinHostPort(world.Addr(c.to).String(), strconv.Itoa(portPublished))
		outcomes, err := c.from.try(Attempt{Network: "tcp", Address: to, Listen: true})
		if err != nil {
			return err
		}
		r.tried++
		if outcomes[0].Answer == "" {
			return fmt.Errorf("%s does not reach the published port at %s: %s", c.from.Name, to, outcomes[0].Error)
		}
		host, _, _ := net.SplitHostPort(outcomes[0].Answer)
		if a, err := netip.ParseAddr(host); err == nil {
			host = a.Unmap().String()
		}
		if !slices.Contains(c.want, host) {
			r.in("%s at %s is %s to the server, not one of %v", c.from.Name, c.to, host, c.want)
		}
	}
	return nil
}

// strangers send to the port that a container's flow has on the host: only those whom the container has asked may answer.
func strangers(s *stage, r *result) error {
	alice := s.machines["alice"]
	for _, c := range []struct {
		web, host string
		gateway   netip.Addr
	}{{"WEB4", "UPLINK4", alice.gw4}, {"WEB6", "UPLINK6", alice.gw6}} {
		outcomes, err := alice.actor.try(Attempt{Network: "udp", Address: net.JoinHostPort(world.Addr(c.web).String(), strconv.Itoa(world.PortPeer)), Say: "who am I?"})
		if err != nil {
			return err
		}
		at, err := netip.ParseAddrPort(strings.TrimSpace(outcomes[0].Answer))
		if err != nil {
			return fmt.Errorf("%s does not say as whom it sees alice: %v", c.web, outcomes[0])
		}
		err = s.quietly(r, []lane{alice.lane("alice")}, func() error {
			for _, from := range []string{onClient, onInternet, onHost, "mallory", "carol"} {
				for _, to := range []string{c.host, strings.Replace(c.host, "UPLINK", "HOST", 1)} {
					r.tried++
					address := netip.AddrPortFrom(world.Addr(to), at.Port()).String()
					if _, err := s.actors[from].try(Attempt{Network: "udp", Address: address, Say: string(s.nextMark()), Wait: 30 * 1e6}); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// hostAddresses are as whom a server may see the host itself: by an address of the host's, or by its own gateway.
func (s *stage) hostAddresses() []string {
	bob := s.machines["bob"]
	list := []string{bob.gw4.String(), bob.gw6.String()}
	for _, name := range []string{"HOST4", "HOST6", "UPLINK4", "UPLINK6"} {
		list = append(list, world.Addr(name).String())
	}
	return list
}
