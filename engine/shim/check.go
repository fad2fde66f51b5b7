package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Finding is one thing that containers need, and whether this machine has it.
type Finding struct {
	Name     string // "user namespaces", "proc", "subordinate ids"
	OK       bool
	Required bool   // without it no container runs; else one option is missing
	Detail   string // what was found
	Remedy   string // what to do about it, empty when OK
}

// Check tries, as the calling user, what containers need of the kernel and the machine.
func Check(ctx context.Context) []Finding {
	ns := Finding{Name: "user namespaces", OK: true, Required: true, Detail: "user, mount, pid, UTS, IPC and network namespaces can be made"}
	proc := Finding{Name: "proc", OK: true, Required: true, Detail: "a container can have its own /proc"}
	switch made, err := probe(ctx); {
	case err == nil:
	case made:
		proc.OK, proc.Detail, proc.Remedy = false, err.Error(), mountRemedy()
	default:
		ns.OK, ns.Detail, ns.Remedy = false, err.Error(), cloneRemedy(err)
		proc.OK, proc.Detail, proc.Remedy = false, "not tried, for want of user namespaces", "first make user namespaces work"
	}
	sub := Finding{Name: "subordinate ids", OK: true, Detail: "--userns=auto can map them"}
	if uids, _, err := autoMaps(); err != nil {
		text := strings.TrimPrefix(err.Error(), ErrSubIDs.Error()+": ")
		sub.OK = false
		sub.Detail, sub.Remedy, _ = strings.Cut(text, "; ")
	} else if path, err := exec.LookPath("newuidmap"); err == nil {
		sub.Detail = fmt.Sprintf("--userns=auto can map %d uids by %s", uids[len(uids)-1][0]+uids[len(uids)-1][2], path)
	}
	return []Finding{ns, proc, sub}
}

// probe makes the namespaces of a container and tries its mounts. made tells at which of both it failed.
func probe(ctx context.Context) (made bool, err error) {
	conn, theirs, err := socketPair()
	if err != nil {
		return false, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	cmd := exec.Command(selfExe)
	cmd.Args = []string{initName, roleProbe}
	cmd.Env = runtimeEnv
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | newNamespaces,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return false, err
	}
	var a initAnswer
	err = readMessage(conn, maxAnswer, &a)
	if err != nil {
		_ = cmd.Process.Kill()
	}
	_ = cmd.Wait()
	if err != nil {
		return true, err
	}
	return true, fromWire(a.Error)
}

// probeMain is the other side of probe.
func probeMain() int {
	conn, err := fileConn(os.NewFile(helperFD, "probe"))
	if err != nil {
		return 1
	}
	_ = writeMessage(conn, maxAnswer, initAnswer{Op: initReady, Error: toWire(setup(&setupRequest{Loopback: true}))})
	return 0
}

// explainClone says why namespaces were refused, and what to do.
func explainClone(err error) error {
	return fmt.Errorf("%w: cannot make a user namespace: %w; %s", ErrNamespaces, err, cloneRemedy(err))
}

// explainSetup adds what to do when pid 1 was refused its mounts.
func explainSetup(err error) error {
	if errors.Is(err, ErrNamespaces) {
		return fmt.Errorf("%w; %s", err, mountRemedy())
	}
	return err
}

// cloneRemedy is what to do about an error of clone(2) with CLONE_NEWUSER.
func cloneRemedy(err error) string {
	return remedyFor(err, readSysctl)
}

func remedyFor(err error, sysctl func(string) string) string {
	switch {
	case errors.Is(err, unix.ENOSPC):
		for _, name := range []string{"user", "mnt", "pid", "uts", "ipc", "net"} {
			key := "user.max_" + name + "_namespaces"
			if v := sysctl(key); v == "0" {
				return key + " is 0: as root run: sysctl -w " + key + "=28633, and write the line " + key + "=28633 to /etc/sysctl.d/60-footbridge.conf"
			}
		}
		return "too many namespaces exist already: raise user.max_user_namespaces (now " + sysctl("user.max_user_namespaces") + ") with sysctl -w as root, or end some"
	case errors.Is(err, unix.EUSERS):
		return "user namespaces are nested too deep: run footbridge further outside"
	case errors.Is(err, unix.EINVAL):
		return "this kernel has no user namespaces: it needs CONFIG_USER_NS, CONFIG_PID_NS, CONFIG_NET_NS, CONFIG_UTS_NS and CONFIG_IPC_NS"
	case sysctl("kernel.unprivileged_userns_clone") == "0":
		return "kernel.unprivileged_userns_clone is 0: as root run: sysctl -w kernel.unprivileged_userns_clone=1, and write the line to /etc/sysctl.d/60-footbridge.conf"
	case sysctl("kernel.apparmor_restrict_unprivileged_userns") == "1":
		return appArmorRemedy
	}
	return "a security policy forbids user namespaces (seccomp of an outer container, SELinux, or a chroot): allow them for this user, or run footbridge outside"
}

const appArmorRemedy = "AppArmor restricts user namespaces (Ubuntu 23.10 and later): install an AppArmor profile with the rule \"userns,\" for the footbridge binary, or as root run: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"

// mountRemedy is what to do when namespaces can be made but mounts in them are refused.
func mountRemedy() string {
	if readSysctl("kernel.apparmor_restrict_unprivileged_userns") == "1" {
		return appArmorRemedy
	}
	return "parts of /proc or of the file system are hidden here, probably by an outer container: give that one its whole /proc (docker run --security-opt systempaths=unconfined --security-opt seccomp=unconfined), or run footbridge outside"
}

func readSysctl(name string) string {
	b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
