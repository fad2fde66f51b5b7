package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

func init() { parts = append(parts, packages) }

// packages are what make dist makes, in two versions, installed on the world's machine: it has the real one's files
// below a layer of its own.
var packages = part{
	name:     "packages",
	packages: []string{"dpkg", "rpm", "rpm2cpio", "make"},
	ids:      true,
	programs: []program{{name: "make", version: []string{"make", "--version"}}, {name: "dpkg", version: []string{"dpkg", "--version"}},
		{name: "rpm", version: []string{"rpm", "--version"}, optional: true}},
	setup: func(s *stage) error {
		for _, version := range []string{oldVersion, newVersion} {
			if err := makeDist(s, version); err != nil {
				return err
			}
		}
		return layered(s)
	},
	cells: []cell{
		{feature: "dpkg -i: root's program, an ordinary user's containers", run: func(s *stage) error {
			s.root.run("dpkg", "-i", deb(s, oldVersion))
			if said := s.root.run("dpkg", "--verify", "footbridge"); said != "" {
				return fmt.Errorf("dpkg --verify: %s", said)
			}
			if owner := s.root.run("stat", "-c", "%U %a", "/usr/bin/footbridge"); owner != "root 755" {
				return fmt.Errorf("the program is %s", owner)
			}
			p := packaged(s)
			if at := p.run("sh", "-c", "command -v footbridge"); at != "/usr/bin/footbridge" {
				return fmt.Errorf("found at %s", at)
			}
			p.run("footbridge", "run", "-d", "--name", "web", "-p", "8000:80", "busybox", "nc", "-ll", "-p", "80", "-e", "echo", "served")
			if err := answers(s, "served"); err != nil {
				return err
			}
			p.run("footbridge", "rm", "-f", "web")
			p.run("footbridge", "daemon", "stop")
			return nil
		}},
		{feature: "the runtimes' plugins are where they look, and find the program", run: func(s *stage) error {
			s.root.run("dpkg", "-i", deb(s, newVersion))
			p := packaged(s)
			if said := p.run("/usr/lib/netavark/footbridge", "info"); !strings.Contains(said, newVersion) {
				return fmt.Errorf("podman's driver says %s", said)
			}
			if said := p.reading(`{"cniVersion":"1.1.0"}`).run("sh", "-c", "CNI_COMMAND=VERSION exec /usr/lib/cni/footbridge-cni"); !strings.Contains(said, "1.1.0") {
				return fmt.Errorf("the CNI plugin says %s", said)
			}
			// No daemon runs, and PATH leads nowhere.
			p.reading(`{"name":"planned","id":"`+strings.Repeat("a", 64)+`","driver":"footbridge"}`).run("sh", "-c", "PATH=/nowhere exec /usr/lib/netavark/footbridge create")
			if at := p.run("readlink", "/proc/"+p.run("footbridge", "daemon", "status", "--format", "{{.PID}}")+"/exe"); at != "/usr/bin/footbridge" {
				return fmt.Errorf("the daemon that it has started is %s", at)
			}
			p.run("footbridge", "daemon", "stop")
			return nil
		}},
		{feature: "the package is exchanged below a daemon with containers", run: func(s *stage) error {
			s.root.run("dpkg", "-i", deb(s, oldVersion))
			p := packaged(s)
			p.run("footbridge", "run", "-d", "--name", "web", "-p", "8000:80", "busybox", "nc", "-ll", "-p", "80", "-e", "echo", "served")
			if err := answers(s, "served"); err != nil {
				return err
			}
			started := p.run("footbridge", "inspect", "-f", "{{.State.StartedAt}}", "web")
			worker := p.run("footbridge", "daemon", "status", "--format", "{{.Worker.PID}}")
			s.root.run("dpkg", "-i", deb(s, newVersion))
			// The daemon goes on as it was, and so does what it starts again: its file is not lost before it ends.
			if err := answers(s, "served"); err != nil {
				return err
			}
			p.run("kill", "-9", worker)
			if err := answers(s, "served"); err != nil {
				return fmt.Errorf("after the end of the worker: %w", err)
			}
			for _, want := range []string{oldVersion, newVersion, "footbridge daemon upgrade"} {
				if said := p.refuse("footbridge", "ps"); !strings.Contains(said, want) {
					return fmt.Errorf("the new command does not name %s to the old daemon: %s", want, said)
				}
			}
			if said := p.run("footbridge", "daemon", "upgrade"); !strings.Contains(said, oldVersion+" -> "+newVersion) {
				return fmt.Errorf("the upgrade says %s", said)
			}
			if now := p.run("footbridge", "inspect", "-f", "{{.State.StartedAt}}", "web"); now != started {
				return fmt.Errorf("the container was started at %s, and now at %s", started, now)
			}
			if err := answers(s, "served"); err != nil {
				return err
			}
			// A container that was made by the old program is ended, and started again, by the new one.
			p.run("footbridge", "restart", "-t", "1", "web")
			if err := answers(s, "served"); err != nil {
				return err
			}
			p.run("footbridge", "rm", "-f", "web")
			p.run("footbridge", "daemon", "stop")
			return nil
		}},
		{feature: "slirp4netns' place is taken by a package of its own, which the real one gives way to", run: func(s *stage) error {
			s.root.run("dpkg", "-i", deb(s, newVersion))
			s.root.run("dpkg", "-i", only(s, newVersion, "footbridge-slirp4netns_*_all.deb"))
			if state := s.root.look("dpkg-query", "-W", "-f", "${db:Status-Status}", "slirp4netns").Out; state == "installed" {
				return fmt.Errorf("the real one is %s, too", state)
			}
			if said := packaged(s).run("slirp4netns", "--help"); !strings.Contains(said, "--netns-type") {
				return fmt.Errorf("slirp4netns --help says %s", said)
			}
			s.root.run("dpkg", "--purge", "footbridge-slirp4netns")
			if s.root.look("test", "-e", "/usr/bin/slirp4netns").Code == 0 {
				return fmt.Errorf("/usr/bin/slirp4netns is left")
			}
			return nil
		}},
		{feature: "Ubuntu's permission to make user namespaces comes and goes with it", run: func(s *stage) error {
			s.root.run("dpkg", "-i", deb(s, newVersion))
			s.root.sh(`
				test ! -e /etc/apparmor.d/footbridge || test -e /etc/apparmor.d/abi/4.0
				root=$(mktemp -d)
				mkdir -p $root/proc/sys/kernel $root/etc/apparmor.d/abi $root/usr/share/footbridge
				cp /usr/share/footbridge/apparmor $root/usr/share/footbridge/
				touch $root/proc/sys/kernel/apparmor_restrict_unprivileged_userns $root/etc/apparmor.d/abi/4.0
				DPKG_ROOT=$root sh /var/lib/dpkg/info/footbridge.postinst configure
				cmp /usr/share/footbridge/apparmor $root/etc/apparmor.d/footbridge
				DPKG_ROOT=$root sh /var/lib/dpkg/info/footbridge.postrm upgrade
				test -e $root/etc/apparmor.d/footbridge
				DPKG_ROOT=$root sh /var/lib/dpkg/info/footbridge.postrm remove
				test ! -e $root/etc/apparmor.d/footbridge
				rm -r $root`)
			return nil
		}},
		{feature: "dpkg --purge leaves nothing", run: func(s *stage) error {
			s.root.run("dpkg", "-i", deb(s, newVersion))
			list := strings.Fields(s.root.run("dpkg", "-L", "footbridge"))
			s.root.run("dpkg", "--purge", "footbridge", "footbridge-slirp4netns")
			for _, path := range list {
				if strings.Contains(path, "footbridge") && s.root.look("test", "-e", path).Code == 0 {
					return fmt.Errorf("%s is left", path)
				}
			}
			if len(list) < 60 {
				return fmt.Errorf("the package had only %q", list)
			}
			return nil
		}},
		{feature: "rpm: intact, with the files of the other, and installed by it", needs: []string{"make", "dpkg", "rpm"}, run: func(s *stage) error {
			rpm := only(s, newVersion, "footbridge-1*.rpm")
			s.root.run("rpm", "--checksig", rpm)
			const folders = `s,^\.,,; s,/$,,; /^$/d`
			inDeb := strings.Split(s.root.sh("dpkg-deb --fsys-tarfile "+quote(deb(s, newVersion))+" | tar t | sed '"+folders+"'"), "\n")
			inRPM := strings.Split(s.root.run("rpm", "-qlp", rpm), "\n")
			for _, path := range inRPM {
				if !slices.Contains(inDeb, path) {
					return fmt.Errorf("%s is in one package and not in the other", path)
				}
			}
			if len(inRPM) < 60 {
				return fmt.Errorf("the package has only %q", inRPM)
			}
			s.root.sh("mkdir -p /var/lib/fromrpm; rpm --dbpath /var/lib/fromrpm/db -i --root /var/lib/fromrpm --nodeps " + quote(rpm) + "; cp /var/lib/fromrpm/usr/bin/footbridge /usr/bin/fromrpm")
			if said := packaged(s).run("fromrpm", "--version"); !strings.Contains(said, newVersion) {
				return fmt.Errorf("the program in it says %s", said)
			}
			if said := s.root.run("rpm", "--dbpath", "/var/lib/fromrpm/db", "--root", "/var/lib/fromrpm", "-V", "--nodeps", "footbridge"); said != "" {
				return fmt.Errorf("rpm -V: %s", said)
			}
			return nil
		}},
		{feature: "the archive, unpacked over ~/.local", run: func(s *stage) error {
			s.user.run("mkdir", "-p", s.home+"/.local")
			s.user.run("tar", "-xzf", only(s, newVersion, "footbridge-*-linux-"+runtime.GOARCH+".tar.gz"), "--strip-components=1", "-C", s.home+"/.local")
			p := s.user.with("PATH=" + s.home + "/.local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
			if said := p.run("footbridge", "--version"); !strings.Contains(said, newVersion) {
				return fmt.Errorf("the program in it says %s", said)
			}
			p.run("footbridge", "run", "--rm", "true")
			p.run("footbridge", "daemon", "stop")
			if said := p.run("cat", s.home+"/.local/share/systemd/user/footbridge.service"); !strings.Contains(said, "ExecStart=%h/.local/bin/footbridge daemon") {
				return fmt.Errorf("the unit in it is %s", said)
			}
			return nil
		}},
		{feature: "checksums and others' licences", run: func(s *stage) error {
			s.root.in(distFolder(s, newVersion)).run("sha256sum", "--check", "--strict", "SHA256SUMS")
			text := s.root.sh("dpkg-deb --fsys-tarfile " + quote(deb(s, newVersion)) + " | tar -xO ./usr/share/doc/footbridge/THIRD-PARTY.gz | gunzip")
			for _, want := range []string{"gvisor.dev/gvisor", "Go " + strings.TrimPrefix(runtime.Version(), "go"), "Apache License", "Redistribution and use in source and binary forms"} {
				if !strings.Contains(text, want) {
					return fmt.Errorf("others' licences do not say %q", want)
				}
			}
			return nil
		}},
		{feature: "the same bytes from another folder, with nothing kept from before", long: true, limit: 15 * time.Minute, run: sameBytes},
	},
}

const (
	oldVersion = "1.0.0"
	newVersion = "1.1.0"
	// distTime is the time of the commit that there is none of.
	distTime = "SOURCE_DATE_EPOCH=1767225600"
)

func distFolder(s *stage, version string) string { return filepath.Join(s.dir, "dist-"+version) }

// makeDist makes a version's packages for this machine's architecture.
func makeDist(s *stage, version string) error {
	// What it is made with may have to be got, which not every machine can.
	if _, err := outside(s, nil, "go", "tool", "-modfile=internal/dist/nfpm.mod", "nfpm", "--version"); err != nil {
		s.skip("nfpm cannot be had: %v", err)
	}
	_, err := outside(s, []string{distTime}, "make", "dist", "VERSION=v"+version, "COMMIT=interop", "ARCHS="+runtime.GOARCH, "DIST="+distFolder(s, version))
	return err
}

// only returns the one file of a version's packages that a pattern means.
func only(s *stage, version, pattern string) string {
	list, err := filepath.Glob(filepath.Join(distFolder(s, version), pattern))
	if err != nil || len(list) != 1 {
		s.fail("%s is %q, %v", pattern, list, err)
	}
	return list[0]
}

func deb(s *stage, version string) string {
	return only(s, version, "footbridge_*_"+runtime.GOARCH+".deb")
}

// layered lets the world's root change /usr and /var as if they were its own.
func layered(s *stage) error {
	s.root.sh(fmt.Sprintf(`
		mkdir -p %[1]s
		mount -t tmpfs none %[1]s
		for folder in usr var; do
			mkdir -p %[1]s/$folder/upper %[1]s/$folder/work
			mount -t overlay -o lowerdir=/$folder,upperdir=%[1]s/$folder/upper,workdir=%[1]s/$folder/work overlay /$folder
		done
		: >/var/lib/dpkg/statoverride # names groups that the world has not
		`, quote(filepath.Join(s.dir, "layers"))))
	return nil
}

// packaged is the user, who finds what packages have installed.
func packaged(s *stage) place { return s.user.with("PATH=/usr/bin:/bin:/usr/sbin:/sbin") }

// answers waits for what the container says to a client on another machine.
func answers(s *stage, want string) error {
	s.wait("an answer", func() error {
		if r := s.client.try("busybox", "nc", "-w", "5", s.addr("HOST4"), "8000"); r.Out != want {
			return fmt.Errorf("it said %q", r.All())
		}
		return nil
	})
	return nil
}

func quote(path string) string { return "'" + path + "'" }

// sameBytes builds once more, from a copy of the sources in another folder, under another umask and time zone, with
// nothing from Go's cache.
func sameBytes(s *stage) error {
	copied := filepath.Join(s.dir, "copied", "far", "below")
	if err := os.MkdirAll(copied, 0o755); err != nil {
		return err
	}
	if _, err := outside(s, nil, "sh", "-c", `tar -c --exclude=./bin --exclude=./.git . | tar -x -C "$0"`, copied); err != nil {
		return err
	}
	again := filepath.Join(s.dir, "dist-again")
	cmd := exec.Command("sh", "-c", `umask 077; exec "$@"`, "sh", "make", "-C", copied, "dist", "VERSION=v"+newVersion, "COMMIT=interop", "ARCHS="+runtime.GOARCH, "DIST="+again)
	cmd.Env = append(os.Environ(), distTime, "GOCACHE="+filepath.Join(s.dir, "cache"), "TZ=Pacific/Auckland", "LC_ALL=C.UTF-8", "MAKEFLAGS=", "MFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("the second build: %w: %s", err, out)
	}
	first, err := os.ReadDir(distFolder(s, newVersion))
	if err != nil {
		return err
	}
	for _, e := range first {
		a, err := os.ReadFile(filepath.Join(distFolder(s, newVersion), e.Name()))
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(again, e.Name()))
		if err != nil {
			return err
		}
		if string(a) != string(b) {
			return fmt.Errorf("%s: the bytes differ", e.Name())
		}
	}
	if len(first) != 6 {
		return fmt.Errorf("there are %d files, not 6", len(first))
	}
	return nil
}
