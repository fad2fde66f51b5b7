package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/internal/testserver"
	"github.com/footbridge-net/footbridge/tests/world"
)

// Container engines that start slirp4netns, with footbridge under that name.

func init() {
	parts = append(parts, slirp4netns)
	roles["slirp-peer"] = slirpPeer
	roles["slirp-ask"] = slirpAsk
}

var slirp4netns = part{
	name:     "slirp4netns",
	packages: []string{"podman", "buildah", "rootlesskit", "crun", "uidmap", "iptables"},
	programs: []program{
		{name: "podman", version: []string{"podman", "--version"}, optional: true},
		{name: "buildah", version: []string{"buildah", "--version"}, optional: true},
		{name: "rootlesskit", version: []string{"rootlesskit", "--version"}, optional: true},
	},
	ids:   true,
	setup: slirpSetup,
	cells: slirpCells(),
}

func slirpCells() []cell {
	cells := []cell{
		{feature: "what callers look for before they start it", run: slirpProbes},
		{feature: "docs/integrations.md does what it shows", run: slirpPage},
	}
	for _, c := range []struct {
		feature string
		run     func(*stage) error
	}{
		{"addresses, names and the way out", slirpOut},
		{"ports by its API, with clients' addresses", slirpPortsAPI},
		{"ports by rootlesskit's port handler", slirpPortsHandler},
		{"mtu, cidr, and no IPv6", slirpOptions},
		{"the host's loopback, shut and open", slirpLoopback},
		{"outbound addresses and interfaces", slirpOutbound},
		{"what cannot be is refused with a sentence", slirpRefused},
		{"many containers with the same addresses", slirpMany},
		{"it ends with its container, however that ends", slirpEnds},
		{"bridge networks go out by it", slirpBridge},
		{"build", slirpPodmanBuild},
		{"found by containers.conf", slirpConfigured},
	} {
		cells = append(cells, cell{feature: "podman: " + c.feature, needs: []string{"podman"}, run: func(s *stage) error {
			s.user.run("podman", "rm", "-fa", "-t0")
			return c.run(s)
		}})
	}
	cells = append(cells, cell{feature: "buildah: bud and run", needs: []string{"buildah", "podman"}, run: slirpBuildah})
	for _, driver := range []string{"slirp4netns", "builtin"} {
		cells = append(cells,
			cell{feature: "rootlesskit: port driver " + driver, needs: []string{"rootlesskit"}, run: func(s *stage) error {
				return slirpKit(s, "rootlesskit", driver, false)
			}},
			cell{feature: "rootlesskit 3: port driver " + driver, limit: 5 * time.Minute, run: func(s *stage) error {
				return slirpKit(s, slirpNewKit(s), driver, false)
			}},
			cell{feature: "rootlesskit 3: detached namespace, port driver " + driver, limit: 5 * time.Minute, run: func(s *stage) error {
				return slirpKit(s, slirpNewKit(s), driver, true)
			}})
	}
	return append(cells, cell{feature: "sandbox and detached namespace together", run: slirpDetached})
}

// slirpSetup gives the user an image, and engines that find footbridge.
func slirpSetup(s *stage) error {
	s.delegate()
	s.link("slirp4netns")
	if !found("podman") {
		return nil
	}
	s.write(".config/containers/containers.conf", "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n", 0o644)
	s.write(".config/containers/storage.conf", "[storage]\ndriver = \"vfs\"\n", 0o644)
	s.write(".config/containers/policy.json", `{"default": [{"type": "insecureAcceptAnything"}]}`, 0o644)
	s.user.sh(fmt.Sprintf(`mkdir -p root/bin root/etc root/www; cp "$(command -v busybox)" root/bin/; cp %s root/bin/interop
		for a in sh sleep cat ip ping nslookup true echo; do ln -s busybox root/bin/$a; done
		tar -C root -c . | podman import - localhost/box >import.log 2>&1`, filepath.Join(s.bin, "interop")))
	return nil
}

// slirpPeer tells everybody who asks from where they come, by TCP and UDP.
func slirpPeer(args []string) error {
	host := func(from net.Addr) string {
		host, _, _ := net.SplitHostPort(from.String())
		return host
	}
	if _, err := testserver.ListenTCP("tcp4", args[0], func(c *net.TCPConn) { fmt.Fprint(c, host(c.RemoteAddr())) }); err != nil {
		return err
	}
	_, err := testserver.ListenUDP("udp4", args[0], func(from net.Addr, b []byte) []byte { return []byte(host(from) + " says " + string(b)) })
	if err != nil {
		return err
	}
	fmt.Println("listening")
	select {}
}

