package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// podman 4 with its CNI backend, without root: it calls the plugin inside a user namespace of its own, with a mount
// and a network namespace in which the daemon is not.

var cniPodmanCells = []cell{
	{feature: "podman: names, isolation, ports with their clients' addresses", needs: []string{"podman"}, run: cniPodmanReach},
	{feature: "podman: static addresses, aliases, connect and disconnect", needs: []string{"podman"}, run: cniPodmanOptions},
	{feature: "podman: what cannot be is refused, and leaves nothing", needs: []string{"podman"}, run: cniPodmanRefused},
	{feature: "podman: the daemon killed and upgraded below its containers", needs: []string{"podman"}, run: cniPodmanSurvives},
}

// podmanRun is the beginning of a podman run.
func podmanRun(args ...string) []string {
	return append([]string{"podman", "run", "--pull=never"}, args...)
}

// cniPodmanClear removes the cell's containers.
func (s *stage) cniPodmanClear() { s.user.try("podman", "rm", "-f", "-a", "-t", "0") }

func cniPodmanReach(s *stage) error {
	defer s.cniPodmanClear()
	s.footbridge("network", "ls") // from inside podman nobody can start the daemon
	s.user.run(podmanRun("-d", "--name", "shop", "--network", "pods", "-p", "18082:80", imageName, "nc", "-ll", "-p", "80", "-e", "sh", "-c", cniServer)...)
	s.wait("an answer to a neighbour, by name", func() error {
		if r := s.user.try(podmanRun("--rm", "--network", "pods", imageName, "sh", "-c", "timeout 10 wget -qO- http://shop/; exit $?")...); r.Code != 0 || r.Out == "" {
			return errors.New(r.All())
		}
		return nil
	})
	shop := s.user.run("podman", "inspect", "-f", "{{.NetworkSettings.Networks.pods.IPAddress}}", "shop")
	if r := s.user.try(podmanRun("--rm", "--network", "more", imageName, "sh", "-c", "timeout 3 wget -qO- http://"+shop+"/; exit $?")...); r.Code == 0 {
		return errors.New("another network reaches it")
	}
	s.user.run(podmanRun("--rm", "--network", "more", imageName, "sh", "-c", "timeout 10 wget -qO- http://"+s.addr("WEB4")+"/; exit $?")...)
	client := netip.MustParseAddr(s.addr("CLIENT4")).As4()
	want := fmt.Sprintf("%02X%02X%02X%02X:", client[3], client[2], client[1], client[0])
	if r := s.client.try("curl", "-sS", "-m", "5", "http://"+s.addr("HOST4")+":18082/"); !strings.Contains(r.Out, want) {
		return fmt.Errorf("want the client as %s: %s", want, r.All())
	}
	s.user.run("podman", "rm", "-f", "-t", "0", "shop")
	s.cniNothing()
	if r := s.client.try("curl", "-sS", "-m", "5", "http://"+s.addr("HOST4")+":18082/"); r.Code == 0 {
		return errors.New("the port is still open")
	}
	return nil
}

func cniPodmanOptions(s *stage) error {
	defer s.cniPodmanClear()
	s.footbridge("network", "ls") // from inside podman nobody can start the daemon
	s.user.run(podmanRun("-d", "--name", "box", "--network", "pods:ip=10.78.0.99,mac=02:00:00:00:00:77,alias=ally", imageName, "sleep", "300")...)
	if got := s.user.run("podman", "exec", "box", "ip", "addr", "show", "eth0"); !strings.Contains(got, "10.78.0.99/24") || !strings.Contains(got, "02:00:00:00:00:77") {
		return fmt.Errorf("the interface is %s", got)
	}
	if r := s.user.try(podmanRun("--rm", "--network", "pods", imageName, "nslookup", "ally.", "10.78.0.1")...); !strings.Contains(r.Out, "10.78.0.99") {
		return fmt.Errorf("the alias is not known: %s", r.All())
	}
	s.user.run("podman", "network", "connect", "more", "box")
	if got := s.user.run("podman", "exec", "box", "ip", "addr"); !strings.Contains(got, "eth0") || !strings.Contains(got, "eth1") {
		return fmt.Errorf("connected, the interfaces are %s", got)
	}
	s.user.run("podman", "network", "disconnect", "more", "box")
	if got := s.user.run("podman", "exec", "box", "ip", "addr"); !strings.Contains(got, "eth0") || strings.Contains(got, "eth1") {
		return fmt.Errorf("disconnected, the interfaces are %s", got)
	}
	// podman 4.3 forgets to tell of the end of a container that was disconnected from something. The namespace is gone all
	// the same.
	s.user.try("podman", "rm", "-f", "-t", "0", "box")
	s.cniNothing()
	return nil
}

