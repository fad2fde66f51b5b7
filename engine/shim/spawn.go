package shim

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Names that the binary is started under, in argv[0].
const (
	shimName = "footbridge-shim"
	initName = "footbridge-init"
)

// What a footbridge-init is to do, in argv[1].
const (
	roleRun    = "run"    // be pid 1
	roleMapped = "mapped" // wait for the id maps, then execute as roleRun to gain the capabilities of uid 0
	roleLaunch = "launch" // become a container's process
	roleProbe  = "probe"  // try what containers need, for Check
)

// selfExe is this binary even after an update replaced the file.
const selfExe = "/proc/self/exe"

// runtimeEnv is the whole environment of our helpers. The Go runtime would otherwise keep files of the
// cgroup tree open and look into them every second, to follow the CPU limit; one thread at a time is plenty.
var runtimeEnv = []string{"GOMAXPROCS=1", "GODEBUG=containermaxprocs=0,updatemaxprocs=0"}

// newNamespaces is what every container has of its own, besides user and network namespace.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC

// initProcess is the shim's view of a container's pid 1.
type initProcess struct {
	pid   int // in the host's pid namespace; a child of ours, so not reused until waited for
	pidfd *os.File
	conn  *net.UnixConn
}

// spawnInit makes the namespaces and pid 1 in them, which then waits for its first request.
func spawnInit(spec *Spec) (*initProcess, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	conn, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()

	join, err := openNamespaces(spec)
	var pid int
	switch {
	case err != nil:
	case join != nil:
		pid, err = cloneInto(join, null, theirs)
		join.Close()
	default:
		pid, err = cloneNew(spec, null, theirs, conn)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	p := &initProcess{pid: pid, conn: conn}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("pidfd_open: %w", err)
	}
	p.pidfd = os.NewFile(uintptr(fd), "pidfd")
	return p, nil
}

// cloneNew makes pid 1 in a user namespace of its own.
func cloneNew(spec *Spec, null, sock *os.File, conn *net.UnixConn) (int, error) {
	sys := &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWUSER | newNamespaces}
	if spec.ownNetwork() {
		sys.Cloneflags |= unix.CLONE_NEWNET
	}
	role := roleRun
	var uids, gids mapping
	if spec.UserNS == "auto" {
		var err error
		if uids, gids, err = autoMaps(); err != nil {
			return 0, err
		}
		role = roleMapped
	} else {
		sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	nullFD, sockFD := null.Fd(), sock.Fd()
	pid, err := syscall.ForkExec(selfExe, []string{initName, role}, &syscall.ProcAttr{
		Dir: "/", Env: runtimeEnv, Files: []uintptr{nullFD, nullFD, nullFD, sockFD}, Sys: sys,
	})
	if err != nil {
		return 0, explainClone(err)
	}
	if role == roleMapped {
		err := writeAutoMaps(pid, uids, gids)
		if err == nil {
			_, err = conn.Write([]byte{1})
		}
		if err != nil {
			(&initProcess{pid: pid}).kill()
			return 0, err
		}
	}
	return pid, nil
}

// wait blocks until pid 1, and with it every process of the container, is gone, and returns its exit code.
func (p *initProcess) wait() int {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(p.pid, &ws, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 255 // not our child: cannot be
		}
		return exitCode(ws)
	}
}

// kill ends pid 1 and all others of its pid namespace, waits for it, and releases what is held.
func (p *initProcess) kill() {
	_ = unix.Kill(p.pid, unix.SIGKILL)
	p.wait()
	p.close()
}

// sigkill ends pid 1 without waiting; through the pid file descriptor it can never hit another process.
func (p *initProcess) sigkill() error { return signalPidfd(p.pidfd, unix.SIGKILL) }

func signalPidfd(f *os.File, s unix.Signal) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	if err := c.Control(func(fd uintptr) { serr = unix.PidfdSendSignal(int(fd), s, nil, 0) }); err != nil {
		return err
	}
	return serr
}

func (p *initProcess) close() {
	if p.conn != nil {
		p.conn.Close()
	}
	if p.pidfd != nil {
		p.pidfd.Close()
	}
}

// exitCode is the shell's and Docker's reading of a wait status.
func exitCode(ws unix.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}
