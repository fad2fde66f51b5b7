package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
	"github.com/footbridge-net/footbridge/engine/foreign"
	"github.com/footbridge-net/footbridge/internal/ocihook"
)

// The usher is a process of the user's between two hooks. Containers may not speak to the
// daemon, and a createContainer hook is in the container's namespaces already:
//
//	createRuntime hook --starts--> usher <--connects-- createContainer hook
//	                                 |                     ^
//	                     daemon <----+  answers, ends -----+
//
// It does one thing, for one caller: a process below the one that the runtime has named,
// before that has become the container's command.

const (
	// usherTimeout is how long an usher waits: runtimes call the one hook right after the
	// other.
	usherTimeout = 2 * time.Minute
	// maxUsherAnswer bounds what a createContainer hook reads, in bytes.
	maxUsherAnswer = 64 << 10
	// maxAncestors bounds the way up from a hook to the container's process: a runtime may
	// have one or two between.
	maxAncestors = 16
)

// usherName is what the usher is called in lists of processes.
const usherName = "footbridge-usher"

// usherJob is what an usher is told on its standard input.
type usherJob struct {
	Process api.ProcessID // the container's
	ID      string        // of footbridge's container; "": attach it
	Request api.NamespaceRequest
}

// usherAnswer is what a createContainer hook hears.
type usherAnswer struct {
	Error             string `json:",omitempty"`
	ResolvConf, Hosts string // paths
}

// usher is the path of the socket of a container's usher. It is no longer than a shim's.
func (d dirs) usher(state ocihook.State) string {
	return filepath.Join(d.runtime, fmt.Sprintf("u-%x", sha256.Sum256([]byte(state.ID+"\x00"+state.Bundle)))[:14])
}

// startUsher starts this program as an usher that listens on a socket when this returns.
func startUsher(socket string, environ []string, job usherJob) error {
	fail := func(err error) error {
		return fmt.Errorf("the process that the createContainer hook is to ask could not be started: %w", err)
	}
	text, err := json.Marshal(job)
	if err != nil {
		return fail(err)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fail(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return fail(err)
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	listener, err := l.File()
	if err != nil {
		return fail(err)
	}
	defer listener.Close()
	input, inputEnd, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer inputEnd.Close()

	cmd := exec.Command("/proc/self/exe", socket)
	cmd.Args[0] = usherName
	cmd.Dir = "/"
	cmd.Stdin = input // output goes nowhere: the runtime waits for the end of what it reads
	cmd.ExtraFiles = []*os.File{listener}
	cmd.Env = daemonEnv(environ)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	err = cmd.Start()
	_ = input.Close()
	if err == nil {
		_, err = inputEnd.Write(text)
	}
	if err != nil {
		_ = os.Remove(socket)
		return fail(err)
	}
	return cmd.Process.Release()
}

// dispatchUsher makes this process an usher if it was started as one, and does not return then.
func dispatchUsher() {
	if len(os.Args) != 2 || os.Args[0] != usherName {
		return
	}
	if err := serveUsher(newCLI(), os.Args[1]); err != nil {
		os.Exit(exitFailure)
	}
	os.Exit(0)
}

// serveUsher waits for the hook and serves it.
func serveUsher(c *cli, socket string) error {
	defer os.Remove(socket)
	file := os.NewFile(3, "listener")
	listener, err := net.FileListener(file)
	if err != nil {
		return err
	}
	_ = file.Close()
	l, ok := listener.(*net.UnixListener)
	if !ok {
		return errors.New("descriptor 3 is no unix socket")
	}
	defer l.Close()
	var job usherJob
	if err := json.NewDecoder(c.stdin).Decode(&job); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), usherTimeout)
	defer cancel()
	// A container that was given up needs nobody any more.
	go func() {
		defer cancel()
		foreign.Process{PID: job.Process.PID, Start: job.Process.Start}.Await(ctx)
	}()
	context.AfterFunc(ctx, func() { _ = l.Close() })
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return err
		}
		caller, err := callerBelow(conn, job.Process.PID)
		if err != nil {
			_ = conn.Close() // somebody else
			continue
		}
		answer := c.usherAnswer(context.WithoutCancel(ctx), job, caller)
		_ = conn.SetWriteDeadline(time.Now().Add(usherTimeout))
		err = json.NewEncoder(conn).Encode(answer)
		return errors.Join(err, conn.Close())
	}
}

