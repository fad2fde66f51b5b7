package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// The cells of part_netavark.go.

func netavarkCreate(s *stage) error {
	s.podmanCreate("chosen")
	s.podmanCreate("--subnet", "10.91.7.0/24", "--gateway", "10.91.7.9", "--ipv6", "--label", "a=b", "--dns", s.addr("DNS4"), "-o", "mtu=1400", "-o", "isolate=true", "asked")
	var n []struct {
		Subnets []struct{ Subnet, Gateway string }
		IPv6    bool `json:"ipv6_enabled"`
		DNS     bool `json:"dns_enabled"`
	}
	if err := json.Unmarshal([]byte(s.podman("network", "inspect", "chosen", "asked")), &n); err != nil {
		return err
	}
	if len(n) != 2 || len(n[0].Subnets) != 1 || len(n[1].Subnets) != 2 || n[1].Subnets[0].Gateway != "10.91.7.9" || !n[1].IPv6 || !n[1].DNS {
		return fmt.Errorf("podman has: %+v", n)
	}
	s.podmanNothing() // until a container comes
	if got := s.podmanRun("asked", "cat /sys/class/net/eth0/mtu; wget -T 5 -q -O - http://web.example.test/"); got != "1400\nhello from the internet" {
		return fmt.Errorf("the MTU, and what is known by the name server: %s", got)
	}
	s.podman("network", "update", "--dns-drop", s.addr("DNS4"), "asked")
	s.footbridge("network", "create", "--subnet", "10.92.0.0/24", "own")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"overlaps", []string{"--subnet", "10.92.0.128/25"}},
		{"not available with the driver footbridge", []string{"--interface-name", "br0"}},
		{"not available with the driver footbridge", []string{"--ipam-driver", "none"}},
		{"two subnets of a family", []string{"--subnet", "10.91.8.0/24", "--subnet", "10.91.9.0/24"}},
		{"unknown network option", []string{"-o", "colour=red"}},
		{"invalid MTU", []string{"-o", "mtu=banana"}},
		{"-o isolate=false is not available", []string{"-o", "isolate=false"}},
	} {
		s.mustHold(s.user.refuse(append(append([]string{"podman", "network", "create", "--driver", "footbridge"}, c.args...), "refused")...), c.want)
	}
	s.mustHold(s.user.refuse("podman", "network", "create", "--driver", "footbridge", "own"), "already exists", "footbridge network rm own")
	s.user.refuse("podman", "network", "inspect", "refused")
	s.footbridge("network", "rm", "own")
	return nil
}

func netavarkNames(s *stage) error {
	s.podmanCreate("--subnet", "10.91.1.0/24", "--ipv6", "n")
	s.web("a", "--network", "n:ip=10.91.1.77,mac=02:aa:bb:cc:dd:ee,alias=other,interface_name=lan0")
	s.mustHold(s.podman("exec", "a", "ip", "addr", "show", "lan0"), "10.91.1.77/24", "02:aa:bb:cc:dd:ee")
	s.mustHold(s.podman("inspect", "-f", "{{json .NetworkSettings.Networks}}", "a"), `"IPAddress":"10.91.1.77"`, `"MacAddress":"02:aa:bb:cc:dd:ee"`)
	for _, name := range []string{"a", "other", "10.91.1.77", "a.n"} {
		if got := s.podmanRun("n", "wget -T 5 -q -O - http://"+name+"/"); got != "a" {
			return fmt.Errorf("http://%s/ says %q", name, got)
		}
	}
	s.mustHold(s.podmanRun("n", "wget -T 5 -q -O - http://"+s.addr("WEB4")+"/ && wget -T 5 -q -O - http://web.example.test/"), "hello from the internet")
	s.mustHold(s.podmanRun("n", "nslookup -type=aaaa a."), "fd")
	s.mustHold(s.podmanRun("n", "nslookup host.containers.internal."), "10.91.1.1")
	return nil
}

func netavarkApart(s *stage) error {
	s.podmanCreate("--subnet", "10.91.2.0/24", "n")
	s.podmanCreate("m")
	s.podmanCreate("--internal", "inside")
	s.podmanCreate("--disable-dns", "nameless")
	s.web("a", "--network", "n:ip=10.91.2.2")
	if got := s.podmanRun("m", "wget -T 2 -q -O - http://10.91.2.2/ || nslookup a || echo apart"); !strings.HasSuffix(got, "apart") {
		return fmt.Errorf("another network: %s", got)
	}
	s.web("b", "--network", "inside")
	got := s.podmanRun("inside", "wget -T 2 -q -O - http://b/; wget -T 2 -q -O - http://"+s.addr("WEB4")+"/ 2>&1 || echo closed")
	s.mustHold(got, "b\n", "closed")
	s.mustHold(s.podmanRun("nameless", "wget -T 2 -q -O - http://web.example.test/"), "hello from the internet")
	return nil
}

