package shim

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// child is a process that pid 1 made because the shim asked. Fields are under initServer.mu.
type child struct {
	id        int
	launching bool // it has not executed the command yet; its end is not yet the command's
	ended     bool
	code      int
}

// signal sends a signal to the process with an ID. While mu is held its pid cannot be reaped and reused.
func (in *initServer) signal(id int, s syscall.Signal) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for pid, c := range in.children {
		if c.id == id {
			_ = unix.Kill(pid, s)
		}
	}
}

// forward hands on to the command what pid 1 is sent from outside.
func (in *initServer) forward(c <-chan os.Signal) {
	for s := range c {
		in.signal(0, s.(syscall.Signal))
	}
}

// reap collects every child that ended, ours and orphans alike.
func (in *initServer) reap() {
	for in.reapOne() {
	}
}

func (in *initServer) reapOne() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	var ws unix.WaitStatus
	pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
	if err == unix.EINTR {
		return true
	}
	if pid <= 0 {
		return false
	}
	c := in.children[pid]
	delete(in.children, pid)
	if c == nil {
		return true
	}
	c.ended, c.code = true, exitCode(ws)
	if !c.launching {
		in.report(c)
	}
	return true
}

// report tells of a process's end. The command's end needs no message: pid 1 ends with its code.
func (in *initServer) report(c *child) {
	if c.id == 0 {
		in.exit(c.code)
		return
	}
	in.answer(initAnswer{Op: initExited, ID: c.id, Code: c.code})
}

// fork starts a launcher, waits until it has executed the command or failed, and reports success.
func (in *initServer) fork(id int, req *launchRequest, files []*os.File) error {
	want := 3
	if req.TTY {
		want = 1
	}
	if len(files) != want {
		return invalid("%d files came with the request, not %d", len(files), want)
	}
	var fds []uintptr
	for len(fds) < 3 {
		for _, f := range files {
			fds = append(fds, f.Fd())
		}
	}
	conn, theirs, err := socketPair()
	if err != nil {
		return err
	}
	defer conn.Close()
	attr := &syscall.ProcAttr{Dir: "/", Env: runtimeEnv, Files: append(fds, theirs.Fd()), Sys: &syscall.SysProcAttr{Setsid: true}}
	if req.TTY {
		attr.Sys.Setctty, attr.Sys.Ctty = true, 0
	}

	c := &child{id: id, launching: true}
	in.mu.Lock()
	pid, err := syscall.ForkExec(selfExe, []string{initName, roleLaunch}, attr)
	if err == nil {
		in.children[pid] = c
	}
	in.mu.Unlock()
	runtime.KeepAlive(files)
	theirs.Close()
	if err != nil {
		return err
	}

	// A launcher that is killed before it read the request says nothing, like one that succeeded;
	// its exit status then tells. So an error of writing is no news.
	_ = writeMessage(conn, maxRequest, req)
	var failure wireError
	if err := readMessage(conn, maxAnswer, &failure); err == nil {
		in.mu.Lock()
		delete(in.children, pid) // reaped as a stranger, if it was not already
		in.mu.Unlock()
		return fromWire(&failure)
	}
	// The launcher's execve closed its end: silence is success.
	in.mu.Lock()
	defer in.mu.Unlock()
	c.launching = false
	in.answer(initAnswer{Op: initLaunched, ID: id})
	if c.ended {
		in.report(c)
	}
	return nil
}
