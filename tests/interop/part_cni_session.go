package main

import (
	"errors"
	"fmt"
	"strings"
)

// The CNI plugin where the user has a service manager, as after a login: from inside podman's user namespace that one is
// asked for the daemon.

func init() {
	parts = append(parts, part{
		name: "cni-session", packages: append([]string{"systemd", "dbus"}, cni.packages...), ids: true,
		programs: []program{{name: "podman", version: []string{"podman", "--version"}}, {name: "systemd-run", version: []string{"systemd-run", "--version"}}},
		setup: func(s *stage) error {
			s.session()
			return cniSetup(s)
		},
		cells: []cell{{feature: "podman: the first container starts the daemon", run: cniSessionStarts}},
	})
}

func cniSessionStarts(s *stage) error {
	if r := s.user.try("footbridge", "daemon", "status"); r.Code == 0 {
		return errors.New("there is a daemon already")
	}
	defer s.cniPodmanClear()
	s.user.run(podmanRun("-d", "--name", "first", "--network", "pods", imageName, "sleep", "300")...)
	if got := s.user.run("podman", "exec", "first", "ip", "addr", "show", "eth0"); !strings.Contains(got, "10.78.0.") {
		return fmt.Errorf("the interface is %s", got)
	}
	s.user.run(podmanRun("--rm", "--network", "pods", imageName, "sh", "-c", "timeout 10 wget -qO- http://"+s.addr("WEB4")+"/; exit $?")...)
	if got := s.user.run("systemctl", "--user", "is-active", "footbridge-once.service"); got != "active" {
		return fmt.Errorf("its unit is %s", got)
	}
	return nil
}