// usherAnswer attaches the container, if that is still to be done, and tells where its files are.
func (c *cli) usherAnswer(ctx context.Context, job usherJob, caller foreign.Process) usherAnswer {
	fail := func(err error) usherAnswer {
		return usherAnswer{Error: strings.TrimPrefix(errorText(err), "footbridge: ")}
	}
	client, err := c.runningDaemon(ctx)
	if err != nil {
		return fail(err)
	}
	if job.ID == "" {
		req := job.Request
		req.Via = &api.ProcessID{PID: caller.PID, Start: caller.Start}
		if job.ID, err = hookAttach(ctx, client, req, fmt.Sprintf("/proc/%d/ns/net", caller.PID)); err != nil {
			return fail(err)
		}
	}
	in, err := client.ContainerInspect(ctx, job.ID)
	if err != nil {
		return fail(err)
	}
	return usherAnswer{ResolvConf: in.ResolvConfPath, Hosts: in.HostsPath}
}

// callerBelow returns the process that has connected, which must be one below pid.
func callerBelow(conn *net.UnixConn, pid int) (foreign.Process, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return foreign.Process{}, err
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil || err != nil {
		return foreign.Process{}, errors.Join(cerr, err)
	}
	caller, err := foreign.Find(int(cred.Pid))
	if err != nil {
		return foreign.Process{}, err
	}
	at := caller.PID
	for range maxAncestors {
		if at, err = parentOf(at); err != nil {
			return foreign.Process{}, err
		}
		if at == pid {
			return caller, nil
		}
	}
	return foreign.Process{}, fmt.Errorf("process %d is not below process %d", caller.PID, pid)
}

// parentOf returns the parent of a process, as it is seen from here.
func parentOf(pid int) (int, error) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "PPid:"); ok {
			return strconv.Atoi(strings.TrimSpace(text))
		}
	}
	return 0, errors.New("the kernel's word on a process (/proc/PID/status) is not understood")
}

// hookCreateContainer shows the container its files, when it is attached. It closes the
// connection to the usher.
func (c *cli) hookCreateContainer(state ocihook.State, usher net.Conn) error {
	answer, err := askUsher(usher)
	if err != nil {
		return err
	}
	config, err := ocihook.ReadConfig(state.Bundle)
	if err != nil {
		return err
	}
	if !config.Has("mount") {
		fmt.Fprintln(c.stderr, "footbridge: warning: the container has no mount namespace of its own: its /etc/resolv.conf and /etc/hosts are the machine's, in which its networks' names are not known")
		return nil
	}
	root := config.RootFolder(state.Bundle)
	for name, file := range hookFiles(answer) {
		if file == "" || config.MountsAt("/"+name) { // the bundle has its own
			continue
		}
		err := ocihook.ShowFile(file, root, name)
		if errors.Is(err, ocihook.ErrNoPlace) {
			fmt.Fprintf(c.stderr, "footbridge: warning: %v: make an empty file there\n", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// hookFiles are the files that a container is shown, by their places in its root folder.
func hookFiles(answer usherAnswer) map[string]string {
	return map[string]string{"etc/resolv.conf": answer.ResolvConf, "etc/hosts": answer.Hosts}
}

// callUsher connects to a container's usher.
func (c *cli) callUsher(ctx context.Context, state ocihook.State) (net.Conn, error) {
	d := dirs{runtime: plugin.RuntimeDir(c.getenv)} // the user's: this one is another in there
	conn, err := (&net.Dialer{Timeout: usherTimeout}).DialContext(ctx, "unix", d.usher(state))
	if err != nil {
		return nil, fmt.Errorf("no createRuntime hook has prepared it: %w: let footbridge's be called before this one, with the same XDG_RUNTIME_DIR in the env of both", err)
	}
	return conn, nil
}

// askUsher waits until the container is attached.
func askUsher(conn net.Conn) (usherAnswer, error) {
	defer conn.Close()
	var answer usherAnswer
	_ = conn.SetDeadline(time.Now().Add(usherTimeout))
	if err := json.NewDecoder(io.LimitReader(conn, maxUsherAnswer)).Decode(&answer); err != nil {
		return answer, fmt.Errorf("the process that the createRuntime hook has left behind does not answer: %w", err)
	}
	if answer.Error != "" {
		return answer, errors.New(answer.Error)
	}
	return answer, nil
}
