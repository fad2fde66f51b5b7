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
	name := fmt.Sprintf("footbridge-interop-%d-%s", os.Getpid(), filepath.Base(s.dir))
	path := filepath.Join(cgroupRoot, name)
	s.root.sh(fmt.Sprintf("mount -t cgroup2 none %s; mkdir -p %s/user; chown -R %d:%[3]d %[2]s", cgroupRoot, path, world.UID))
	s.cgroup = path
	s.user.prefix = append([]string{"sh", "-c", "echo 0 >" + path + "/user/cgroup.procs; exec \"$@\"", "sh"}, s.user.prefix...)
}

// removeCgroup ends what is in the user's control group and removes it: it would outlive the world.
func (s *stage) removeCgroup() {
	if s.cgroup == "" {
		return
	}
	r := s.root.look("sh", "-c", fmt.Sprintf("echo 1 >%[1]s/cgroup.kill; for i in 1 2 3 4 5 6 7 8 9; do "+
		"find %[1]s -depth -type d -exec rmdir {} + 2>/dev/null; [ -d %[1]s ] || exit 0; sleep 0.1; done; exit 1", s.cgroup))
	if r.Code != 0 {
		fmt.Fprintf(os.Stderr, "interop: the control group %s stays: %s\n", s.cgroup, lastLine(r.All()))
	}
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
	s.mu.Lock()
	s.running = nil // it outlives the cell
	s.mu.Unlock()
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
