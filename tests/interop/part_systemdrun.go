package main

import (
	"fmt"
	"strings"
)

func init() { parts = append(parts, systemdRun) }

var systemdRun = part{
	name:     "systemd-run",
	packages: []string{"systemd"},
	programs: []program{{name: "systemd-run", version: []string{"systemd-run", "--version"}}, {name: "systemctl"}},
	ids:      true, // and a control group, which only root can give where no systemd runs
	setup:    func(s *stage) error { s.session(); return nil },
	cells: []cell{
		{feature: "docs/systemd-run.md does what it shows", run: func(s *stage) error { return s.page("systemd-run.md", "") }},
		{feature: "docs/integrations.md does what it shows", run: func(s *stage) error {
			s.user.run("systemctl", "--user", "stop", "web")
			return s.page("integrations.md", "systemd")
		}},
		{feature: "a refused attachment fails the service", run: func(s *stage) error {
			s.write(".config/systemd/user/wrong.service", strings.Join([]string{
				"[Service]", "Type=exec", "PrivateUsers=yes", "PrivateNetwork=yes", "ExecStart=sleep infinity",
				"ExecStartPost=+" + s.bin + "/footbridge attach --pid $MAINPID --name wrong --network there-is-none",
				"StandardError=file:%h/wrong.log", "",
			}, "\n"), 0o644)
			s.user.run("systemctl", "--user", "daemon-reload")
			s.user.refuse("systemctl", "--user", "start", "wrong")
			if said := s.user.run("cat", s.home+"/wrong.log"); !strings.HasPrefix(said, "footbridge: ") || !strings.Contains(said, "there-is-none") {
				return fmt.Errorf("footbridge said %q", said)
			}
			if left := s.footbridge("ps", "-aq", "--filter", "name=wrong"); left != "" {
				return fmt.Errorf("the refused service left %s", left)
			}
			return nil
		}},
	},
}
