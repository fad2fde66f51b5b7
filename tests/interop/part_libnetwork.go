package main

import (
	"errors"
	"fmt"
	"strings"
)

func init() { parts = append(parts, libnetwork) }

// Docker without root uses footbridge as a network driver of its own: dockerd runs in RootlessKit's namespaces, and
// `footbridge libnetwork-plugin` makes the interfaces that dockerd moves to its containers.
var libnetwork = part{
	name:     "dockerd",
	packages: []string{"docker.io", "rootlesskit", "slirp4netns", "iptables"},
	ids:      true,
	programs: []program{
		{name: "dockerd", version: []string{"dockerd", "--version"}},
		{name: "rootlesskit", version: []string{"rootlesskit", "--version"}},
	},
	setup: startDockerd,
	cells: []cell{
		{feature: "network create, inspect and rm", run: fresh(dockerdNetworks)},
		{feature: "run: addresses, routes and names", run: fresh(dockerdRun)},
		{feature: "run: the outside, and containers of footbridge's", run: fresh(dockerdReach)},
		{feature: "run -p: published ports with source addresses", run: fresh(dockerdPublish)},
		{feature: "run on a network of footbridge's", run: fresh(dockerdShared)},
		{feature: "networks do not reach each other", run: fresh(dockerdIsolation)},
		{feature: "network connect and disconnect", run: fresh(dockerdConnect)},
		{feature: "stop, start, restart and rm", run: fresh(dockerdLives)},
		{feature: "an internal network", run: fresh(dockerdInternal)},
		{feature: "IPv6", run: fresh(dockerdIPv6)},
		{feature: "refusals arrive, and leave nothing", run: fresh(dockerdRefusals)},
		{feature: "footbridge's daemon is killed, its worker, the plugin", run: fresh(dockerdCrashes)},
		{feature: "the plugin inside of RootlessKit's namespaces", run: fresh(dockerdInside)},
		{feature: "docs/integrations.md does what it shows", run: fresh(dockerdPage)},
		{feature: "the end of dockerd is the end of its attachments", run: fresh(dockerdEnd)},
	},
}

const dockerdState = "/run/user/1000/dockerd-rootless"

// rootless is the user with Docker's command at his own dockerd.
func (s *stage) rootless() place { return s.user.with("DOCKER_HOST=unix:///run/user/1000/docker.sock") }

// startDockerd starts dockerd, without a firewall program in it, and the plugin beside it. Both live as long as the part.
func startDockerd(s *stage) error {
	s.user.with("DOCKERD_ROOTLESS_ROOTLESSKIT_FLAGS=--state-dir=" + dockerdState).sh(`
		setsid sh /usr/share/docker.io/contrib/dockerd-rootless.sh --storage-driver=vfs --iptables=false --ip6tables=false \
			>dockerd.log 2>&1 </dev/null &
	`)
	s.wait("dockerd", func() error {
		if r := s.rootless().look("docker", "version"); r.Code != 0 {
			return fmt.Errorf("%s\n%s", r.All(), s.user.look("tail", "-n", "5", "dockerd.log").All())
		}
		return nil
	})
	s.rootless().run("docker", "load", "-i", s.image())
	startPlugin(s)
	return nil
}

func startPlugin(s *stage) {
	s.user.sh(`setsid footbridge libnetwork-plugin --verbose >plugin.log 2>&1 </dev/null & echo $! >plugin.pid`)
	s.wait("the plugin", func() error {
		if r := s.user.look("tail", "-n", "1", "plugin.log"); !strings.Contains(r.Out, "listening on") {
			return errors.New(r.All())
		}
		return nil
	})
}

// endPlugin ends the plugin and waits for it.
func endPlugin(s *stage) {
	s.user.sh(`kill $(cat plugin.pid)`)
	s.wait("the plugin's end", func() error {
		if r := s.user.look("sh", "-c", "kill -0 $(cat plugin.pid)"); r.Code == 0 {
			return errors.New("it is still there")
		}
		return nil
	})
}

// dockerOfDaemon is Docker's command of dockerd's own version; there may be another one in front of it.
const dockerOfDaemon = "/usr/bin/docker"

// dockerd is Docker's command at dockerd.
func (s *stage) dockerd() command { return command{s, dockerOfDaemon, s.rootless()} }

// docker runs one of its commands; the cell fails if it does.
func (s *stage) docker(args ...string) string { return s.dockerd().run(args...) }

