package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/footbridge-net/footbridge/tests/world"
)

// The netavark driver plugin, as podman 5 calls it. Debian's podman is new enough from trixie on, so a root folder of
// that is made by debootstrap, once, and the user's shell lives in a mount namespace whose root it is. It is the root by
// pivot_root(2): below chroot(2) user namespaces are refused.

// trixieVariable names the folder, which is made where it is missing. Default: below the stage's cache.
const trixieVariable = "FOOTBRIDGE_TRIXIE_ROOT"

// mirrorVariable names another Debian mirror.
const mirrorVariable = "DEBIAN_MIRROR"

const trixiePackages = "podman,netavark,aardvark-dns,crun,passt,uidmap,catatonit,busybox-static,iproute2,nftables"

// trixieVersion is the command that prints the version of a package there.
func trixieVersion(pkg string) []string { return []string{"dpkg-query", "-W", "-f", "${Version}", pkg} }

func trixieRoot() string {
	if path := os.Getenv(trixieVariable); path != "" {
		return path
	}
	return "/var/cache/footbridge-interop/trixie"
}

func init() { parts = append(parts, netavark) }

var netavark = part{
	name: "netavark", packages: []string{"debootstrap", "debian-archive-keyring"}, ids: true,
	programs: []program{
		{name: "debootstrap"},
		{name: "podman", version: trixieVersion("podman"), optional: true},
		{name: "netavark", version: trixieVersion("netavark"), optional: true},
	},
	setup: netavarkSetup,
	cells: []cell{
		{feature: "podman network create: subnets are chosen; what cannot be is refused", run: clean(netavarkCreate)},
		{feature: "names, aliases, addresses, MAC and interface names; the outside", run: clean(netavarkNames)},
		{feature: "networks are apart, and internal ones inside", run: clean(netavarkApart)},
		{feature: "published ports, with their clients' addresses", run: clean(netavarkPorts)},
		{feature: "podman network connect, disconnect and reload", run: clean(netavarkConnect)},
		{feature: "several networks, a pod, user namespaces, IPv6 alone", long: true, run: clean(netavarkKinds)},
		{feature: "ports of a container that podman starts again", long: true, run: clean(netavarkRestart)},
		{feature: "podman's own port forwarder and its own networks", long: true, run: clean(netavarkPodmans)},
		{feature: "the daemon is killed; containers vanish; nothing is left", run: clean(netavarkGone)},
		{feature: "what fails leaves nothing", run: clean(netavarkRefused)},
	},
}

// debootstrap makes the folder. It is complete when it has its name.
func debootstrap(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	mirror := os.Getenv(mirrorVariable)
	if mirror == "" {
		mirror = "http://deb.debian.org/debian"
	}
	fmt.Fprintf(os.Stderr, "interop: making a Debian trixie in %s, which takes some minutes\n", dir)
	making := dir + ".making"
	if err := errors.Join(os.RemoveAll(making), os.MkdirAll(filepath.Dir(dir), 0o755)); err != nil {
		return err
	}
	out, err := exec.Command("debootstrap", "--variant=minbase", "--include="+trixiePackages, "trixie", making, mirror).CombinedOutput()
	if err != nil {
		_ = os.RemoveAll(making)
		return fmt.Errorf("debootstrap: %w: %s", err, lastLine(string(out)))
	}
	return os.Rename(making, dir)
}

