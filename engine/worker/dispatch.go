package worker

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/forwarder"
	"github.com/footbridge-net/footbridge/internal/buildinfo"
	"github.com/footbridge-net/footbridge/internal/busypoll"
	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/sandbox"
	"github.com/footbridge-net/footbridge/internal/startup"
)

// logVariable says how much the worker logs, as slog's levels.
const logVariable = "FOOTBRIDGE_LOG_LEVEL"

// Dispatch returns at once unless this process was started as a worker; else it
// never returns. It belongs at the top of main.
func Dispatch() {
	if len(os.Args) == 0 || os.Args[0] != processName {
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "footbridge worker:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// run is the worker from its start to the end of its socket.
func run() error {
	// One P: a frame goes through reader, netstack and writer by hand-offs
	// between goroutines, and on one P these stay on one thread instead of waking
	// another. Measured on two cores: twice the connections per second, and no
	// row of the benchmarks that was slower.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	// Only a name, for lists of processes: a failure is no harm.
	_ = os.WriteFile("/proc/self/comm", []byte(processName), 0)
	if os.Getenv("GOTRACEBACK") == "" {
		debug.SetTraceback("all") // all there will be of a crash
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(os.Getenv(logVariable))); err != nil {
		level = slog.LevelWarn
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("process", "worker")

	fdpass.CloseInherited(bellFD)
	// Nobody reads standard error from when the keeper executes another program until
	// that one has a worker of its own: what is written then is lost, and no more.
	signal.Ignore(unix.SIGPIPE)
	// For counting: the sandbox opens nothing.
	fds, err := os.Open("/proc/self/fd")
	if err != nil {
		return err
	}
	defer fds.Close()
	conn, err := fdpass.NewConn(socketFD)
	if err != nil {
		return err
	}
	defer conn.Close()
	fdpass.NewHandle(lockFD) // held until the end
	fdpass.NewHandle(bellFD)

	s, err := newServer(log, fds)
	if err != nil {
		return err
	}
	if err := busypoll.Start(); err != nil {
		log.Warn("every packet is slept for", "error", err)
	}
	forwarder.Settle()
	o := sandbox.FromEnvironment()
	if o.UnixSocket, err = conn.FD(); err != nil {
		return err
	}
	if err := startup.Over(); err != nil {
		log.Debug("the start's memory is kept", "error", err)
	}
	if s.sandbox, err = sandbox.Enter(o); err != nil {
		return err
	}
	keepCalm(quiet)
	return s.serve(conn)
}

// serve answers requests until there is nobody left who could ask.
func (s *server) serve(conn *fdpass.Conn) error {
	if err := s.answer(conn, s.self(), nil); err != nil {
		return err
	}
	buf := make([]byte, fdpass.MaxMessage)
	for {
		n, handles, err := conn.Receive(buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive a request: %w", err)
		}
		var r request
		var body any
		if err = decode(buf[:n], &r); err == nil {
			body, err = s.do(r, handles)
		}
		fdpass.CloseAll(handles) // those that were not taken over
		if err := s.answer(conn, body, err); err != nil {
			return fmt.Errorf("answer a request: %w", err)
		}
	}
}

// self is what the worker tells of itself.
func (s *server) self() Self {
	return Self{Version: buildinfo.Get().Version, Goroutines: runtime.NumGoroutine(), Landlock: s.sandbox.Landlock, Notes: s.sandbox.Notes}
}

// openFiles counts the process's files. Each takes a microsecond, in which no packet moves.
func (s *server) openFiles() int {
	if _, err := s.fds.Seek(0, io.SeekStart); err != nil {
		return 0
	}
	names, _ := s.fds.Readdirnames(-1)
	return len(names)
}
