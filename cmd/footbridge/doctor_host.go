package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// hostFiles is where checks read what they look at; tests read elsewhere.
type hostFiles struct {
	root    fs.FS // of the files below /
	release string
	gids    []int // of this process
}

func realHost() hostFiles {
	h := hostFiles{root: os.DirFS("/")}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.release = unix.ByteSliceToString(u.Release[:])
	}
	h.gids, _ = os.Getgroups()
	h.gids = append(h.gids, os.Getegid())
	return h
}

// read returns a file's text; path is absolute. The path is resolved by the
// system, so that symbolic links to anywhere work.
func (h hostFiles) read(path string) (string, error) {
	b, err := fs.ReadFile(h.root, strings.TrimPrefix(path, "/"))
	return strings.TrimSpace(string(b)), err
}

func (h hostFiles) sysctl(name string) (string, error) {
	return h.read("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
}

// The oldest long-term kernel that is supported, and the first one with UDP
// segmentation offload.
var (
	neededKernel = [2]int{5, 10}
	goodKernel   = [2]int{6, 2}
)

func checkKernel(h hostFiles) check {
	c := check{Name: "kernel", Status: checkOK, Detail: "Linux " + h.release}
	version, ok := kernelVersion(h.release)
	switch {
	case !ok:
		c.Status, c.Remedy = checkWarn, "the version cannot be read; Linux 5.10 or later is needed"
	case older(version, neededKernel):
		c.Status, c.Remedy = checkFail, "Linux 5.10 or later is needed"
	case older(version, goodKernel):
		c.Detail += " (6.2 or later has faster UDP)"
	}
	return c
}

func kernelVersion(release string) (version [2]int, ok bool) {
	n, err := fmt.Sscanf(release, "%d.%d", &version[0], &version[1])
	return version, n == 2 && err == nil
}

func older(a, b [2]int) bool { return a[0] < b[0] || a[0] == b[0] && a[1] < b[1] }

// checkPing looks at who may use ping sockets, which containers' pings leave by.
func checkPing(h hostFiles) check {
	const key = "net.ipv4.ping_group_range"
	c := check{Name: "ping to the outside", Status: checkOK}
	remedy := fmt.Sprintf("as root: sysctl -w %s=\"0 2147483647\", and write the line %s = 0 2147483647 to /etc/sysctl.d/60-footbridge.conf", key, key)
	text, err := h.sysctl(key)
	if err != nil {
		c.Status, c.Detail, c.Remedy = checkWarn, fmt.Sprintf("%s cannot be read: %v", key, err), remedy
		return c
	}
	var low, high int64
	if _, err := fmt.Sscan(text, &low, &high); err != nil {
		c.Status, c.Detail, c.Remedy = checkWarn, fmt.Sprintf("%s is %q", key, text), remedy
		return c
	}
	for _, gid := range h.gids {
		if low <= int64(gid) && int64(gid) <= high {
			c.Detail = fmt.Sprintf("allowed for group %d (%s = %d %d)", gid, key, low, high)
			return c
		}
	}
	c.Status, c.Remedy = checkWarn, remedy
	c.Detail = fmt.Sprintf("containers cannot ping the outside: %s is %d %d and has none of your groups", key, low, high)
	return c
}

// checkLowPorts looks from which port on anybody may listen.
func checkLowPorts(h hostFiles) check {
	const key = "net.ipv4.ip_unprivileged_port_start"
	c := check{Name: "low ports", Status: checkOK}
	text, err := h.sysctl(key)
	start, parseErr := strconv.Atoi(text)
	if err = errors.Join(err, parseErr); err != nil {
		c.Status, c.Detail = checkWarn, fmt.Sprintf("%s cannot be read: %v", key, err)
		c.Remedy = "publish ports from 1024 on"
		return c
	}
	if start <= 1 {
		c.Detail = fmt.Sprintf("all ports can be published (%s = %d)", key, start)
		return c
	}
	c.Status = checkWarn
	c.Detail = fmt.Sprintf("ports below %d cannot be published (%s = %d)", start, key, start)
	c.Remedy = fmt.Sprintf("to publish port 80, as root: sysctl -w %s=80", key)
	return c
}

// checkDirs looks at the folders at run time, and makes them as any command would.
func checkDirs(c *cli) []check {
	runtimeDir := check{Name: "runtime folder", Status: checkOK}
	stateDir := check{Name: "state folder", Status: checkOK}
	d, err := c.dirs()
	if err != nil {
		runtimeDir.Status, runtimeDir.Detail, runtimeDir.Remedy = checkFail, err.Error(), "set HOME, XDG_RUNTIME_DIR and XDG_STATE_HOME to folders of your own"
		return []check{runtimeDir}
	}
	for _, dir := range []struct {
		check                *check
		what, path, variable string
	}{
		{&runtimeDir, "runtime", d.runtime, "XDG_RUNTIME_DIR"},
		{&stateDir, "state", d.state, "XDG_STATE_HOME"},
	} {
		dir.check.Detail = dir.path
		if err := prepareDir(dir.what, dir.path, dir.variable); err != nil {
			dir.check.Status = checkFail
			// The remedy follows the last colon; a reason may hold others.
			text := err.Error()
			dir.check.Detail = text
			if i := strings.LastIndex(text, ": "); i >= 0 {
				dir.check.Detail, dir.check.Remedy = text[:i], text[i+2:]
			}
		}
	}
	if filepath.Dir(d.runtime) == "/tmp" && runtimeDir.Status == checkOK {
		runtimeDir.Detail += " (XDG_RUNTIME_DIR is not set)"
	}
	return []check{runtimeDir, stateDir}
}

// checkResolvers looks whom containers' questions are forwarded to.
func checkResolvers(h hostFiles) check {
	const path = "/etc/resolv.conf"
	c := check{Name: "resolv.conf", Status: checkOK}
	remedy := "name servers are lines like `nameserver 192.0.2.53` in " + path + "; or give containers some with --dns"
	text, err := h.read(path)
	if err != nil {
		c.Status, c.Detail, c.Remedy = checkWarn, fmt.Sprintf("containers will resolve only each other's names: %v", err), remedy
		return c
	}
	var servers []string
	lines := bufio.NewScanner(bytes.NewReader([]byte(text)))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 2 && fields[0] == "nameserver" {
			if _, err := netip.ParseAddr(fields[1]); err == nil {
				servers = append(servers, fields[1])
			}
		}
	}
	if len(servers) == 0 {
		c.Status, c.Detail, c.Remedy = checkWarn, "containers will resolve only each other's names: "+path+" names no server", remedy
		return c
	}
	c.Detail = "forwarded to " + strings.Join(servers, ", ")
	return c
}