// netavarkSetup makes a machine whose user has podman 5, and s.user that user.
func netavarkSetup(s *stage) error {
	root := trixieRoot()
	if _, err := os.Stat(root); err != nil && *short {
		return leftOut("the short form makes no Debian trixie")
	}
	if err := debootstrap(root); err != nil {
		return leftOut("no Debian trixie: %v", err)
	}
	plugins, helpers := s.folder("plugins"), s.folder("helpers")
	program := filepath.Join(s.bin, "footbridge-netavark")
	for _, link := range []string{filepath.Join(plugins, "footbridge"), filepath.Join(helpers, "rootlessport")} {
		if err := os.Symlink(program, link); err != nil {
			return err
		}
	}
	s.write(".config/containers/storage.conf", "[storage]\ndriver = \"vfs\"\n", 0o644)
	s.write(".config/containers/containers.conf", fmt.Sprintf(`[network]
netavark_plugin_dirs = [%q]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
helper_binaries_dir = [%q, "/usr/libexec/podman", "/usr/lib/podman"]
[containers]
cgroups = "disabled"
host_containers_internal_ip = "none"
`, plugins, helpers), 0o644)
	// A file system to write to lies over the root folder, which stays as debootstrap has made it.
	holder := s.root.start("unshare", "--mount", "--propagation", "private", "sh", "-euc", `
		mount -t tmpfs tmpfs /mnt
		mkdir /mnt/upper /mnt/work /mnt/root
		mount -t overlay overlay -o "lowerdir=$1,upperdir=/mnt/upper,workdir=/mnt/work" /mnt/root
		cd /mnt/root
		for dir in proc sys dev; do mount --rbind /$dir $dir; done
		mount -t cgroup2 cgroup2 sys/fs/cgroup
		mount -t tmpfs -o mode=755 tmpfs run
		mount -t tmpfs -o mode=1777 tmpfs tmp
		for dir in "$2" "$3"; do mkdir -p .$dir; mount --bind $dir .$dir; done
		for file in passwd group subuid subgid resolv.conf hosts nsswitch.conf; do [ ! -e /etc/$file ] || cp --remove-destination -L /etc/$file etc/$file; done
		mkdir old
		pivot_root . old
		umount -l /old
		mount --make-rshared /
		echo made
		exec sleep infinity`, "sh", root, s.dir, world.RuntimeDir)
	holder.expect("made")
	s.keep(holder)
	s.user.prefix = append([]string{"nsenter", "--mount", "--target", fmt.Sprint(holder.pid)}, s.user.prefix...)
	s.user = s.user.with("PATH=" + s.bin + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
	s.user.dir = "/"
	if version := s.user.run("podman", "--version"); !strings.Contains(version, " 5.") {
		return fmt.Errorf("this is not podman 5: %s", version)
	}
	// Names are looked up by trixie's busybox: that of Debian 12 crashes where there is no libc beside it.
	s.user.sh("podman load -q -i " + s.image() + `
		podman create --name a ` + imageName + ` true
		podman cp /bin/busybox a:/bin/busybox
		podman commit -q a ` + imageName + `
		podman rm a`)
	s.footbridge("network", "ls", "-q") // starts the daemon: from inside podman's user namespace it cannot be
	return nil
}

// keep leaves a process running that setup has started, to the end of the part.
func (s *stage) keep(p *process) { s.forget(p) }

// podman runs podman as the user; the cell fails if it does.
func (s *stage) podman(args ...string) string { return command{s, "podman", s.user}.run(args...) }

// podmanRun runs a command in a container of a network, and returns what it said.
func (s *stage) podmanRun(network, command string) string {
	return s.podman("run", "--rm", "--network", network, imageName, "sh", "-c", command)
}

// web starts a container that serves its name, and logs who asked.
func (s *stage) web(name string, flags ...string) {
	s.podman(append(append([]string{"run", "-d", "--name", name}, flags...), imageName,
		"sh", "-c", "mkdir /www; echo "+name+" >/www/index.html; exec httpd -f -v -p 80 -h /www")...)
}

// podmanCreate makes networks, all of the driver footbridge.
func (s *stage) podmanCreate(args ...string) {
	s.podman(append([]string{"network", "create", "--driver", "footbridge"}, args...)...)
}

// clean is a cell that begins, and must end, with nothing of podman's.
func clean(run func(*stage) error) func(*stage) error {
	return func(s *stage) error {
		s.podmanClean()
		err := run(s)
		if err == nil {
			s.podmanClean()
		}
		return err
	}
}

// podmanClean removes everything, and makes sure that footbridge has nothing left of it.
func (s *stage) podmanClean() {
	s.podman("rm", "-f", "-t", "0", "-a")
	s.podman("pod", "rm", "-f", "-t", "0", "-a")
	s.podman("network", "prune", "-f")
	s.podmanNothing()
}

// podmanNothing fails unless footbridge has neither containers nor networks of podman's.
func (s *stage) podmanNothing() {
	s.wait("nothing left in footbridge", func() error {
		if left := s.footbridge("ps", "-aq") + s.footbridge("network", "ls", "-q", "--filter", "label=com.footbridge.podman.network"); left != "" {
			return fmt.Errorf("left: %s", left)
		}
		return nil
	})
}