func netavarkPorts(s *stage) error {
	s.podmanCreate("--ipv6", "n")
	s.web("a", "--network", "n", "-p", "8000-8001:80-81", "-p", "127.0.0.1:8002:80", "-p", "5300:53/udp")
	s.client.served("http://"+s.addr("HOST4")+":8000/", "a")
	s.client.served("http://["+s.addr("HOST6")+"]:8000/", "a")
	s.wait("the log to name the clients", func() error {
		s.mustHold(s.user.try("podman", "logs", "a").All(), "[::ffff:"+s.addr("CLIENT4")+"]", "["+s.addr("CLIENT6")+"]")
		return nil
	})
	if got := s.user.run("busybox", "wget", "-T", "5", "-q", "-O", "-", "http://127.0.0.1:8002/"); got != "a" {
		return fmt.Errorf("over the host's loopback: %s", got)
	}
	if r := s.client.try("curl", "-sS", "--max-time", "3", "http://"+s.addr("HOST4")+":8002/"); r.Code == 0 {
		return errors.New("a port of the host's loopback is reached from another machine")
	}
	s.mustHold(s.podman("port", "a"), "80/tcp -> 0.0.0.0:8000", "53/udp -> 0.0.0.0:5300")
	s.mustHold(s.footbridge("port", "a"), "80/tcp -> 0.0.0.0:8000", "53/udp -> 0.0.0.0:5300")
	s.mustHold(s.user.refuse("podman", "run", "--rm", "--network", "n", "-p", "8000:80", imageName, "true"), "port is already allocated", `container "a"`)
	s.podman("rm", "-f", "-t", "0", "a")
	s.web("b", "--network", "n", "-p", "8000:80")
	s.client.served("http://"+s.addr("HOST4")+":8000/", "b")
	s.podmanClean()
	s.podmanClean()
	s.wait("the port forwarders' end", func() error {
		if r := s.root.look("pidof", "rootlessport"); r.Code == 0 {
			return fmt.Errorf("%s", r.Out)
		}
		return nil
	})
	return nil
}

func netavarkConnect(s *stage) error {
	s.podmanCreate("n")
	s.podmanCreate("--subnet", "10.91.3.0/24", "m")
	url := "http://" + s.addr("HOST4") + ":8000/"
	s.web("a", "--network", "n", "-p", "8000:80")
	s.client.served(url, "a")
	s.podman("network", "connect", "--ip", "10.91.3.99", "--alias", "second", "m", "a")
	s.mustHold(s.podman("exec", "a", "ip", "addr", "show", "eth1"), "10.91.3.99/24")
	if got := s.podmanRun("m", "wget -T 5 -q -O - http://second/"); got != "a" {
		return fmt.Errorf("by its alias on the other network: %q", got)
	}
	s.client.served(url, "a")
	s.podman("network", "disconnect", "n", "a")
	s.client.served(url, "a")
	s.podman("network", "disconnect", "m", "a")
	s.podmanNothing()
	if r := s.client.try("curl", "-sS", "--max-time", "3", url); r.Code == 0 {
		return errors.New("the port of a container without networks is open")
	}
	s.podman("network", "connect", "n", "a")
	s.client.served(url, "a")
	s.mustHold(s.user.refuse("podman", "network", "rm", "n"), "network is being used")
	s.podman("network", "reload", "a")
	if got := s.podmanRun("n", "wget -T 5 -q -O - http://a/"); got != "a" {
		return fmt.Errorf("after network reload: %q", got)
	}
	return nil
}

func netavarkKinds(s *stage) error {
	s.podmanCreate("n")
	s.podmanCreate("--subnet", "fd00:91::/64", "six")
	s.web("a", "--network", "n", "--network", "six:interface_name=six0")
	s.mustHold(s.podman("exec", "a", "ip", "-6", "addr", "show", "six0"), "fd00:91::2/64")
	s.mustHold(s.podmanRun("six", "wget -T 5 -q -O - 'http://[fd00:91::2]/'"), "a")
	s.podman("pod", "create", "--name", "pod", "--network", "n", "-p", "8000:80", "--infra-image", imageName, "--infra-command", "sleep infinity")
	s.web("b", "--pod", "pod")
	s.client.served("http://"+s.addr("HOST4")+":8000/", "b")
	s.mustHold(s.podmanRun("n", "wget -T 5 -q -O - http://a/; wget -T 5 -q -O - http://pod/ || nslookup pod"), "a\n")
	for _, userns := range []string{"keep-id", "auto"} {
		got := s.podman("run", "--rm", "--network", "n", "--userns", userns, "-p", "8001:80", imageName, "wget", "-T", "5", "-q", "-O", "-", "http://a/")
		if got != "a" {
			return fmt.Errorf("--userns %s: %q", userns, got)
		}
	}
	return nil
}