// checkIPv6 looks whether the host has an IPv6 address that others know.
func checkIPv6(h hostFiles) check {
	c := check{Name: "IPv6", Status: checkOK}
	text, err := h.read("/proc/net/if_inet6")
	if errors.Is(err, fs.ErrNotExist) || text == "" && err == nil {
		c.Status, c.Detail = checkWarn, "the host has no IPv6: containers reach each other over it, and nothing outside"
		c.Remedy = "nothing need be done where IPv4 is enough; else boot without ipv6.disable=1"
		return c
	}
	if err != nil {
		c.Status, c.Detail = checkWarn, err.Error()
		return c
	}
	for line := range strings.Lines(text) {
		// address, index, prefix length, scope (00: global), flags, interface
		fields := strings.Fields(line)
		if len(fields) == 6 && fields[3] == "00" && fields[5] != "lo" {
			c.Detail = "the host has a global address on " + fields[5]
			return c
		}
	}
	c.Status, c.Detail = checkWarn, "the host has no global IPv6 address: containers reach nothing outside over IPv6"
	c.Remedy = "nothing need be done where IPv4 is enough; else give the host an IPv6 address"
	return c
}

// wantedFiles is what a daemon with a few hundred containers and some thousand
// flows needs.
const wantedFiles = 16384

func checkOpenFiles() check {
	c := check{Name: "open files", Status: checkOK}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		c.Status, c.Detail = checkWarn, err.Error()
		return c
	}
	c.Detail = fmt.Sprintf("the daemon may open %d (hard limit)", limit.Max)
	if limit.Max < wantedFiles {
		c.Status = checkWarn
		c.Remedy = fmt.Sprintf("every flow is an open file: raise the hard limit to %d or more (ulimit -Hn, LimitNOFILE= of systemd, /etc/security/limits.conf)", wantedFiles)
	}
	return c
}

// checkCongestion names the host's congestion control, which connections to the
// outside use.
func checkCongestion(h hostFiles) check {
	const key = "net.ipv4.tcp_congestion_control"
	c := check{Name: "congestion control", Status: checkOK}
	name, err := h.sysctl(key)
	if err != nil {
		c.Status, c.Detail, c.Remedy = checkWarn, fmt.Sprintf("%s cannot be read: %v", key, err), "nothing need be done: the kernel's default is used"
		return c
	}
	c.Detail = name + " (the host's, for connections to the outside)"
	return c
}