// dockerRun runs a container of Docker's to its end, or in the background with -d, on a network.
func (s *stage) dockerRun(network string, args ...string) string {
	return s.docker(append([]string{"run", "--network", network}, args...)...)
}

// fetch is a line of shell that prints what is at an address. busybox's wget has no time limit of its own that works.
func fetch(url string) string { return "timeout 5 wget -q -O - '" + url + "'; exit $?" }

// fresh is a cell that finds nothing of the one before, which may have failed.
func fresh(run func(*stage) error) func(*stage) error {
	return func(s *stage) error {
		s.rootless().look("sh", "-c", "docker rm -f $(docker ps -aq); docker network rm n m")
		s.user.look("footbridge", "rm", "-f", "inner", "holder")
		if s.user.look("sh", "-c", "kill -0 $(cat plugin.pid)").Code != 0 {
			startPlugin(s)
		}
		return run(s)
	}
}

// dockerClear removes all containers of Docker's and the networks that are named, and looks that nothing of them is left.
func (s *stage) dockerClear(networks ...string) {
	s.dockerd().removeAll()
	for _, n := range networks {
		s.docker("network", "rm", n)
	}
	s.nothingLeft()
}

// nothingLeft fails the cell if footbridge or dockerd's namespace has something of Docker's.
func (s *stage) nothingLeft() {
	if out := s.footbridge("ps", "-aq", "--filter", "label=com.footbridge.docker.endpoint"); out != "" {
		s.fail("footbridge has containers of Docker's left: %s", out)
	}
	if out := s.footbridge("network", "ls", "-q", "--filter", "label=com.footbridge.docker.network"); out != "" {
		s.fail("footbridge has networks of Docker's left: %s", out)
	}
	if out := s.inDockerd("ip", "-o", "link"); strings.Contains(out, ": fb") {
		s.fail("dockerd's namespace has interfaces left: %s", out)
	}
}

// inDockerd runs a command in RootlessKit's namespaces.
func (s *stage) inDockerd(args ...string) string {
	pid := s.user.look("cat", dockerdState+"/child_pid").Out
	return s.user.run(append([]string{"nsenter", "--preserve-credentials", "-U", "-m", "-n", "-t", pid}, args...)...)
}

func dockerdNetworks(s *stage) error {
	id := s.docker("network", "create", "-d", "footbridge", "--subnet", "10.60.0.0/24", "--gateway", "10.60.0.9", "--aux-address", "printer=10.60.0.2",
		"-o", "com.docker.network.driver.mtu=1400", "n")
	s.mustHold(s.docker("network", "ls"), "footbridge")
	name := "docker-" + id[:12]
	s.mustHold(s.footbridge("network", "inspect", name), `"10.60.0.0/24"`, `"10.60.0.9"`, `"printer": "10.60.0.2"`, id)
	// The first address is the one after the printer's.
	if got := s.dockerRun("n", "--rm", imageName, "sh", "-c", "ip -4 -o addr show eth0; cat /sys/class/net/eth0/mtu"); !strings.Contains(got, "10.60.0.1/24") && !strings.Contains(got, "10.60.0.3/24") || !strings.Contains(got, "1400") {
		return fmt.Errorf("the container has %s", got)
	}
	s.docker("network", "create", "-d", "footbridge", "m")
	s.docker("network", "prune", "-f")
	s.nothingLeft()
	return nil
}

func dockerdRun(s *stage) error {
	s.docker("network", "create", "-d", "footbridge", "--subnet", "10.60.0.0/24", "n")
	s.dockerRun("n", "-d", "--name", "web", "--network-alias", "www", imageName, "httpd", "-f", "-p", "80", "-h", "/etc")
	s.mustHold(s.dockerRun("n", "--rm", "--ip", "10.60.0.77", "--mac-address", "02:42:0a:3c:00:4d", imageName, "ip", "addr"), "10.60.0.77/24", "02:42:0a:3c:00:4d", "eth0")
	s.mustHold(s.dockerRun("n", "--rm", imageName, "ip", "route"), "default via 10.60.0.1 dev eth0")
	s.mustHold(s.dockerRun("n", "--rm", imageName, "sh", "-c", fetch("http://web/passwd")), "root:")
	s.mustHold(s.dockerRun("n", "--rm", imageName, "sh", "-c", fetch("http://www/passwd")), "root:")
	s.mustHold(s.docker("inspect", "-f", "{{json .NetworkSettings.Networks.n}}", "web"), `"IPAddress":"10.60.0.2"`, `"Gateway":"10.60.0.1"`)
	s.mustHold(s.docker("network", "inspect", "n"), "10.60.0.2/24", "web")
	s.mustHold(s.footbridge("ps", "--filter", "label=com.footbridge.docker.endpoint"), "attached", "docker-")
	s.dockerClear("n")
	return nil
}