func netavarkRestart(s *stage) error {
	s.podmanCreate("n")
	url := "http://" + s.addr("HOST4") + ":8000/"
	s.web("a", "--network", "n", "-p", "8000:80", "--restart", "always")
	for i := range 3 {
		s.client.served(url, "a")
		s.user.sh("kill -9 " + s.podman("inspect", "-f", "{{.State.Pid}}", "a"))
		s.wait("its next start", func() error {
			if n := s.podman("inspect", "-f", "{{.RestartCount}} {{.State.Running}}", "a"); n != fmt.Sprintf("%d true", i+1) {
				return fmt.Errorf("restarts, running: %s", n)
			}
			return nil
		})
	}
	s.client.served(url, "a")
	s.podman("restart", "-t", "0", "a")
	s.client.served(url, "a")
	return nil
}

func netavarkPodmans(s *stage) error {
	s.podmanCreate("n")
	url := "http://" + s.addr("HOST4") + ":8000/"
	// Without footbridge's port forwarder podman's own takes the ports: they work, and show another address.
	plain := s.user.with("CONTAINERS_HELPER_BINARY_DIR=/usr/libexec/podman")
	plain.run("podman", "run", "-d", "--name", "a", "--network", "n", "-p", "8000:80", imageName,
		"sh", "-c", "mkdir /www; echo a >/www/index.html; exec httpd -f -v -p 80 -h /www")
	s.client.served(url, "a")
	s.podman("rm", "-f", "-t", "0", "a")
	// With it, containers on podman's own networks are podman's business.
	s.podman("network", "create", "bridged")
	r := s.user.try("podman", "run", "-d", "--name", "b", "--network", "bridged", "-p", "8000:80", imageName,
		"sh", "-c", "mkdir /www; echo b >/www/index.html; exec httpd -f -v -p 80 -h /www")
	if r.Code != 0 {
		return leftOut("podman's own networks do not work here: %s", lastLine(r.All()))
	}
	s.client.served(url, "b")
	return nil
}

func netavarkGone(s *stage) error {
	s.podmanCreate("n")
	s.web("a", "--network", "n", "-p", "8000:80")
	url := "http://" + s.addr("HOST4") + ":8000/"
	s.client.served(url, "a")
	s.footbridge("daemon", "upgrade")
	s.client.served(url, "a")
	s.user.sh("kill -9 " + s.footbridge("daemon", "status", "--format", "{{.PID}}"))
	s.mustHold(s.user.refuse("podman", "run", "--rm", "--network", "n", imageName, "true"), "no footbridge daemon listens on")
	s.footbridge("network", "ls")
	s.client.served(url, "a")
	if got := s.podmanRun("n", "wget -T 5 -q -O - http://a/"); got != "a" {
		return fmt.Errorf("with the next daemon: %q", got)
	}
	// Ended while there is no daemon: the next one notices.
	s.footbridge("daemon", "stop")
	s.podman("rm", "-f", "-t", "0", "a")
	s.footbridge("network", "ls")
	s.wait("the end of what is gone", func() error {
		if left := s.footbridge("ps", "-aq"); left != "" {
			return fmt.Errorf("left: %s", left)
		}
		return nil
	})
	s.podmanRun("n", "true") // and its network goes with the next container's end
	s.podmanNothing()
	return nil
}

func netavarkRefused(s *stage) error {
	s.podmanCreate("n")
	s.footbridge("run", "-d", "--name", "taken", "sleep", "infinity")
	s.mustHold(s.user.refuse("podman", "run", "--rm", "--name", "taken", "--network", "n", imageName, "true"), "already in use")
	s.mustHold(s.user.refuse("podman", "run", "--rm", "--network", "n:colour=red", imageName, "true"), "unknown driver option")
	s.mustHold(s.user.refuse("podman", "run", "--rm", "--network", "n:ip=192.0.2.77", imageName, "true"), "not in any subnet")
	s.footbridge("rm", "-f", "taken")
	s.podmanCreate("m")
	s.mustHold(s.user.refuse("podman", "run", "--rm", "--network", "n", "--network", "m:colour=red", imageName, "true"), "unknown driver option")
	s.podmanNothing()
	plugin := filepath.Join(s.home, "plugins/footbridge")
	s.mustHold(s.user.run(plugin, "info"), `"api_version":"1.0.0"`)
	for _, args := range [][]string{{"setup", "/proc/self/ns/net"}, {"teardown", "/gone"}, {"create"}, {"nonsense"}} {
		r := s.user.reading("{").try(append([]string{plugin}, args...)...)
		if r.Code != 1 || !strings.HasPrefix(r.Out, `{"error":"`) {
			return fmt.Errorf("%v: %d, %s", args, r.Code, r.All())
		}
	}
	return nil
}