// slirpAsk asks such a server: NETWORK ADDRESS:PORT.
func slirpAsk(args []string) error {
	c, err := net.DialTimeout(args[0], args[1], 3*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	if args[0] == "udp" {
		if _, err := c.Write([]byte("hello")); err != nil {
			return err
		}
	}
	b := make([]byte, 2048)
	n, err := c.Read(b)
	if err != nil {
		return err
	}
	fmt.Println(string(b[:n]))
	return nil
}

// slirpRun runs a command in a container of the image that ends with it.
func slirpRun(s *stage, network string, args ...string) string {
	return s.user.run(append([]string{"podman", "run", "--rm", "--cap-add", "net_raw", "--network", network, "localhost/box"}, args...)...)
}

func slirpPage(s *stage) error {
	if err := s.page("integrations.md", "slirp4netns"); err != nil {
		return err
	}
	s.mustHold(s.user.run(s.home+"/.local/lib/footbridge/slirp4netns", "--version"), "slirp4netns version 1.")
	return nil
}

// slirpServe starts a container that serves slirpPeer at port 80.
func slirpServe(s *stage, name, network string, options ...string) {
	s.user.run(append(append([]string{"podman", "run", "-d", "--name", name, "--network", network}, options...), "localhost/box", "/bin/interop", roleArgument, "slirp-peer", ":80")...)
	s.wait(name+" to listen", func() error {
		if r := s.user.look("podman", "exec", name, "busybox", "cat", "/proc/net/tcp", "/proc/net/udp"); strings.Count(r.Out, ":0050 ") < 2 {
			return errors.New(r.All())
		}
		return nil
	})
}

// slirpGone fails the cell unless every process of footbridge's under that name has ended.
func slirpGone(s *stage) {
	s.wait("all of slirp4netns to end", func() error {
		if left := s.user.look("sh", "-c", slirpEach("*/slirp4netns|slirp4netns|footbridge-worker", `echo "$pid $name"`)).Out; left != "" {
			return errors.New(left)
		}
		return nil
	})
}

// slirpEach is shell that does something for every process whose name, argv[0], is like that.
func slirpEach(names, do string) string {
	return `for p in /proc/[0-9]*; do pid=${p#/proc/}; name=$(tr '\0' '\n' <$p/cmdline 2>/dev/null | head -n1); case "$name" in ` + names + `) ` + do + `;; esac; done`
}

func slirpProbes(s *stage) error {
	s.user.sh("slirp4netns --help | grep -qw -- --netns-type")
	help := s.user.run("slirp4netns", "--help")
	s.mustHold(help, "--disable-host-loopback", "--mtu", "--enable-sandbox", "--enable-seccomp", "--cidr", "--outbound-addr", "--enable-ipv6", "--api-socket")
	s.mustHold(s.user.run("slirp4netns", "--version"), "slirp4netns version 1.", "\ncommit: ", "\nlibslirp: ", "\nSLIRP_CONFIG_VERSION_MAX: ", "\nlibseccomp: ")
	if found("podman") {
		s.mustHold(s.user.run("podman", "info", "--format", "{{.Host.Slirp4NetNS.Executable}} {{.Host.Slirp4NetNS.Version}}"), filepath.Join(s.bin, "slirp4netns"), "+footbridge")
	}
	return nil
}

func slirpOut(s *stage) error {
	out := slirpRun(s, "slirp4netns", "sh", "-c", "ip -4 addr show tap0; ip route; cat /etc/resolv.conf; ip link show tap0")
	s.mustHold(out, "inet 10.0.2.100/24", "default via 10.0.2.2 dev tap0", "nameserver 10.0.2.3", "mtu 65520")
	for _, url := range []string{"http://" + s.addr("WEB4") + "/", "http://[" + s.addr("WEB6") + "]/", "http://web.example.test/"} {
		if out := slirpRun(s, "slirp4netns", "busybox", "wget", "-qO-", url); out != "hello from the internet" {
			return fmt.Errorf("%s: %q", url, out)
		}
	}
	s.mustHold(slirpRun(s, "slirp4netns", "sh", "-c", "ping -c1 -W5 "+s.addr("WEB4")+"; nslookup web.example.test 10.0.2.3; ping -c1 -W5 fd00::3"), "Address: "+s.addr("WEB4"), "from fd00::3")
	slirpGone(s)
	return nil
}

func slirpPortsAPI(s *stage) error {
	slirpServe(s, "web", "slirp4netns:port_handler=slirp4netns", "-p", "8000:80", "-p", "8000:80/udp", "-p", "127.0.0.1:8001:80")
	for _, q := range []struct {
		who       place
		net, at   string
		seen, out string
	}{
		{s.client, "tcp", s.addr("HOST4") + ":8000", s.addr("CLIENT4"), ""},
		{s.client, "udp", s.addr("HOST4") + ":8000", s.addr("CLIENT4"), " says hello"},
		{s.user, "tcp", "127.0.0.1:8000", "10.0.2.2", ""},
		{s.user, "udp", "127.0.0.1:8000", "10.0.2.2", " says hello"},
		{s.user, "tcp", "127.0.0.1:8001", "10.0.2.2", ""},
	} {
		if out := q.who.run(s.role("slirp-ask", q.net, q.at)...); out != q.seen+q.out {
			return fmt.Errorf("%s %s, as %s: %q", q.net, q.at, q.who.name, out)
		}
	}
	s.client.refuse(s.role("slirp-ask", "tcp", s.addr("HOST4")+":8001")...)
	s.user.run("podman", "rm", "-f", "-t0", "web")
	s.user.refuse(s.role("slirp-ask", "tcp", "127.0.0.1:8000")...)
	slirpGone(s)
	return nil
}

func slirpPortsHandler(s *stage) error {
	slirpServe(s, "web", "slirp4netns", "-p", "8000:80", "-p", "8000:80/udp")
	for _, network := range []string{"tcp", "udp"} {
		out := s.client.run(s.role("slirp-ask", network, s.addr("HOST4")+":8000")...)
		s.mustHold(out, "10.0.2.100") // its port handler connects from inside
	}
	s.user.run("podman", "rm", "-f", "-t0", "web")
	slirpGone(s)
	return nil
}

func slirpOptions(s *stage) error {
	out := slirpRun(s, "slirp4netns:mtu=9000,cidr=10.7.0.0/16,enable_ipv6=false", "sh", "-c", "ip addr show tap0; ip route; cat /etc/resolv.conf; busybox wget -qO- http://web.example.test/")
	s.mustHold(out, "mtu 9000", "inet 10.7.0.100/16", "default via 10.7.0.2", "nameserver 10.7.0.3", "hello from the internet")
	if strings.Contains(out, "inet6 fd00:") {
		return fmt.Errorf("there is IPv6:\n%s", out)
	}
	// Kernels wait a second before they use an address, but that is podman's to switch off.
	s.mustHold(slirpRun(s, "slirp4netns:enable_ipv6=true", "ip", "-6", "addr", "show", "tap0"), "inet6 fd00::", "inet6 fe80::")
	return nil
}

func slirpLoopback(s *stage) error {
	server := s.user.start(s.role("slirp-peer", "127.0.0.1:9000")...)
	server.expect("listening")
	ask := []string{"/bin/interop", roleArgument, "slirp-ask"}
	podman := func(network string, args ...string) result {
		return s.user.try(append(append([]string{"podman", "run", "--rm", "--cap-add", "net_raw", "--network", network, "localhost/box"}, ask...), args...)...)
	}
	for _, proto := range []string{"tcp", "udp"} {
		r := podman("slirp4netns", proto, "10.0.2.2:9000")
		// To UDP a kernel does not pass on what it takes for a passing error.
		if r.Code == 0 || proto == "tcp" && !strings.Contains(r.All(), "network is unreachable") {
			return fmt.Errorf("%s to the shut loopback: %s", proto, r.All())
		}
		if r = podman("slirp4netns:allow_host_loopback=true", proto, "10.0.2.2:9000"); !strings.HasPrefix(r.Out, "127.0.0.1") {
			return fmt.Errorf("%s to the open loopback: %s", proto, r.All())
		}
	}
	for _, network := range []string{"slirp4netns", "slirp4netns:allow_host_loopback=true"} {
		s.mustHold(slirpRun(s, network, "ping", "-c1", "-W5", "10.0.2.2"), "1 packets received")
	}
	return nil
}

func slirpOutbound(s *stage) error {
	for _, c := range []struct{ option, url, seen string }{
		{"outbound_addr=" + s.addr("HOST4"), "http://" + s.addr("WEB4") + "/peer", s.addr("HOST4") + ":"},
		{"outbound_addr=lan", "http://" + s.addr("WEB4") + "/peer", s.addr("HOST4") + ":"},
		{"outbound_addr=" + s.addr("UPLINK4"), "http://" + s.addr("WEB4") + "/peer", s.addr("UPLINK4") + ":"},
		{"outbound_addr6=" + s.addr("HOST6"), "http://[" + s.addr("WEB6") + "]/peer", "[" + s.addr("HOST6") + "]:"},
	} {
		if out := slirpRun(s, "slirp4netns:"+c.option, "busybox", "wget", "-qO-", c.url); !strings.HasPrefix(out, c.seen) {
			return fmt.Errorf("with %s the web server sees %q", c.option, out)
		}
	}
	return nil
}

func slirpRefused(s *stage) error {
	taken := s.user.start(s.role("slirp-peer", "127.0.0.1:9100")...)
	taken.expect("listening")
	run := []string{"podman", "run", "--rm", "--network"}
	s.mustHold(s.user.refuse(append(run, "slirp4netns:cidr=10.0.0.0/30", "localhost/box", "true")...), "prefix length needs to be 1-25")
	s.mustHold(s.user.refuse(append(run, "slirp4netns:cidr=10.0.2.1/24", "localhost/box", "true")...), "CIDR needs to be a network address")
	s.mustHold(s.user.refuse(append(run, "slirp4netns:port_handler=slirp4netns", "-p", "127.0.0.1:9100:80", "localhost/box", "true")...),
		"bad request: add_hostfwd: slirp_add_hostfwd failed")
	slirpGone(s)
	return nil
}

func slirpMany(s *stage) error {
	const many = 5
	for i := range many {
		slirpServe(s, fmt.Sprint("web", i), "slirp4netns:port_handler=slirp4netns", "-p", fmt.Sprintf("%d:80", 8000+i))
	}
	for i := range many {
		s.mustHold(s.user.run("podman", "exec", fmt.Sprint("web", i), "ip", "addr", "show", "tap0"), "inet 10.0.2.100/24")
		if out := s.client.run(s.role("slirp-ask", "tcp", fmt.Sprintf("%s:%d", s.addr("HOST4"), 8000+i))...); out != s.addr("CLIENT4") {
			return fmt.Errorf("container %d: %q", i, out)
		}
	}
	s.user.run("podman", "rm", "-fa", "-t0")
	slirpGone(s)
	return nil
}

func slirpEnds(s *stage) error {
	for _, end := range []string{
		"podman stop -t0 web",
		"podman kill web",
		"kill -9 $(podman inspect -f '{{.State.Pid}}' web)",
		"kill -9 $(podman inspect -f '{{.State.ConmonPid}}' web)", // who has the exit-fd's other end
	} {
		slirpServe(s, "web", "slirp4netns:port_handler=slirp4netns", "-p", "8000:80")
		s.user.run(s.role("slirp-ask", "tcp", "127.0.0.1:8000")...)
		s.user.sh(end)
		slirpGone(s)
		s.user.refuse(s.role("slirp-ask", "tcp", "127.0.0.1:8000")...)
		s.user.run("podman", "rm", "-fa", "-t0")
	}
	// Killed, it takes its worker along.
	slirpServe(s, "web", "slirp4netns")
	s.user.sh(slirpEach("*/slirp4netns", "kill -9 $pid"))
	slirpGone(s)
	// And its worker killed, it has another one.
	s.user.run("podman", "rm", "-fa", "-t0")
	slirpServe(s, "web", "slirp4netns:port_handler=slirp4netns", "-p", "8000:80")
	s.user.sh(slirpEach("footbridge-worker", "kill -9 $pid"))
	s.wait("the next worker", func() error {
		s.user.run(s.role("slirp-ask", "tcp", "127.0.0.1:8000")...)
		return nil
	})
	s.user.run("podman", "rm", "-fa", "-t0")
	slirpGone(s)
	return nil
}

func slirpBridge(s *stage) error {
	// In podman's own mounts /etc is another one, and with it Debian's /etc/alternatives, where iptables is.
	if !found("xtables-nft-multi") {
		return leftOut("iptables is not there, which podman's own bridges need")
	}
	s.user.sh("mkdir -p sbin; for name in iptables ip6tables; do ln -sf /usr/sbin/xtables-nft-multi sbin/$name; done")
	admin := s.user.with("PATH=" + s.bin + ":" + s.home + "/sbin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
	admin.run("podman", "network", "create", "bridged")
	r := admin.try("podman", "run", "--rm", "--network", "bridged", "localhost/box", "busybox", "wget", "-qO-", "http://"+s.addr("WEB4")+"/")
	said := r.All()
	if r.Code != 0 && (strings.Contains(said, "iptables") || strings.Contains(said, "nft")) {
		s.user.sh(slirpEach("*/slirp4netns", "kill $pid")) // podman leaves it
		return leftOut("podman's own bridges do not work here: %s", lastLine(said))
	}
	s.mustHold(said, "hello from the internet")
	slirpGone(s)
	admin.run("podman", "run", "-d", "--name", "web", "--network", "bridged", "-p", "8000:80", "localhost/box", "/bin/interop", roleArgument, "slirp-peer", ":80")
	s.wait("the published port", func() error {
		s.client.run(s.role("slirp-ask", "tcp", s.addr("HOST4")+":8000")...)
		return nil
	})
	admin.run("podman", "rm", "-f", "-t0", "web")
	admin.run("podman", "network", "rm", "-f", "bridged")
	slirpGone(s)
	return nil
}

// slirpConfigured is what docs/integrations.md says: a name for the program that is not in PATH.
func slirpConfigured(s *stage) error {
	s.user.sh(`mkdir -p .local/lib/footbridge; ln -sf "$(command -v footbridge)" .local/lib/footbridge/slirp4netns`)
	path := filepath.Join(s.home, ".local/lib/footbridge/slirp4netns")
	conf := s.write("containers.conf", "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nnetwork_cmd_path = \""+path+"\"\n", 0o644)
	bin := s.folder("elsewhere")
	user := s.user.with("CONTAINERS_CONF="+conf, "PATH="+bin+":/usr/local/bin:/usr/bin:/bin")
	if out := user.run("podman", "info", "--format", "{{.Host.Slirp4NetNS.Executable}}"); out != path {
		return fmt.Errorf("podman starts %s", out)
	}
	user.run("podman", "run", "-d", "--name", "web", "--network", "slirp4netns:port_handler=slirp4netns", "-p", "8000:80", "localhost/box", "/bin/interop", roleArgument, "slirp-peer", ":80")
	s.mustHold(s.user.sh(slirpEach("*/slirp4netns", `readlink /proc/$pid/exe`)), "/footbridge")
	if out := s.client.run(s.role("slirp-ask", "tcp", s.addr("HOST4")+":8000")...); out != s.addr("CLIENT4") {
		return fmt.Errorf("the server sees %q", out)
	}
	user.run("podman", "rm", "-f", "-t0", "web")
	slirpGone(s)
	return nil
}

const slirpContainerfile = `FROM localhost/box
RUN ip addr show tap0 && busybox wget -qO- http://web.example.test/ && ip route
`

func slirpPodmanBuild(s *stage) error {
	dir := s.folder("context")
	s.write(filepath.Join(dir, "Containerfile"), slirpContainerfile, 0o644)
	s.mustHold(s.user.in(dir).run("podman", "build", "--no-cache", "--isolation", "rootless", "-t", "built", "."), "inet 10.0.2.100/24", "default via 10.0.2.2", "hello from the internet")
	slirpGone(s)
	return nil
}

func slirpBuildah(s *stage) error {
	dir := s.folder("context")
	s.write(filepath.Join(dir, "Containerfile"), slirpContainerfile, 0o644)
	s.mustHold(s.user.in(dir).run("buildah", "bud", "--no-cache", "--isolation", "rootless", "-t", "built", "."), "inet 10.0.2.100/24", "default via 10.0.2.2", "hello from the internet")
	from := lastLine(s.user.run("buildah", "from", "localhost/box"))
	s.mustHold(s.user.run("buildah", "run", "--isolation", "rootless", from, "sh", "-c", "cat /etc/resolv.conf; busybox wget -qO- http://"+s.addr("WEB4")+"/"), "nameserver 10.0.2.3", "hello from the internet")
	s.user.run("buildah", "rm", from)
	slirpGone(s)
	return nil
}

// slirpKitVersion is a RootlessKit that can detach the network namespace.
const slirpKitVersion = "github.com/rootless-containers/rootlesskit/v3/cmd/rootlesskit@v3.3.0"

// slirpNewKit builds that one, which Debian does not have.
func slirpNewKit(s *stage) string {
	path := filepath.Join(s.bin, "rootlesskit3")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	dir := s.cache("rootlesskit-3.3.0")
	built := filepath.Join(dir, "rootlesskit")
	if _, err := os.Stat(built); err != nil {
		cmd := exec.Command("go", "install", "-trimpath", slirpKitVersion)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+dir, "GOFLAGS=-mod=mod")
		if out, err := cmd.CombinedOutput(); err != nil {
			s.skip("%s could not be built: %v: %s", slirpKitVersion, err, lastLine(string(out)))
		}
	}
	if err := copyProgram(built, path); err != nil {
		s.fail("%w", err)
	}
	return path
}

// slirpKit runs a server below RootlessKit, which makes the interface itself and sets it up.
func slirpKit(s *stage, rootlesskit, driver string, detached bool) error {
	args := []string{rootlesskit, "--state-dir", s.folder("kit") + "/state", "--net=slirp4netns", "--mtu=65520", "--copy-up=/etc", "--disable-host-loopback",
		"--ipv6", "--port-driver=" + driver, "-p", "0.0.0.0:8000:80/tcp", "-p", "0.0.0.0:8000:80/udp"}
	enter := ""
	if detached {
		args, enter = append(args, "--detach-netns", "--slirp4netns-sandbox=auto", "--slirp4netns-seccomp=auto"), "nsenter -n$ROOTLESSKIT_STATE_DIR/netns "
	} else {
		args = append(args, "--slirp4netns-sandbox=true", "--slirp4netns-seccomp=true")
	}
	s.user.sh("rm -rf kit/state")
	inside := enter + "ip addr show tap0; " + enter + "ip route; " + enter + "curl -sS --max-time 5 http://web.example.test/; " + enter + "busybox nslookup web.example.test 10.0.2.3; " +
		enter + "ping -c1 -W5 10.0.2.2; exec " + enter + strings.Join(s.role("slirp-peer", ":80"), " ")
	kit := s.user.start(append(args, "sh", "-c", inside)...)
	kit.expect("listening")
	s.mustHold(kit.said(), "inet 10.0.2.100/24", "mtu 65520", "default via 10.0.2.2", "hello from the internet", "Address: "+s.addr("WEB4"), "1 received")
	seen := s.addr("CLIENT4")
	for _, network := range []string{"tcp", "udp"} {
		var out string
		s.wait("the published port", func() error {
			out = s.client.run(s.role("slirp-ask", network, s.addr("HOST4")+":8000")...)
			return nil
		})
		if driver == "slirp4netns" && !strings.HasPrefix(out, seen) {
			return fmt.Errorf("the server sees %q, not %q", out, seen)
		}
	}
	kit.signal(syscall.SIGTERM)
	if !world.Poll(waitLimit, kit.done) {
		return errors.New("rootlesskit does not end")
	}
	slirpGone(s)
	return nil
}

// slirpDetached does what RootlessKit would do for a detached namespace, with the sandbox that it refuses there.
func slirpDetached(s *stage) error {
	holder := s.user.start("unshare", "-Urnm", "sh", "-c", "touch ns; mount --bind /proc/self/ns/net ns; echo $$; exec unshare -n sleep 1000")
	holder.expect("\n")
	pid := strings.TrimSpace(holder.said())
	enter := "nsenter --preserve-credentials -U -n/proc/" + pid + "/root" + s.home + "/ns -t" + pid + " "
	run := s.user.start("slirp4netns", "--mtu", "65520", "-c", "--enable-sandbox", "--enable-seccomp", "--userns-path=/proc/"+pid+"/ns/user",
		"--netns-type=path", "/proc/"+pid+"/root"+s.home+"/ns", "tap0")
	run.expect("Recommended IP:  10.0.2.100")
	if out := s.user.sh(enter + "curl -sS --max-time 5 http://" + s.addr("WEB4") + "/"); out != "hello from the internet" {
		return fmt.Errorf("%q", out)
	}
	holder.stop()
	if !world.Poll(waitLimit, run.done) {
		return errors.New("it does not end with its namespace")
	}
	slirpGone(s)
	return nil
}