func dockerdReach(s *stage) error {
	s.docker("network", "create", "-d", "footbridge", "--subnet", "10.60.0.0/24", "n")
	network := s.footbridge("network", "ls", "-q", "--filter", "label=com.footbridge.docker.network")
	// What leaves the container leaves by a socket of the user's, in the host's own namespace.
	s.mustHold(s.dockerRun("n", "--rm", imageName, "sh", "-c", fetch("http://web.example.test/peer")), s.addr("UPLINK4"))
	s.footbridge("run", "-d", "--name", "inner", "--network", network, "--ip", "10.60.0.200", "busybox", "httpd", "-f", "-p", "80", "-h", "/etc")
	s.mustHold(s.dockerRun("n", "--rm", imageName, "sh", "-c", fetch("http://10.60.0.200/passwd")), "root:")
	// footbridge's own resolver knows the names of its containers.
	s.mustHold(s.dockerRun("n", "--rm", imageName, "sh", "-c", fetch("http://inner/passwd")), "root:")
	s.footbridge("rm", "-f", "inner")
	s.dockerClear("n")
	return nil
}

func dockerdPublish(s *stage) error {
	s.docker("network", "create", "-d", "footbridge", "n")
	s.dockerRun("n", "-d", "--name", "web", "-p", "8000:80", "-p", "127.0.0.1:8001:80", "-p", "9000:90/udp", imageName,
		"sh", "-c", "mkdir /tmp/cgi-bin; printf '#!/bin/sh\\necho; echo from $REMOTE_ADDR\\n' >/tmp/cgi-bin/who; chmod +x /tmp/cgi-bin/who; exec httpd -f -p 80 -h /tmp")
	s.wait("an answer from the container", func() error {
		r := s.client.try("curl", "-sS", "--max-time", "3", "http://"+s.addr("HOST4")+":8000/cgi-bin/who")
		if !strings.Contains(r.Out, "from "+s.addr("CLIENT4")) && !strings.Contains(r.Out, "from ::ffff:"+s.addr("CLIENT4")) && !strings.Contains(r.Out, s.addr("CLIENT4")) {
			return errors.New(r.All())
		}
		return nil
	})
	s.mustHold(s.user.run("curl", "-sS", "--max-time", "5", "http://127.0.0.1:8001/cgi-bin/who"), "from ")
	s.client.refuse("curl", "-sS", "--max-time", "5", "http://"+s.addr("HOST4")+":8001/")
	s.mustHold(s.footbridge("ps"), "0.0.0.0:8000->80/tcp", "127.0.0.1:8001->80/tcp", "0.0.0.0:9000->90/udp")
	s.docker("stop", "-t", "1", "web")
	s.client.refuse("curl", "-sS", "--max-time", "5", "http://"+s.addr("HOST4")+":8000/")
	s.docker("start", "web")
	s.client.served("http://"+s.addr("HOST4")+":8000/cgi-bin/who", "")
	s.dockerClear("n")
	return nil
}

func dockerdShared(s *stage) error {
	s.footbridge("network", "create", "--subnet", "10.61.0.0/24", "shared")
	s.footbridge("run", "-d", "--name", "inner", "--network", "shared", "--ip", "10.61.0.200", "busybox", "httpd", "-f", "-p", "80", "-h", "/etc")
	create := func(args ...string) []string {
		return append([]string{"network", "create", "-d", "footbridge", "-o", "com.footbridge.network=shared"}, args...)
	}
	s.mustHold(s.dockerd().refuse(create("--subnet", "10.62.0.0/24", "x")...), "shared has other addresses", "--subnet 10.61.0.0/24 --gateway 10.61.0.1")
	s.docker(create("--subnet", "10.61.0.0/24", "--gateway", "10.61.0.1", "n")...)
	s.mustHold(s.dockerRun("n", "--rm", "--dns", "10.61.0.1", imageName, "sh", "-c", fetch("http://inner/passwd")), "root:")
	s.mustHold(s.dockerd().refuse("run", "--name", "box", "--network", "n", "--ip", "10.61.0.200", imageName, "true"), "10.61.0.200", "inner")
	s.docker("rm", "-f", "box")
	s.docker("network", "rm", "n")
	s.footbridge("network", "inspect", "shared") // which stays
	s.footbridge("rm", "-f", "inner")
	s.footbridge("network", "rm", "shared")
	s.nothingLeft()
	return nil
}

