package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/footbridge-net/footbridge/tests/world"
)

const (
	cgroupRoot    = "/sys/fs/cgroup"
	cgroupPrefix  = "footbridge-interop-" // and the number of the process, and the part
	systemManager = "/lib/systemd/systemd"
)

// delegate gives the user a control group, in which all further commands of the user start, as systemd-logind does
// for a login. For setup functions, of parts that need root.
func (s *stage) delegate() {
	if s.cgroup != "" {
		return
	}
	if !isRoot() {
		s.skip("root must give the user a control group")
	}
	path := filepath.Join(cgroupRoot, fmt.Sprintf("%s%d-%s", cgroupPrefix, os.Getpid(), filepath.Base(s.dir)))
	s.root.sh("mount -t cgroup2 none " + cgroupRoot)
	s.sweepCgroups()
	s.root.sh(fmt.Sprintf("mkdir -p %s/user; chown -R %d:%[2]d %[1]s", path, world.UID))
	s.cgroup = path
	s.user.prefix = append([]string{"sh", "-c", "echo 0 >" + path + "/user/cgroup.procs; exec \"$@\"", "sh"}, s.user.prefix...)
}

// removeCgroup ends what is in the user's control group and removes it: it would outlive the world.
func (s *stage) removeCgroup() {
	if s.cgroup == "" {
		return
	}
	if r := s.root.look("sh", "-c", removal(s.cgroup)); r.Code != 0 {
		fmt.Fprintf(os.Stderr, "interop: the control group %s stays: %s\n", s.cgroup, lastLine(r.All()))
	}
}

// sweepCgroups removes the groups of runs that were killed before they could do it themselves.
func (s *stage) sweepCgroups() {
	for name := range strings.FieldsSeq(s.root.look("ls", cgroupRoot).Out) {
		rest, ours := strings.CutPrefix(name, cgroupPrefix)
		pid, _, _ := strings.Cut(rest, "-")
		if _, err := os.Stat("/proc/" + pid); ours && os.IsNotExist(err) {
			s.root.look("sh", "-c", removal(filepath.Join(cgroupRoot, name)))
		}
	}
}

// removal is shell that ends what is in a control group and removes it with those below it.
func removal(group string) string {
	return fmt.Sprintf("echo 1 >%[1]s/cgroup.kill; for i in 1 2 3 4 5 6 7 8 9; do "+
		"find %[1]s -depth -type d -exec rmdir {} + 2>/dev/null; [ -d %[1]s ] || exit 0; sleep 0.1; done; exit 1", group)
}

// session starts the user's service manager, as a login does where systemd runs: systemctl --user and systemd-run --user
// work then. It lives as long as the part. For setup functions.
func (s *stage) session() {
	if _, err := os.Stat(systemManager); err != nil {
		s.skip("%s is not there (Debian's package systemd)", systemManager)
	}
	s.delegate()
	// What the machine's own manager makes when it boots: by the first folder one knows that it did, and in the others a
	// service's mounts are put together.
	s.root.sh("mkdir -p /run/systemd/system /run/systemd/unit-root /run/systemd/mount-rootfs /run/systemd/inaccessible")
	p := s.user.with("SYSTEMD_LOG_TARGET=console")
	p.name = "user's service manager"
	s.manager = p.start(systemManager, "--user", "--unit=basic.target")
	s.wait("the user's service manager", func() error {
		if s.manager.done() {
			s.fail("it ended: %s", s.manager.said())
		}
		if r := s.user.look("systemctl", "--user", "is-system-running"); r.Out != "running" && r.Out != "degraded" {
			return fmt.Errorf("%s", strings.TrimSpace(r.All()))
		}
		return nil
	})
}
