package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

func init() { parts = append(parts, units) }

// units are the files for systemd --user, as make install puts them, under a real service manager.
var units = part{
	name:     "systemd-units",
	packages: []string{"systemd", "make"},
	ids:      true,
	programs: []program{{name: "systemctl", version: []string{"systemctl", "--version"}}, {name: "make"}},
	setup: func(s *stage) error {
		if _, err := placed(s); err != nil {
			return err
		}
		// As whoever installs it so has it in PATH.
		for i, v := range s.user.env {
			if path, ok := strings.CutPrefix(v, "PATH="); ok {
				s.user.env[i] = "PATH=" + s.home + "/.local/bin:" + path
			}
		}
		s.session()
		return nil
	},
	cells: []cell{
		{feature: "systemd-analyze finds no fault", run: func(s *stage) error {
			folder := filepath.Join(s.home, ".local/share/systemd/user")
			// It ends well whatever it has to say.
			s.write(".config/systemd/user/docker.service", "[Service]\nExecStart=/bin/true\n", 0o644)
			r := s.user.try("systemd-analyze", "--user", "verify", folder+"/footbridge.socket", folder+"/footbridge.service", folder+"/footbridge-libnetwork.service")
			if r.Code != 0 || r.All() != "" {
				return fmt.Errorf("exit status %d: %s", r.Code, r.All())
			}
			return nil
		}},
		{feature: "a connection starts the daemon, which says when it is ready", run: func(s *stage) error {
			s.user.run("systemctl", "--user", "daemon-reload")
			s.user.run("systemctl", "--user", "start", "footbridge.socket")
			if state := unitProperty(s, "ActiveState"); state != "inactive" {
				return fmt.Errorf("nobody has connected, and the service is %s", state)
			}
			s.footbridge("network", "create", "n")
			if state := unitProperty(s, "ActiveState"); state != "active" {
				return fmt.Errorf("the daemon serves, and its service is %s", state)
			}
			if pid, main := s.footbridge("daemon", "status", "--format", "{{.PID}}"), unitProperty(s, "MainPID"); pid != main {
				return fmt.Errorf("process %s serves, and %s is the service's", pid, main)
			}
			return nil
		}},
		{feature: "killed, it comes back with all that it had", run: func(s *stage) error {
			activated(s)
			s.footbridge("run", "-d", "--name", "web", "-p", "8000:80", "busybox", "nc", "-ll", "-p", "80", "-e", "echo", "served")
			ask := func() error {
				if r := s.client.try("busybox", "nc", "-w", "5", s.addr("HOST4"), "8000"); r.Out != "served" {
					return fmt.Errorf("it said %q", r.All())
				}
				return nil
			}
			s.wait("an answer", ask)
			if kept, err := strconv.Atoi(unitProperty(s, "NFileDescriptorStore")); err != nil || kept < 3 {
				return fmt.Errorf("systemd keeps %d descriptors, %v", kept, err)
			}
			before := unitProperty(s, "MainPID")
			s.user.run("systemctl", "--user", "kill", "--signal=KILL", "--kill-who=main", "footbridge.service")
			s.wait("another process", func() error {
				if now := unitProperty(s, "MainPID"); now == before || now == "0" || unitProperty(s, "ActiveState") != "active" {
					return fmt.Errorf("process %s, %s", now, unitProperty(s, "ActiveState"))
				}
				return nil
			})
			if name := s.footbridge("ps", "--format", "{{.Names}}"); name != "web" {
				return fmt.Errorf("containers: %q", name)
			}
			s.wait("an answer of the container that has lived on", ask)
			s.footbridge("rm", "-f", "web")
			return nil
		}},
		{feature: "reload puts the installed program in its place", run: func(s *stage) error {
			activated(s)
			s.footbridge("run", "-d", "--name", "kept", "sleep", "infinity")
			before := unitProperty(s, "MainPID")
			s.user.run("systemctl", "--user", "reload", "footbridge.service")
			if now := unitProperty(s, "MainPID"); now != before {
				return fmt.Errorf("process %s has become %s", before, now)
			}
			if state := s.footbridge("inspect", "-f", "{{.State.Status}}", "kept"); state != "running" {
				return fmt.Errorf("the container is %s", state)
			}
			s.footbridge("rm", "-f", "kept")
			return nil
		}},
		{feature: "stopped, it leaves containers alone; the next command starts it", run: func(s *stage) error {
			activated(s)
			s.footbridge("run", "-d", "--name", "alone", "sleep", "infinity")
			pid, err := strconv.Atoi(s.footbridge("inspect", "-f", "{{.State.Pid}}", "alone"))
			if err != nil {
				return err
			}
			s.user.run("systemctl", "--user", "stop", "footbridge.service")
			if r := s.user.look("kill", "-0", strconv.Itoa(pid)); r.Code != 0 {
				return fmt.Errorf("the container has ended: %s", r.All())
			}
			if state := s.footbridge("inspect", "-f", "{{.State.Status}}", "alone"); state != "running" {
				return fmt.Errorf("the container is %s", state)
			}
			if state := unitProperty(s, "ActiveState"); state != "active" {
				return fmt.Errorf("the service is %s", state)
			}
			s.footbridge("rm", "-f", "alone")
			s.user.run("systemctl", "--user", "stop", "footbridge.socket", "footbridge.service")
			return nil
		}},
	},
}

// activated makes sure that the socket is there, so that no command starts a daemon beside systemd's.
func activated(s *stage) {
	s.user.run("systemctl", "--user", "start", "footbridge.socket")
}

func unitProperty(s *stage, name string) string {
	return s.user.look("systemctl", "--user", "show", "--value", "-p", name, "footbridge.service").Out
}
