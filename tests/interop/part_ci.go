package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func init() { parts = append(parts, ciJobs) }

const ciPage = "ci.md"

var ciJobs = part{
	name:     "ci",
	packages: []string{"docker.io", "iptables"},
	programs: []program{{name: "dockerd", version: []string{"dockerd", "--version"}, optional: true}},
	setup: func(s *stage) error {
		// What prepares the machine has been done to the world already, and what fetches footbridge has put it there.
		s.write(filepath.Join(s.bin, "sudo"), "#!/bin/sh\nexit 0\n", 0o755)
		s.write(filepath.Join(s.bin, "go"), "#!/bin/sh\nexit 0\n", 0o755)
		return nil
	},
	cells: []cell{
		{feature: "docs/ci.md: a job of GitHub Actions", run: func(s *stage) error {
			dir := s.folder("github")
			for _, step := range runSteps(jobOf(s, "GitHub Actions").lines) {
				// As the runner does it: a shell for each step, which stops at the first failure.
				s.user.in(dir).run("bash", "-e", s.write(filepath.Join(dir, ".step"), step, 0o644))
			}
			return nothingStays(s)
		}},
		{feature: "docs/ci.md: a job of GitLab's, in a shell", run: func(s *stage) error {
			dir := s.folder("gitlab")
			lines := scriptLines(jobOf(s, "GitLab CI").lines)
			s.user.in(dir).run("bash", "-eo", "pipefail", s.write(filepath.Join(dir, ".script"), strings.Join(lines, "\n"), 0o644))
			return nothingStays(s)
		}},
		{feature: "docs/ci.md: jobs in Docker's containers", root: true, long: true, needs: []string{"dockerd", "docker"}, run: func(s *stage) error {
			d, err := startDocker(s)
			if err != nil {
				return err
			}
			defer d.close()
			github := sectionOf(s, "GitHub Actions, in a container")
			if err := d.job(containerOptions(github), strings.Join(runSteps(github[0].lines), "\n")); err != nil {
				return err
			}
			gitlab := sectionOf(s, "GitLab CI, in a container")
			script := strings.Join(scriptLines(gitlab[len(gitlab)-1].lines), "\n")
			if err := d.job(containerOptions(gitlab), script); err != nil {
				return err
			}
			// What the page says of the options is so: without them it fails.
			if err := d.job(nil, "unshare --user --map-root-user --net true"); err == nil {
				return errors.New("user namespaces can be made without the options that the page shows")
			}
			if err := d.job(containerOptions(gitlab), "footbridge network create n; footbridge run --rm --network n true"); err == nil {
				return errors.New("footbridge run works with a masked /proc: the page says that it does not")
			}
			return nil
		}},
	},
}

// nothingStays says what a job has left.
func nothingStays(s *stage) error {
	if left := s.footbridge("ps", "-a", "--format", "{{.Names}}") + s.footbridge("network", "ls", "-q", "--filter", "type=custom"); left != "" {
		return fmt.Errorf("the job leaves %s", left)
	}
	return nil
}

// sectionOf returns the blocks of one section of the page.
func sectionOf(s *stage, section string) []block {
	blocks := slices.DeleteFunc(parsePage(s.readPage(ciPage)), func(b block) bool { return b.section != section })
	if len(blocks) == 0 {
		s.fail("docs/%s has no section %q", ciPage, section)
	}
	return blocks
}

// jobOf returns the only block of a section.
func jobOf(s *stage, section string) block {
	blocks := sectionOf(s, section)
	if len(blocks) != 1 {
		s.fail("docs/%s: %q has %d blocks, not one", ciPage, section, len(blocks))
	}
	return blocks[0]
}

// docker is a daemon of Docker's with root, in the world.
type docker struct {
	s      *stage
	dir    string
	user   place
	daemon *process
	cgroup string
}

// startDocker starts it with the image of busybox.
func startDocker(s *stage) (*docker, error) {
	const dir = "/tmp/docker"
	socket := "unix://" + dir + "/docker.sock"
	d := &docker{s: s, dir: dir, cgroup: "footbridge-" + filepath.Base(filepath.Dir(s.dir)), user: s.root.with("DOCKER_HOST=" + socket)}
	s.root.sh("mount -t cgroup2 none /sys/fs/cgroup; mkdir -p " + dir)
	d.daemon = s.root.start("dockerd", "--data-root="+dir+"/data", "--exec-root="+dir+"/exec", "-H", socket, "--pidfile", dir+"/pid",
		"--cgroup-parent=/"+d.cgroup)
	s.wait("dockerd", func() error {
		if d.daemon.done() {
			return errors.New("it ended: " + lastLine(d.daemon.said()))
		}
		if r := d.user.look("docker", "version"); r.Code != 0 {
			return errors.New(lastLine(r.All()))
		}
		return nil
	})
	d.user.run("docker", "load", "-i", s.image())
	return d, nil
}

// job runs a script in a new container, as the jobs of the page are run. The programs of its image are the machine's.
func (d *docker) job(options []string, script string) error {
	dir := d.s.folder(fmt.Sprintf("job-%d", time.Now().UnixNano()))
	d.s.write(filepath.Join(dir, "script"), script, 0o644)
	args := []string{"docker", "run", "--rm", "-v", d.s.bin + ":/opt/bin:ro", "-v", dir + ":/job", "-w", "/job", "-e", "PATH=/opt/bin:/usr/bin:/usr/sbin:/bin"}
	for _, folder := range []string{"/usr", "/lib", "/lib64", "/etc/alternatives"} {
		if _, err := os.Stat(folder); err == nil {
			args = append(args, "-v", folder+":"+folder+":ro")
		}
	}
	args = append(append(args, options...), imageName, "bash", "-eo", "pipefail", "/job/script")
	if r := d.user.try(args...); r.Code != 0 {
		return fmt.Errorf("a job in a container with %q: exit status %d: %s", options, r.Code, lastLine(r.All()))
	}
	return nil
}

// close ends it, and removes the control groups, which no namespace ends.
func (d *docker) close() {
	d.user.look("sh", "-c", "docker ps -aq | xargs -r docker rm -f; kill $(cat "+d.dir+"/pid)")
	d.daemon.wait()
	d.user.look("find", "/sys/fs/cgroup/"+d.cgroup, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";")
}
