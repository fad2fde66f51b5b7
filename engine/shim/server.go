package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lingerTime is how long an ended container's shim waits for somebody to ask how it ended. exit.json
	// says so as well, so it is only long enough that a daemon in the middle of a restart finds a socket.
	lingerTime = 3 * time.Second
	// farewellTime is how long pid 1's last messages may take to be read after its death.
	farewellTime = time.Second
	// maxExecs bounds execs that run or wait to, per container; ended ones are forgotten when more come.
	maxExecs = 1024
	// maxConns bounds clients of one shim. They are the user's own, so this only stops a runaway.
	maxConns = 2048
)

// server is a shim: the process that holds one container.
type server struct {
	spec Spec
	init *initProcess
	log  *logFile
	caps []int
	ln   *net.UnixListener

	writeInit sync.Mutex // one request at a time on init.conn

	mu     sync.Mutex
	procs  map[int]*process // 0 is the command
	nextID int
	drains map[int]func()
	conns  int
	linger *time.Timer
	gone   bool // ended: no further process is launched

	ready     chan error    // answer to the setup request
	read      chan struct{} // closed when pid 1's messages are read to their end
	over      chan struct{} // closed when exit is written
	quit      chan struct{} // closed to end the shim
	removeOne sync.Once
	quitOne   sync.Once
}

// shimMain is a shim's whole life. The first message on the inherited socket is the Spec, the
// answer says whether the container was made.
func shimMain() int {
	unix.Umask(0o022)
	conn, err := fileConn(os.NewFile(helperFD, "engine"))
	if err != nil {
		return 1
	}
	s := &server{
		procs: map[int]*process{}, drains: map[int]func(){}, nextID: 1,
		ready: make(chan error, 1), read: make(chan struct{}), over: make(chan struct{}), quit: make(chan struct{}),
	}
	if err := readMessage(conn, maxRequest, &s.spec); err != nil {
		return 1
	}
	if err := s.create(); err != nil {
		_ = writeMessage(conn, maxRequest, answer{Error: toWire(err)})
		s.remove()
		return 1
	}
	if err := writeMessage(conn, maxRequest, answer{State: s.state()}); err != nil {
		// The engine died while asking, nobody knows of this container.
		s.init.kill()
		s.remove()
		return 1
	}
	conn.Close()
	s.run()
	return 0
}

// create makes everything up to, but without, the command.
func (s *server) create() (err error) {
	if err := s.spec.validate(); err != nil {
		return err
	}
	caps, err := boundingSet(s.spec.CapAdd, s.spec.CapDrop, s.spec.Privileged)
	if err != nil {
		return err
	}
	for _, c := range caps {
		s.caps = append(s.caps, int(c))
	}
	if err := s.listen(); err != nil {
		return err
	}
	scratch := filepath.Join(s.spec.Dir, scratchName)
	if err := os.Mkdir(scratch, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if s.spec.LogPath != "" {
		if s.log, err = openLog(s.spec.LogPath, complain); err != nil {
			return err
		}
	}
	command, err := newProcess(0, s.spec.TTY, s.spec.OpenStdin, s.spec.StdinOnce, s.log)
	if err != nil {
		return err
	}
	s.procs[0] = command
	if s.init, err = spawnInit(&s.spec); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.init.kill()
		}
	}()
	go s.readInit()
	if err := s.askInit(initRequest{Op: initSetup, Setup: &setupRequest{
		Hostname: s.spec.Hostname, Domainname: s.spec.Domainname,
		Binds: s.spec.fileBinds(), Mask: s.spec.Mask, Scratch: scratch,
		Loopback: s.spec.ownNetwork(), Privileged: s.spec.Privileged, Sysctls: s.spec.Sysctls,
	}}); err != nil {
		return fmt.Errorf("talk to pid 1: %w", err)
	}
	select {
	case err := <-s.ready:
		return explainSetup(err)
	case <-s.read:
		return errors.New("pid 1 ended before the container was set up")
	}
}

