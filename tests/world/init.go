package world

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// setup is what pid 1 is told by its parent, in the environment variable setupVariable.
type setup struct {
	Share   []string // folders that keep their path inside although /tmp and /run are private
	NoPing  bool     // ping_group_range stays closed on the host
	Routers bool     // there is a longer way, to a far machine
}

const setupVariable = "FOOTBRIDGE_WORLD_SETUP"

// File descriptors of pid 1.
const (
	initReadyFD      = 3 // one reply: the world is up, or why not
	initPrivilegedFD = 4 // control socket of the agent that holds the capabilities
	initOrdinaryFD   = 5 // control socket of the agent without
)

// runInit makes the world and then reaps until one of the agents ends.
func runInit() error {
	// The parent's thread may have gone before this took effect; then the control sockets are closed already.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("asking for the parent's death signal: %w", err)
	}
	for fd := initReadyFD; fd <= initOrdinaryFD; fd++ {
		syscall.CloseOnExec(fd)
	}
	ready := os.NewFile(initReadyFD, "ready")
	agents, err := makeWorld()
	if err != nil {
		send(ready, reply{Error: err.Error()})
		return err
	}
	if err := send(ready, reply{PID: os.Getpid()}); err != nil {
		return err
	}
	ready.Close()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("waiting for the agents: %w", err)
		}
		if agents[pid] {
			return nil
		}
	}
}

// makeWorld does everything that needs a capability and starts the agents; it returns their process ids.
func makeWorld() (map[int]bool, error) {
	var s setup
	if err := json.Unmarshal([]byte(os.Getenv(setupVariable)), &s); err != nil {
		return nil, fmt.Errorf("reading what kind of world is wanted: %w", err)
	}
	os.Unsetenv(setupVariable)
	if err := makeMounts(s.Share); err != nil {
		return nil, err
	}
	if err := makeNetworks(s); err != nil {
		return nil, err
	}
	places := []Place{Internet, Host}
	if s.Routers {
		places = append(places, Far)
	}
	for _, place := range places {
		if err := startServices(place); err != nil {
			return nil, err
		}
	}
	agents := make(map[int]bool)
	for _, a := range []struct {
		role string
		fd   uintptr
	}{{roleAgent, initPrivilegedFD}, {roleDrop, initOrdinaryFD}} {
		control := os.NewFile(a.fd, "control")
		cmd := helper(a.role)
		cmd.ExtraFiles = []*os.File{control}
		if err := cmd.Start(); err != nil {
			return nil, fmt.Errorf("starting an agent: %w", err)
		}
		control.Close()
		agents[cmd.Process.Pid] = true
	}
	return agents, nil
}

// helper is the command that starts this binary in a role.
func helper(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{personality}, args...)
	cmd.Stderr = os.Stderr
	return cmd
}

// startServices starts the servers of one machine and waits until all of them listen.
func startServices(place Place) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("making a pipe: %w", err)
	}
	defer r.Close()
	cmd := helper(roleServices, string(place))
	cmd.ExtraFiles = []*os.File{w}
	err = inPlace(place, cmd.Start)
	w.Close()
	if err != nil {
		return fmt.Errorf("starting the servers of %s: %w", place, err)
	}
	line, _ := bufio.NewReader(r).ReadString('\n')
	if line = strings.TrimSpace(line); line != "ready" {
		return fmt.Errorf("the servers of %s did not come up: %s", place, line)
	}
	return nil
}
