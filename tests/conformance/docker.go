package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/tests/busybox"
	"github.com/footbridge-net/footbridge/tests/world"
)

// need is a program without which nothing can be compared, and who has it.
type need struct{ program, from string }

// missing says what this machine lacks, with the way to get it.
func missing(dockerd string) []string {
	var list []string
	if os.Getuid() != 0 {
		list = append(list, "root, for Docker's daemon only: footbridge's side becomes an ordinary user")
	}
	for _, n := range []need{
		{dockerd, "Debian's package docker.io, or set DOCKERD to the path of another"},
		{"containerd", "Debian's package containerd"},
		{"runc", "Debian's package runc"},
		{"iptables", "Debian's package iptables"},
		{"docker", "Debian's package docker.io (docker-cli from Debian 13 on)"},
		{"busybox", "Debian's package busybox-static"},
		{"curl", "Debian's package curl"},
	} {
		if _, err := exec.LookPath(n.program); err != nil {
			list = append(list, n.program+": "+n.from)
		}
	}
	return list
}

// Paths inside the world of Docker's side, all in its private /tmp.
const (
	dockerDir    = "/tmp/docker"
	dockerSocket = "unix://" + dockerDir + "/docker.sock"
)

// dockerSide is a world of root's with dockerd in it.
type dockerSide struct {
	w       *world.World
	daemon  *world.Cmd
	log     bytes.Buffer
	env     []string
	cgroup  string
	Version string
	minor   int // of the API's version
}

// startDocker makes Docker's side.
func startDocker(dockerd string) (*dockerSide, error) {
	path, err := exec.LookPath(dockerd)
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	w, err := world.Start(world.Options{Root: true, Share: shareOf(dir)})
	if err != nil {
		return nil, err
	}
	d := &dockerSide{w: w, cgroup: "/footbridge-conformance-" + strconv.Itoa(os.Getpid())}
	for _, v := range w.Environ() {
		if old, ok := strings.CutPrefix(v, "PATH="); ok {
			v = "PATH=" + dir + ":" + old
		}
		d.env = append(d.env, v)
	}
	d.env = append(d.env, "DOCKER_HOST="+dockerSocket)
	if err := d.boot(path); err != nil {
		err = fmt.Errorf("%w\n%s", err, lastLines(d.log.String(), 10))
		d.close()
		return nil, err
	}
	return d, nil
}

// shareOf names a folder that the world must keep although it has its own /tmp.
func shareOf(dir string) []string {
	if strings.HasPrefix(dir, "/tmp/") || strings.HasPrefix(dir, "/run/") {
		return []string{dir}
	}
	return nil
}

// boot starts the daemon and gives it the image.
func (d *dockerSide) boot(path string) error {
	// Docker 20.10 filters IPv6 only if told to; later ones do it always, and have no such choice.
	old := ""
	if out, err := exec.Command(path, "--help").CombinedOutput(); err == nil && bytes.Contains(out, []byte("Enable addition of ip6tables rules (experimental)")) {
		old = "--experimental --ip6tables"
	} else if v, err := exec.Command(path, "--version").Output(); err == nil && bytes.Contains(v, []byte(" version 20.")) {
		old = "--experimental --ip6tables"
	}
	d.daemon = d.w.Command(world.Admin, "sh", "-c", fmt.Sprintf(
		"mount -t cgroup2 none /sys/fs/cgroup && exec %s %s --cgroup-parent=%s --data-root=%s/data --exec-root=%s/exec -H %s --pidfile %s/pid",
		path, old, d.cgroup, dockerDir, dockerDir, dockerSocket, dockerDir))
	d.daemon.Env, d.daemon.Stdout, d.daemon.Stderr = d.env, &d.log, &d.log
	if err := d.daemon.Start(); err != nil {
		return err
	}
	const limit = 40 * time.Second
	var version Answer
	if !world.Poll(limit, func() bool {
		version, _ = d.run("host", []string{"docker", "version", "--format", "{{.Server.Version}} {{.Server.APIVersion}}"})
		return version.Code == 0
	}) {
		return fmt.Errorf("dockerd did not answer in %v: %s", limit, version.Stderr)
	}
	name, api, _ := strings.Cut(strings.TrimSpace(version.Stdout), " ")
	_, minor, _ := strings.Cut(api, ".")
	d.Version = name + ", API " + api
	var err error
	if d.minor, err = strconv.Atoi(minor); err != nil {
		return fmt.Errorf("dockerd's API version is %q", api)
	}
	return d.giveImage()
}

// giveImage makes an image of busybox alone, without a registry.
func (d *dockerSide) giveImage() error {
	tree, err := busybox.Tree()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	c := d.w.Command(world.Admin, "docker", "import",
		"--change", "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "-", imageName)
	c.Env, c.Stdin, c.Stdout, c.Stderr = d.env, bytes.NewReader(tree), &out, &out
	if code, err := c.Run(); err != nil || code != 0 {
		return fmt.Errorf("importing an image: exit status %d, %w\n%s", code, err, out.String())
	}
	return nil
}

func (d *dockerSide) run(place string, args []string) (Answer, error) {
	at := world.Place(place)
	if at == world.Host {
		at = world.Admin // Docker's user is root
	}
	return runIn(d.w, at, args, d.env)
}

// close ends the world, and removes the control groups, which no namespace ends.
func (d *dockerSide) close() {
	d.run("host", []string{"sh", "-c", "ids=$(docker ps -aq); [ -z \"$ids\" ] || docker rm -f $ids; kill $(cat " + dockerDir + "/pid)"})
	if d.daemon != nil {
		d.daemon.Wait()
	}
	d.run("host", []string{"sh", "-c", "cd /sys/fs/cgroup && find ." + d.cgroup + " -depth -type d -exec rmdir {} +"})
	d.w.Close()
}

// runIn runs a command to its end.
func runIn(w *world.World, place world.Place, args, env []string) (Answer, error) {
	var out, errs bytes.Buffer
	c := w.Command(place, args...)
	c.Env, c.Stdout, c.Stderr = env, &out, &errs
	code, err := c.Run()
	if err != nil {
		return Answer{}, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return Answer{Code: code, Stdout: out.String(), Stderr: errs.String()}, nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