func dockerdIsolation(s *stage) error {
	s.docker("network", "create", "-d", "footbridge", "--subnet", "10.60.0.0/24", "n")
	s.docker("network", "create", "-d", "footbridge", "--subnet", "10.62.0.0/24", "m")
	s.dockerRun("n", "-d", "--name", "web", imageName, "httpd", "-f", "-p", "80", "-h", "/etc")
	s.mustHold(s.dockerRun("n", "--rm", imageName, "sh", "-c", fetch("http://10.60.0.2/passwd")), "root:")
	s.dockerd().refuse("run", "--rm", "--network", "m", imageName, "sh", "-c", fetch("http://10.60.0.2/passwd"))
	s.dockerClear("n", "m")
	return nil
}

func dockerdConnect(s *stage) error {
	s.docker("network", "create", "-d", "footbridge", "--subnet", "10.60.0.0/24", "n")
	s.docker("network", "create", "-d", "footbridge", "--subnet", "10.62.0.0/24", "m")
	s.dockerRun("n", "-d", "--name", "web", imageName, "httpd", "-f", "-p", "80", "-h", "/etc")
	s.dockerRun("m", "-d", "--name", "other", imageName, "sleep", "1000")
	s.docker("network", "connect", "--ip", "10.62.0.50", "m", "web")
	s.mustHold(s.docker("exec", "web", "ip", "addr"), "10.60.0.2/24", "10.62.0.50/24", "eth1")
	s.mustHold(s.docker("exec", "other", "sh", "-c", fetch("http://web/passwd")), "root:")
	s.docker("network", "disconnect", "m", "web")
	s.dockerd().refuse("exec", "other", "sh", "-c", fetch("http://10.62.0.50/passwd"))
	if out := s.docker("exec", "web", "ip", "addr"); strings.Contains(out, "10.62.0.50") {
		return fmt.Errorf("after the disconnect: %s", out)
	}
	// Docker's own driver beside footbridge's.
	s.docker("network", "connect", "bridge", "web")
	s.mustHold(s.docker("exec", "web", "ip", "-4", "addr"), "172.17.0.2")
	s.dockerClear("n", "m")
	return nil
}

func dockerdLives(s *stage) error {
	s.docker("network", "create", "-d", "footbridge", "--subnet", "10.60.0.0/24", "n")
	s.dockerRun("n", "-d", "--name", "web", imageName, "httpd", "-f", "-p", "80", "-h", "/etc")
	answers := func(when string) {
		s.mustHold(s.dockerRun("n", "--rm", imageName, "sh", "-c", fetch("http://web/passwd")), "root:")
	}
	answers("at first")
	s.docker("stop", "-t", "1", "web")
	s.nothingOf("web")
	s.docker("start", "web")
	answers("after stop and start")
	s.docker("restart", "-t", "1", "web")
	answers("after restart")
	s.docker("kill", "web")
	s.wait("the container's end", func() error {
		if out := s.docker("inspect", "-f", "{{.State.Running}}", "web"); out != "false" {
			return errors.New(out)
		}
		return nil
	})
	s.dockerClear("n")
	return nil
}

// nothingOf fails the cell if a container of Docker's that does not run has an endpoint.
func (s *stage) nothingOf(name string) {
	if out := s.footbridge("ps", "-aq", "--filter", "label=com.footbridge.docker.endpoint"); out != "" {
		s.fail("%s is stopped, and footbridge has %s", name, out)
	}
}

func dockerdInternal(s *stage) error {
	s.docker("network", "create", "-d", "footbridge", "--internal", "--subnet", "10.60.0.0/24", "n")
	s.dockerRun("n", "-d", "--name", "web", imageName, "httpd", "-f", "-p", "80", "-h", "/etc")
	s.mustHold(s.dockerRun("n", "--rm", imageName, "sh", "-c", fetch("http://web/passwd")), "root:")
	if out := s.dockerRun("n", "--rm", imageName, "ip", "route"); strings.Contains(out, "default") {
		return fmt.Errorf("an internal network has a way out: %s", out)
	}
	s.dockerd().refuse("run", "--rm", "--network", "n", imageName, "sh", "-c", fetch("http://"+s.addr("WEB4")+"/"))
	s.dockerClear("n")
	return nil
}

