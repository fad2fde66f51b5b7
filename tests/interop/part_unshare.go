package main

import (
	"fmt"
	"strings"
)

func init() { parts = append(parts, unshare) }

var unshare = part{
	name:     "unshare",
	packages: []string{"util-linux"},
	programs: []program{{name: "unshare", version: []string{"unshare", "--version"}}, {name: "nsenter"}},
	cells: []cell{
		{feature: "docs/unshare.md does what it shows", run: func(s *stage) error { return s.page("unshare.md", "") }},
		{feature: "a namespace kept by a mount is attached by its path", run: func(s *stage) error {
			s.footbridge("network", "create", "kept")
			file := s.write("kept", "", 0o600)
			// The outer command keeps the mount namespace in which the file is the namespace.
			keeper := s.user.start("unshare", "--user", "--map-root-user", "--mount", "sh", "-euc",
				"unshare --net="+file+" true; echo kept; exec sleep infinity")
			keeper.expect("kept")
			path := fmt.Sprintf("/proc/%d/root%s", keeper.pid, file)
			s.footbridge("attach", "--netns", path, "--name", "kept", "--network", "kept")
			out := s.user.run("nsenter", "--preserve-credentials", "--user", "--mount", "-t", fmt.Sprint(keeper.pid), "nsenter", "--net="+file,
				"curl", "-sS", "--retry", "5", "--retry-all-errors", "http://"+s.addr("WEB4")+"/")
			if out != "hello from the internet" {
				return fmt.Errorf("the internet said %q", out)
			}
			return nil
		}},
		{feature: "a namespace of root's is refused", run: func(s *stage) error {
			s.footbridge("network", "create", "refused")
			p := s.root.start("unshare", "--net", "sh", "-c", "echo made; exec sleep infinity")
			p.expect("made")
			said := s.user.refuse("footbridge", "attach", "--pid", fmt.Sprint(p.pid), "--network", "refused")
			if !strings.HasPrefix(said, "footbridge: ") {
				return fmt.Errorf("the refusal says %q", said)
			}
			if left := s.footbridge("ps", "-aq", "--filter", "network=refused"); left != "" {
				return fmt.Errorf("the refused one left %s", left)
			}
			return nil
		}},
	},
}
