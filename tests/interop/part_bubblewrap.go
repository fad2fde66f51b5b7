package main

import (
	"errors"
	"fmt"
	"strings"
)

func init() { parts = append(parts, bubblewrap) }

var bubblewrap = part{
	name:     "bubblewrap",
	packages: []string{"bubblewrap"},
	programs: []program{{name: "bwrap", version: []string{"bwrap", "--version"}}},
	cells: []cell{
		{feature: "docs/bubblewrap.md does what it shows", run: func(s *stage) error { return s.page("bubblewrap.md", "") }},
		{feature: "docs/integrations.md does what it shows", needs: []string{"bwrap", "unshare"}, run: func(s *stage) error {
			return errors.Join(s.page("integrations.md", "bubblewrap"), s.page("integrations.md", "unshare"))
		}},
		{feature: "a published port shows the client's own address", run: func(s *stage) error {
			s.footbridge("network", "create", "published")
			pid, _ := sandbox(s, nil, "sh", "-c", "busybox nc -ll -p 8080 -e sh -c 'busybox netstat -nt'")
			s.footbridge("attach", "--pid", pid, "--name", "published", "--network", "published", "-p", "8009:8080")
			s.wait("an answer with the client's address", func() error {
				r := s.client.try("busybox", "nc", "-w", "3", s.addr("HOST4"), "8009")
				if !strings.Contains(r.Out, s.addr("CLIENT4")) {
					return fmt.Errorf("it said %q", r.All())
				}
				return nil
			})
			return nil
		}},
		{feature: "two sandboxes reach each other by name", run: func(s *stage) error {
			s.footbridge("network", "create", "two")
			names := s.write("two.conf", "nameserver "+s.footbridge("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "two")+"\n", 0o644)
			first, _ := sandbox(s, []string{"--ro-bind", names, "/etc/resolv.conf"}, "busybox", "nc", "-ll", "-p", "8080", "-e", "echo", "first")
			s.footbridge("attach", "--pid", first, "--name", "first", "--network", "two")
			second, asker := sandbox(s, []string{"--ro-bind", names, "/etc/resolv.conf"}, "sh", "-c",
				"until busybox nc -w 3 first 8080; do sleep 0.1; done 2>/dev/null; exec sleep infinity")
			s.footbridge("attach", "--pid", second, "--name", "second", "--network", "two")
			asker.expect("first")
			return nil
		}},
		{feature: "nested user namespaces and a low port inside", run: func(s *stage) error {
			s.footbridge("network", "create", "nested")
			for i, options := range [][]string{
				{"--uid", "0", "--gid", "0", "--cap-add", "CAP_NET_BIND_SERVICE"},
				{"--disable-userns"},
			} {
				port := []string{"80", "8080"}[i]
				pid, server := sandbox(s, options, "busybox", "nc", "-ll", "-p", port, "-e", "echo", "inside")
				s.footbridge("attach", "--pid", pid, "--name", "nested", "--network", "nested", "-p", "8001:"+port)
				s.wait("an answer of the sandbox with "+strings.Join(options, " "), func() error {
					if r := s.client.try("busybox", "nc", "-w", "3", s.addr("HOST4"), "8001"); r.Out != "inside" {
						return fmt.Errorf("it said %q", r.All())
					}
					return nil
				})
				server.stop()
				s.wait("the end of the attachment with its sandbox", func() error {
					if names := s.footbridge("ps", "-a", "--format", "{{.Names}}"); strings.Contains(names, "nested") {
						return fmt.Errorf("there are still %s", names)
					}
					return nil
				})
			}
			return nil
		}},
		{feature: "a sandbox with the host's network is refused", run: func(s *stage) error {
			s.footbridge("network", "create", "refused")
			pid, _ := sandbox(s, []string{"--share-net"}, "sleep", "infinity")
			said := s.user.refuse("footbridge", "attach", "--pid", pid, "--network", "refused")
			if !strings.Contains(said, "host's own network") {
				return fmt.Errorf("the refusal says %q", said)
			}
			if left := s.footbridge("network", "inspect", "-f", "{{len .Containers}}", "refused"); left != "0" {
				return fmt.Errorf("the refused one left %s containers in the network", left)
			}
			return nil
		}},
	},
}

// sandbox starts a command in a network namespace of bubblewrap's, and returns its process id.
func sandbox(s *stage, options []string, command ...string) (pid string, p *process) {
	args := append([]string{"sh", "-c", `exec 3>&1; exec bwrap "$@"`, "sh", "--unshare-user", "--unshare-all", "--die-with-parent",
		"--ro-bind", "/", "/", "--dev", "/dev", "--tmpfs", "/run", "--info-fd", "3"}, options...)
	p = s.user.start(append(args, command...)...)
	p.expect("}")
	_, after, _ := strings.Cut(p.said(), `"child-pid": `)
	pid, _, _ = strings.Cut(after, ",")
	return strings.TrimSpace(pid), p
}