func dockerdIPv6(s *stage) error {
	s.docker("network", "create", "-d", "footbridge", "--ipv6", "--subnet", "10.60.0.0/24", "--subnet", "fd60::/64", "n")
	s.dockerRun("n", "-d", "--name", "web", "-p", "8000:80", imageName, "httpd", "-f", "-p", "80", "-h", "/etc")
	s.mustHold(s.docker("exec", "web", "ip", "-6", "addr", "show", "eth0"), "fd60::2/64")
	s.mustHold(s.docker("exec", "web", "ip", "-6", "route"), "default via fd60::1")
	s.mustHold(s.dockerRun("n", "--rm", imageName, "sh", "-c", fetch("http://[fd60::2]/passwd")), "root:")
	s.dockerRun("n", "--rm", imageName, "sh", "-c", fetch("http://["+s.addr("WEB6")+"]/"))
	s.client.run("curl", "-sS", "--max-time", "5", "-o", "/dev/null", "http://["+s.addr("HOST6")+"]:8000/passwd")
	s.dockerClear("n")
	return nil
}

func dockerdRefusals(s *stage) error {
	refuse := s.dockerd().refuse
	s.mustHold(refuse("network", "create", "-d", "footbridge", "-o", "com.example.nonsense=1", "x"), "com.example.nonsense")
	s.mustHold(refuse("network", "create", "-d", "footbridge", "-o", "com.footbridge.network=nobody", "--subnet", "10.63.0.0/24", "x"), "network nobody not found")
	s.mustHold(refuse("network", "create", "-d", "footbridge", "--ipam-driver", "null", "x"), "without addresses")
	s.nothingLeft()
	s.docker("network", "create", "-d", "footbridge", "--subnet", "10.60.0.0/24", "n")
	s.footbridge("run", "-d", "--name", "holder", "-p", "8000:80", "busybox", "sleep", "1000")
	s.mustHold(refuse("run", "--name", "box", "--network", "n", "-p", "8000:80", imageName, "true"), "8000", "holder")
	s.docker("rm", "-f", "box")
	s.nothingOf("box")
	s.mustHold(refuse("run", "--name", "box", "--network", "n", "-p", "132:132/sctp", imageName, "true"), "TCP and UDP")
	s.docker("rm", "-f", "box")
	s.nothingOf("box")
	// dockerd forgets a network whatever its driver says. It goes as soon as footbridge's containers have left it.
	network := s.footbridge("network", "ls", "-q", "--filter", "label=com.footbridge.docker.network")
	s.footbridge("network", "connect", network, "holder")
	s.docker("network", "rm", "n")
	s.mustHold(refuse("network", "create", "-d", "footbridge", "--subnet", "10.60.0.0/24", "n"), "overlaps")
	s.footbridge("rm", "-f", "holder")
	s.docker("network", "create", "-d", "footbridge", "--subnet", "10.60.0.0/24", "n")
	s.dockerClear("n")
	// The plugin's own socket: malformed, unknown.
	pid := s.user.look("cat", dockerdState+"/child_pid").Out
	curl := func(path, body string) string {
		return s.user.run("curl", "-sS", "--unix-socket", "/proc/"+pid+"/root/run/docker/plugins/footbridge.sock", "-d", body, "http://plugin"+path)
	}
	s.mustHold(curl("/Plugin.Activate", "{}"), `"NetworkDriver"`)
	s.mustHold(curl("/NetworkDriver.GetCapabilities", ""), `"Scope":"local"`)
	s.mustHold(curl("/NetworkDriver.CreateNetwork", `{"NetworkID":`), `{"Err":"`, "not understood")
	s.mustHold(curl("/NetworkDriver.CreateNetwork", `{"NetworkID":"../../x"}`), `{"Err":"`, "not the id")
	s.mustHold(curl("/NetworkDriver.Join", `{"NetworkID":"000000000000","EndpointID":"000000000000"}`), `{"Err":"`, "not known here")
	s.mustHold(curl("/NetworkDriver.AllocateNetwork", `{}`), `{"Err":"`, "swarm")
	return nil
}

