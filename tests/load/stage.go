package load

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

// arrival bounds how long an agent takes to come up.
const arrival = 15 * time.Second

// Stage is a world with agents on its machines and in its containers.
type Stage struct {
	World *world.World
	Hub   *Hub

	Host   *Agent // the user: what it may signal, footbridge's user may
	Admin  *Agent // on the same machine, with the world's capabilities: for looking only
	Client *Agent

	// Footbridge commands are given to this binary; default: the one under test.
	Binary string
}

// StateSize is how large the file system of the user's state folder is, in KiB: small enough to fill.
const StateSize = 8 << 10

// stages numbers the sockets of hubs.
var stages atomic.Int32

// NewStage makes a world and its agents. There is no daemon yet.
func NewStage() (s *Stage, err error) {
	s = new(Stage)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.Hub, err = NewHub(filepath.Join(world.Stage(), fmt.Sprintf("hub%d", stages.Add(1)))); err != nil {
		s.Hub = nil
		return nil, err
	}
	if s.World, err = world.Start(world.Options{Footbridge: world.Binary(), Share: world.SharedFolders()}); err != nil {
		return nil, err
	}
	if r := s.World.Run(world.Admin, "mount", "-t", "tmpfs", "-o", fmt.Sprintf("mode=700,size=%dk", StateSize), "state", world.StateHome); r.Code != 0 {
		return nil, fmt.Errorf("mounting a small file system for the state: %s", r.Stderr)
	}
	for place, agent := range map[world.Place]**Agent{world.Host: &s.Host, world.Admin: &s.Admin, world.Client: &s.Client} {
		name := string(place)
		var words []string
		if place != world.Client {
			// Host and Admin are one machine: only one of them can have the servers' ports.
			words = []string{withoutServers}
		}
		c := s.World.Command(place, s.Hub.Command(name, words...)...)
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			return nil, err
		}
		if *agent, err = s.Hub.Await(name, arrival); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Close ends the world and everything in it.
func (s *Stage) Close() error {
	var err error
	if s.Hub != nil {
		err = s.Hub.Close()
	}
	if s.World != nil {
		s.World.Close()
	}
	return err
}

// commandLimit is how long a command may take before it is called hung.
const commandLimit = time.Minute

// Try runs footbridge as the user, whatever its exit status.
func (s *Stage) Try(args ...string) world.Result {
	binary := s.Binary
	if binary == "" {
		binary = "footbridge"
	}
	limited := append([]string{"timeout", "-k", "1", fmt.Sprint(commandLimit.Seconds()), binary}, args...)
	return s.World.Run(world.Host, limited...)
}

// Footbridge runs footbridge as the user and returns what it says.
func (s *Stage) Footbridge(args ...string) (string, error) {
	r := s.Try(args...)
	if r.Err != nil || r.Code != 0 {
		return "", fmt.Errorf("footbridge %s: exit status %d, %w", strings.Join(args, " "), r.Code,
			errors.Join(r.Err, errors.New(strings.TrimSpace(r.Stdout+r.Stderr))))
	}
	return strings.TrimSpace(r.Stdout), nil
}

// Container runs a container with an agent in it and returns the agent, which has the container's name. The
// arguments are flags of footbridge run.
func (s *Stage) Container(name string, flags ...string) (*Agent, error) {
	earlier := s.Hub.Find(name)
	args := append([]string{"run", "-d", "--name", name}, flags...)
	args = append(append(args, "--"), s.Hub.Command(name)...)
	if _, err := s.Footbridge(args...); err != nil {
		return nil, err
	}
	a, err := s.Hub.Hub.Await(name, earlier, arrival)
	if err != nil {
		err = fmt.Errorf("%w; its log: %s", err, s.Try("logs", name).Stderr)
	}
	return &Agent{a}, err
}

// Address returns a container's address on a network, of the family 4 or 6.
func (s *Stage) Address(container, network string, family int) (string, error) {
	field := map[int]string{4: "IPAddress", 6: "GlobalIPv6Address"}[family]
	text, err := s.Footbridge("inspect", "-f", "{{.NetworkSettings.Networks."+network+"."+field+"}}", container)
	if err == nil && text == "" {
		err = fmt.Errorf("%s has no IPv%d address on %s", container, family, network)
	}
	return text, err
}

// Resolver returns the address of the name server that a container is told to ask.
func (s *Stage) Resolver(container string) (string, error) {
	text, err := s.Footbridge("exec", container, "sed", "-n", "s/^nameserver //p", "/etc/resolv.conf")
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(text, "\n")
	if first == "" {
		return "", fmt.Errorf("%s has no name server", container)
	}
	return first, nil
}