func cniPodmanRefused(s *stage) error {
	defer s.cniPodmanClear()
	s.footbridge("network", "ls") // from inside podman nobody can start the daemon
	s.user.start("busybox", "nc", "-ll", "-p", "18083", "-e", "true")
	s.wait("a port is taken", func() error {
		if r := s.user.try("ss", "-Hltn", "sport = :18083"); r.Out == "" {
			return errors.New("nobody listens")
		}
		return nil
	})
	for said, args := range map[string][]string{
		"18083":     {"--network", "pods", "-p", "18083:80"},
		"10.99.0.1": {"--network", "pods:ip=10.99.0.1"},
	} {
		if r := s.user.refuse(podmanRun(append(append([]string{"--rm"}, args...), imageName, "true")...)...); !strings.Contains(r, said) {
			return fmt.Errorf("%s: it says %s", strings.Join(args, " "), r)
		}
	}
	s.cniNothing()
	// A process of podman's container is not podman: whatever it sees, the daemon does not serve it.
	socket := "/run/user/1000/footbridge/footbridge.sock"
	r := s.user.try(podmanRun("--rm", "--network", "none", "-v", "/run/user/1000/footbridge:/run/user/1000/footbridge", "-v", s.bin+":/programs:ro", "--security-opt", "label=disable",
		"-e", "XDG_RUNTIME_DIR=/run/user/1000", "-e", "HOME=/root", imageName, "/programs/footbridge", "network", "create", "intruder")...)
	if r.Code == 0 || !strings.Contains(s.footbridge("network", "ls"), "bridge") || strings.Contains(s.footbridge("network", "ls"), "intruder") {
		return fmt.Errorf("a container used %s: %s", socket, r.All())
	}
	return nil
}

func cniPodmanSurvives(s *stage) error {
	defer s.cniPodmanClear()
	s.footbridge("network", "ls") // from inside podman nobody can start the daemon
	s.user.run(podmanRun("-d", "--name", "shop", "--network", "pods", "-p", "18084:80", imageName, "sh", "-c", "mkdir /w; echo sold >/w/index.html; exec httpd -f -p 80 -h /w")...)
	port := "http://" + s.addr("HOST4") + ":18084/"
	s.client.served(port, "sold")
	before := s.footbridge("ps", "--no-trunc", "--format", "{{.ID}} {{.Ports}}")
	s.footbridge("daemon", "upgrade")
	s.client.served(port, "sold")
	killed := s.footbridge("daemon", "status", "--format", "{{.PID}}")
	s.user.run("kill", "-9", killed)
	s.footbridge("network", "ls") // whoever comes next starts the next one
	if next := s.footbridge("daemon", "status", "--format", "{{.PID}}"); next == killed {
		return fmt.Errorf("daemon %s was not killed", killed)
	}
	s.client.served(port, "sold")
	if after := s.footbridge("ps", "--no-trunc", "--format", "{{.ID}} {{.Ports}}"); after != before {
		return fmt.Errorf("before it was %s, now it is %s", before, after)
	}
	s.user.run("podman", "rm", "-f", "-t", "0", "shop")
	s.cniNothing()
	return nil
}