func dockerdCrashes(s *stage) error {
	s.docker("network", "create", "-d", "footbridge", "--subnet", "10.60.0.0/24", "n")
	s.dockerRun("n", "-d", "--name", "web", "-p", "8000:80", imageName, "httpd", "-f", "-p", "80", "-h", "/etc")
	s.dockerRun("n", "-d", "--name", "box", imageName, "sleep", "1000")
	works := func(after string) {
		s.wait("the network to work "+after, func() error {
			r := s.dockerd().try("exec", "box", "sh", "-c", fetch("http://web/passwd"))
			if r.Code == 0 {
				r = s.client.try("curl", "-sS", "--max-time", "2", "http://"+s.addr("HOST4")+":8000/passwd")
			}
			if r.Code != 0 {
				return errors.New(r.All())
			}
			return nil
		})
	}
	works("at first")
	s.user.sh(`kill -9 $(footbridge daemon status -f '{{.Worker.PID}}')`)
	works("without its first worker")
	s.user.sh(`kill -9 $(footbridge daemon status -f '{{.PID}}')`)
	s.footbridge("network", "ls")
	works("with another daemon")
	s.footbridge("daemon", "upgrade")
	works("after an upgrade")
	endPlugin(s)
	works("without the plugin")
	startPlugin(s)
	s.mustHold(s.dockerRun("n", "--rm", imageName, "sh", "-c", fetch("http://web/passwd")), "root:")
	// An interface that was moved is removed with its endpoint, after all that.
	s.dockerClear("n")
	return nil
}

func dockerdInside(s *stage) error {
	endPlugin(s)
	pid := s.user.look("cat", dockerdState+"/child_pid").Out
	p := s.user.start("nsenter", "--preserve-credentials", "-U", "-m", "-n", "-t", pid, "--wd="+s.home, "footbridge", "libnetwork-plugin", "--verbose")
	p.expect("listening on /run/docker/plugins/footbridge.sock")
	s.docker("network", "create", "-d", "footbridge", "--subnet", "10.60.0.0/24", "n")
	s.dockerRun("n", "-d", "--name", "web", "-p", "8000:80", imageName, "httpd", "-f", "-p", "80", "-h", "/etc")
	s.mustHold(s.dockerRun("n", "--rm", imageName, "sh", "-c", fetch("http://web/passwd")), "root:")
	s.client.served("http://"+s.addr("HOST4")+":8000/passwd", "")
	s.dockerClear("n")
	p.stop()
	startPlugin(s)
	return nil
}

// dockerdPage has a plugin of its own.
func dockerdPage(s *stage) error {
	endPlugin(s)
	s.docker("tag", imageName, "busybox")
	err := s.page("integrations.md", "Docker without root")
	s.user.look("pkill", "-f", "^footbridge libnetwork-plugin$") // in the world, where no others are
	if err != nil {
		return err
	}
	s.wait("the plugin's end", func() error {
		pid := s.user.look("cat", dockerdState+"/child_pid").Out
		if r := s.user.look("test", "!", "-e", "/proc/"+pid+"/root/run/docker/plugins/footbridge.sock"); r.Code != 0 {
			return errors.New("its socket is there")
		}
		return nil
	})
	startPlugin(s)
	return nil
}

// dockerdEnd is the last cell: there is no dockerd after it.
func dockerdEnd(s *stage) error {
	s.docker("network", "create", "-d", "footbridge", "--subnet", "10.60.0.0/24", "n")
	s.dockerRun("n", "-d", "--name", "web", "-p", "8000:80", imageName, "httpd", "-f", "-p", "80", "-h", "/etc")
	s.mustHold(s.footbridge("ps"), "docker-")
	s.user.sh("kill -9 $(cat " + dockerdState + "/child_pid)")
	s.wait("the attachments' end", func() error {
		if out := s.footbridge("ps", "-aq"); out != "" {
			return errors.New(out)
		}
		return nil
	})
	s.wait("the plugin's end", func() error {
		if r := s.user.look("tail", "-n", "1", "plugin.log"); !strings.Contains(r.Out, "dockerd has ended") {
			return errors.New(r.All())
		}
		return nil
	})
	s.client.refuse("curl", "-sS", "--max-time", "5", "http://"+s.addr("HOST4")+":8000/")
	return nil
}
