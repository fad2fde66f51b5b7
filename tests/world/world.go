package world

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrUnprivilegedNamespaces is returned by Start where the machine does not let an ordinary user make namespaces.
var ErrUnprivilegedNamespaces = errors.New("this machine does not let an ordinary user make user namespaces" +
	" (see sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)")

// Options say what a world contains besides itself. The zero value works.
type Options struct {
	Share      []string // folders that keep their path inside although /tmp, /run and /etc are private
	Footbridge string   // binary under test; its folder is shared and stands first in PATH
	NoPing     bool     // leave ping_group_range as the kernel makes it: nobody may use ping sockets
	Routers    bool     // a longer way behind the internet, by a second router and small links, to a far machine
	Root       bool     // no user namespace: Admin is the machine's root. For what needs that, such as Docker's daemon
	Stderr     *os.File // where the world's own helpers complain; default os.Stderr
}

// World is a host with a remote client and an internet. Close ends it.
type World struct {
	privileged, ordinary *os.File // control sockets of the two agents
	footbridge           string
	env                  []string
	tb                   TB // of New; nil for Start

	end  chan struct{} // closed by Close
	gone chan struct{} // closed when pid 1 has ended
	once sync.Once

	mu      sync.Mutex
	running map[*Cmd]bool // started and not waited for: unreferenced, their control sockets would be closed
}

func (w *World) keep(c *Cmd) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running == nil {
		w.running = make(map[*Cmd]bool)
	}
	w.running[c] = true
}

func (w *World) forget(c *Cmd) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.running, c)
}

// Start makes a world and returns when all of its machines and servers are up.
func Start(o Options) (*World, error) {
	switch root := os.Getuid() == 0; {
	case root && !o.Root:
		return nil, errors.New("a world is for an ordinary user: call Main first, it leaves root")
	case o.Root && !root:
		return nil, errors.New("a world of root's can only be made by root")
	}
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	w := &World{footbridge: o.Footbridge, end: make(chan struct{}), gone: make(chan struct{})}
	path := systemPath
	if o.Footbridge != "" {
		o.Share = append(o.Share, filepath.Dir(o.Footbridge))
		path = filepath.Dir(o.Footbridge) + ":" + path
	}
	w.env = append([]string{
		"PATH=" + path, "HOME=" + Home, "USER=user", "LOGNAME=user", "SHELL=/bin/bash", "TERM=xterm", "LC_ALL=C.UTF-8",
		"XDG_RUNTIME_DIR=" + RuntimeDir, "XDG_STATE_HOME=" + StateHome, "PYTHONUNBUFFERED=1",
	}, AddressVariables()...)
	told, err := json.Marshal(setup{Share: o.Share, NoPing: o.NoPing, Routers: o.Routers})
	if err != nil {
		return nil, fmt.Errorf("describing the world: %w", err)
	}

	var ours, theirs []*os.File
	for range 3 {
		a, b, err := socketpair()
		if err != nil {
			closeAll(append(ours, theirs...))
			return nil, err
		}
		ours, theirs = append(ours, a), append(theirs, b)
	}
	ready := ours[0]
	w.privileged, w.ordinary = ours[1], ours[2]

	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{personality, roleInit}
	cmd.Env = []string{"PATH=" + path, setupVariable + "=" + string(told)}
	cmd.Stderr = o.Stderr
	cmd.ExtraFiles = theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID |
			syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: UID, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: UID, HostID: os.Getgid(), Size: 1}},
		AmbientCaps: allCapabilities(),
		Pdeathsig:   syscall.SIGKILL,
		Setsid:      true,
	}
	if o.Root {
		cmd.SysProcAttr.Cloneflags &^= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings, cmd.SysProcAttr.AmbientCaps = nil, nil, nil
	}
	started := make(chan error, 1)
	go func() {
		// The parent's death signal is sent when the starting thread ends, so the thread is kept until the end.
		runtime.LockOSThread()
		err := cmd.Start()
		closeAll(theirs)
		started <- err
		if err != nil {
			return
		}
		go func() {
			<-w.end
			cmd.Process.Kill()
		}()
		cmd.Wait()
		close(w.gone)
	}()
	if err := <-started; err != nil {
		closeAll(ours)
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EACCES) {
			return nil, fmt.Errorf("%w: %v", ErrUnprivilegedNamespaces, err)
		}
		return nil, fmt.Errorf("starting the world: %w", err)
	}
	var up reply
	_, err = receive(ready, &up)
	ready.Close()
	if err == nil && up.Error != "" {
		err = errors.New(up.Error)
	}
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("making the world: %w", err)
	}
	return w, nil
}

// allCapabilities lists every capability this kernel knows: the world's helpers hold them in the world's namespaces.
func allCapabilities() []uintptr {
	last := 40 // CAP_CHECKPOINT_RESTORE, Linux 5.9
	if b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap"); err == nil {
		fmt.Sscan(string(b), &last)
	}
	caps := make([]uintptr, 0, last+1)
	for c := 0; c <= last; c++ {
		caps = append(caps, uintptr(c))
	}
	return caps
}

// Close ends the world with everything in it and returns when it is gone.
func (w *World) Close() {
	w.once.Do(func() {
		close(w.end)
		w.privileged.Close()
		w.ordinary.Close()
	})
	<-w.gone
}

// Environ returns the environment of the user's commands.
func (w *World) Environ() []string { return append([]string(nil), w.env...) }

// CongestionControl names the TCP congestion control that sockets of a place use unless they choose another.
func (w *World) CongestionControl(place Place) string {
	r := w.Run(place, "cat", "/proc/sys/net/ipv4/tcp_congestion_control")
	return strings.TrimSpace(r.Stdout)
}

// Poll asks until the answer is true or the time is over, and says which. Use it for what another process does.
func Poll(limit time.Duration, answer func() bool) bool {
	deadline := time.Now().Add(limit)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		if answer() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pause)
	}
}
