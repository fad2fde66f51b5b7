package tap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/tap/internal/nsexec"
)

// A ProbeResult says what this machine lets this user do.
type ProbeResult struct {
	// Tun is why /dev/net/tun cannot be used (ErrNoTun), or nil.
	Tun error
	// Kernel is what the tun driver offers, asked outside of any namespace; only
	// VirtioHeader can be known there.
	Kernel Features
	// Namespaces is why no user and network namespace could be made, or nil. Then
	// the methods were not tried.
	Namespaces error
	// Methods are the ways into the namespaces, the preferred one first.
	Methods []MethodResult
}

// A MethodResult says how one way into a namespace went.
type MethodResult struct {
	Name     string        // "native" or "nsenter"
	Err      error         // nil: a TAP device was made
	Elapsed  time.Duration // for entering and making it
	Features Features      // of that device
	Warnings []string
}

// OK reports whether containers can be given devices, and the features that
// these will have.
func (r ProbeResult) OK() (Features, bool) {
	for _, m := range r.Methods {
		if m.Err == nil {
			return m.Features, true
		}
	}
	return Features{}, false
}

// Probe tries everything that Attach needs, in a throw-away namespace.
func Probe(ctx context.Context) ProbeResult {
	var r ProbeResult
	r.Kernel, r.Tun = kernelFeatures()
	ns, err := throwAway(ctx)
	if err != nil {
		r.Namespaces = err
		return r
	}
	defer ns.Close()
	for _, method := range []nsexec.Method{nsexec.Native, nsexec.Nsenter} {
		r.Methods = append(r.Methods, tryMethod(ctx, ns, method))
	}
	return r
}

func tryMethod(ctx context.Context, ns Namespaces, method nsexec.Method) MethodResult {
	m := MethodResult{Name: string(method)}
	o, err := LinkOptions{Name: "probe-" + string(method)}.complete()
	if err != nil {
		m.Err = err
		return m
	}
	start := time.Now()
	d, err := attach(ctx, ns, o, []nsexec.Method{method})
	m.Elapsed = time.Since(start)
	if err != nil {
		m.Err = err
		return m
	}
	m.Features, m.Warnings = d.Features, d.Warnings
	m.Err = d.Close()
	return m
}

// throwAway makes a user and network namespace that last as long as the handles.
func throwAway(ctx context.Context) (Namespaces, error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{helperName, holdArg}
	cmd.Env = helperEnv
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return Namespaces{}, fmt.Errorf("tap: probe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		stdin.Close()
		hint := ""
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EACCES) {
			hint = " (see the sysctls user.max_user_namespaces, user.max_net_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns)"
		}
		return Namespaces{}, fmt.Errorf("tap: probe: make a user and network namespace%s: %w", hint, err)
	}
	ns, err := OpenNamespaces(cmd.Process.Pid)
	stdin.Close()
	_ = cmd.Wait()
	return ns, err
}