func (s *server) listen() error {
	path := filepath.Join(s.spec.Dir, socketName)
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return fmt.Errorf("%w: a container runs in %s already", ErrStarted, s.spec.Dir)
	}
	for _, stale := range []string{path, filepath.Join(s.spec.Dir, exitName)} {
		if err := os.Remove(stale); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	old := unix.Umask(0o177)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	unix.Umask(old)
	if err != nil {
		return err
	}
	s.ln = ln
	return nil
}

// run serves until the container ended and nobody cares any more.
func (s *server) run() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)
	go func() {
		for range signals { // whoever wants the shim gone wants the container gone, in good order
			_ = s.init.sigkill()
		}
	}()
	go s.watch()
	go s.accept()
	<-s.quit
	s.remove()
}

// watch waits for pid 1's end, which is the container's, and records it.
func (s *server) watch() {
	code := s.init.wait()
	// Messages that pid 1 sent before it died are still to be read, the ends of execs among them. Its
	// socket may live on in other hands, hence the limit.
	_ = s.init.conn.SetReadDeadline(time.Now().Add(farewellTime))
	<-s.read
	exit := Exit{Code: code, FinishedAt: time.Now().UTC()}

	s.mu.Lock()
	s.gone = true
	command := s.procs[0]
	var all []*process
	for _, p := range s.procs {
		all = append(all, p)
	}
	drains := s.drains
	s.drains = map[int]func(){}
	s.mu.Unlock()
	select {
	case <-command.started:
		if command.startErr != nil {
			exit.Error = command.startErr.Error()
		}
	default:
	}
	var ends sync.WaitGroup
	for _, p := range all {
		e := Exit{Code: 128 + int(unix.SIGKILL), FinishedAt: exit.FinishedAt}
		if p.id == 0 {
			e = exit
		}
		ends.Go(func() { p.end(e, drains[p.id]) })
	}
	ends.Wait()
	if s.log != nil {
		s.log.close()
	}
	if err := writeExit(s.spec.Dir, exit); err != nil {
		complain(err)
	}
	s.mu.Lock()
	close(s.over)
	s.lingerLocked()
	s.mu.Unlock()
}

// lingerLocked starts or stops the shim's last timer: it runs while the container is over and nobody is connected.
func (s *server) lingerLocked() {
	select {
	case <-s.over:
	default:
		return
	}
	if s.linger != nil {
		s.linger.Stop()
		s.linger = nil
	}
	if s.conns == 0 {
		s.linger = time.AfterFunc(lingerTime, s.end)
	}
}

func (s *server) end() { s.quitOne.Do(func() { close(s.quit) }) }

// remove takes away what the shim put into the container's directory, except exit.json.
func (s *server) remove() { s.removeOne.Do(s.removeFiles) }

func (s *server) removeFiles() {
	if s.ln != nil {
		s.ln.Close() // unlinks the socket
	}
	_ = os.Remove(filepath.Join(s.spec.Dir, scratchName))
	if st, err := os.Stat(filepath.Join(s.spec.Dir, crashName)); err == nil && st.Size() == 0 {
		_ = os.Remove(filepath.Join(s.spec.Dir, crashName))
	}
}

// writeExit makes exit.json appear at once and whole.
func writeExit(dir string, e Exit) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, exitName)
	if err := os.WriteFile(name+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// complain goes to shim.log in the container's directory.
func complain(err error) {
	fmt.Fprintln(os.Stderr, time.Now().UTC().Format(time.RFC3339), err)
}

// state is the answer to opState.
func (s *server) state() *State {
	s.mu.Lock()
	command := s.procs[0]
	s.mu.Unlock()
	st := &State{ID: s.spec.ID, Status: Created, PID: s.init.pid, TTY: s.spec.TTY, OpenStdin: s.spec.OpenStdin}
	select {
	case <-command.started:
		if command.startErr == nil {
			st.Status, st.StartedAt = Running, command.startedAt
		}
	default:
	}
	select {
	case <-command.ended:
		exit := command.exit
		st.Status, st.Exit = Exited, &exit
	default:
	}
	return st
}
