package shim

import (
	"errors"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// mappedMain waits until the id maps are written and executes itself anew, now as uid 0 of its user
// namespace, which gives the capabilities that a process without a mapped uid lost at its first execve.
func mappedMain() int {
	var b [1]byte
	for {
		n, err := unix.Read(helperFD, b[:])
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			return 1 // the shim gave up
		}
		break
	}
	_ = syscall.Exec(selfExe, []string{initName, roleRun}, runtimeEnv)
	return 1
}

// initMain is a container's pid 1. It does what the shim says until the command ends, or until the
// shim is gone; its own end is the end of every process of the container.
func initMain() int {
	conn, err := fileConn(os.NewFile(helperFD, "shim"))
	if err != nil {
		return 1
	}
	in := &initServer{conn: conn, children: map[int]*child{}, ended: make(chan int, 1)}
	// Children's ends have a channel of their own: a signal that finds its channel full is dropped, and of these
	// none may be. With room for one, one that finds it full is not needed: reap takes all that have ended. And
	// the Go scheduler's own signals, of which there may be any number, are not asked for.
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	go func() {
		for range children {
			in.reap()
		}
	}()
	others := make(chan os.Signal, 64)
	signal.Notify(others, forwarded()...)
	go in.forward(others)
	go in.serve()
	return <-in.ended
}

// forwarded are the signals that pid 1 hands on to the command.
func forwarded() []os.Signal {
	var all []os.Signal
	for s := syscall.Signal(1); s <= lastSignal; s++ {
		switch s {
		case unix.SIGCHLD, unix.SIGURG, unix.SIGPIPE: // children, the Go scheduler's own, and a shim that went away
		default:
			all = append(all, s)
		}
	}
	return all
}

// initServer is the state of pid 1.
type initServer struct {
	conn  *net.UnixConn
	write sync.Mutex // one answer at a time on conn

	// mu is held from fork to entry in children, so that the reaper knows whom it reaps.
	mu       sync.Mutex
	children map[int]*child // by pid

	setup *setupRequest
	ended chan int // exit code for pid 1
}

// exit ends pid 1 with code; the first call counts.
func (in *initServer) exit(code int) {
	select {
	case in.ended <- code:
	default:
	}
}

func (in *initServer) answer(a initAnswer) {
	in.write.Lock()
	defer in.write.Unlock()
	if a.Error != nil {
		a.Error.Message = printable(a.Error.Message)
	}
	if err := writeMessage(in.conn, maxAnswer, a); err != nil {
		in.exit(255) // without a shim there is no container
	}
}

// serve reads the shim's requests. The end of the connection is the end of the shim, and so of us.
func (in *initServer) serve() {
	for {
		var req initRequest
		files, err := readMessageFiles(in.conn, maxRequest, &req)
		if err != nil {
			closeFiles(files)
			in.exit(255)
			return
		}
		switch {
		case req.Op == initSetup && req.Setup != nil:
			in.setup = req.Setup
			// Mounts belong to the process, but capabilities to the thread: all threads have the same here.
			in.answer(initAnswer{Op: initReady, Error: toWire(setup(req.Setup))})
		case req.Op == initLaunch && req.Launch != nil:
			// A launch may hang on a dead file server; others must not hang with it.
			go in.launch(req.ID, req.Launch, files)
			files = nil
		case req.Op == initSignal:
			in.signal(req.ID, syscall.Signal(req.Signal))
		}
		closeFiles(files)
	}
}

// launch makes a process and reports how that went. A command that cannot be executed ends the container.
func (in *initServer) launch(id int, req *launchRequest, files []*os.File) {
	var err error
	if id == 0 {
		err = finishSetup(in.setup)
	}
	if err == nil {
		err = in.fork(id, req, files)
	}
	closeFiles(files)
	if err == nil {
		return // fork reported, in the right order with the process's end
	}
	in.answer(initAnswer{Op: initLaunched, ID: id, Error: toWire(err)})
	if id == 0 {
		code := 128
		var se *StartError
		if errors.As(err, &se) {
			code = se.Code
		}
		in.exit(code)
	}
}
