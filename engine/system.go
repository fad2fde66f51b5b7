package engine

import (
	"context"
	"os"
	"runtime"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/api/types/system"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
)

// Ping implements api.SystemBackend.
func (e *Engine) Ping(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return unavailable("the footbridge daemon is about to end: try again")
	}
	return nil
}

// Version implements api.SystemBackend.
func (e *Engine) Version(ctx context.Context) (system.VersionResponse, error) {
	if err := e.Ping(ctx); err != nil {
		return system.VersionResponse{}, err
	}
	v := system.VersionResponse{Version: e.opts.Version, GitCommit: e.opts.Commit, GoVersion: runtime.Version()}
	v.Platform.Name = "footbridge"
	v.KernelVersion = kernel()
	return v, nil
}

// Info implements api.SystemBackend.
func (e *Engine) Info(context.Context) (system.Info, error) {
	i := system.Info{
		Driver: "host", OSType: "linux", Architecture: machine(), NCPU: runtime.NumCPU(), MemTotal: memory(),
		OperatingSystem: operatingSystem(),
		KernelVersion:   kernel(), ServerVersion: e.opts.Version, DockerRootDir: e.opts.StateDir,
		SecurityOptions: []string{"name=rootless"}, LoggingDriver: "json-file", IPv4Forwarding: true,
	}
	i.Swarm.LocalNodeState = swarm.LocalNodeStateInactive
	i.Plugins.Network = []string{driverBridge, driverHost, driverNull}
	i.Plugins.Log = []string{"json-file"}
	i.Name, _ = os.Hostname() // empty says so as well
	i.SystemTime = dockerTime(e.now())
	e.mu.Lock()
	defer e.mu.Unlock()
	if n, err := e.findNetwork(network.NetworkBridge); err == nil {
		// As random and as lasting as the state file that it is in.
		i.ID = n.def.ID
	}
	for _, c := range e.containers {
		i.Containers++
		if c.def.State.Status == container.StateRunning {
			i.ContainersRunning++
		} else {
			i.ContainersStopped++
		}
	}
	return i, nil
}

// memory is the host's, in bytes; 0 when the kernel does not tell.
func memory() int64 {
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return 0
	}
	return int64(s.Totalram * uint64(s.Unit))
}

// machine is the hardware as uname(2) names it: x86_64, aarch64.
func machine() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return runtime.GOARCH
	}
	return unix.ByteSliceToString(u.Machine[:])
}

// operatingSystem is the distribution's name from os-release(5).
func operatingSystem() string {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "Linux"
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(name, `"'`)
		}
	}
	return "Linux"
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// Events implements api.SystemBackend.
func (e *Engine) Events(ctx context.Context, o api.EventsOptions) (<-chan events.Message, error) {
	if err := o.Filters.Check("container", "daemon", "event", "image", "label", "label!", "network", "plugin", "scope", "type", "volume"); err != nil {
		return nil, err
	}
	return e.events.subscribe(ctx, o), nil
}

// Status implements api.DaemonBackend.
func (e *Engine) Status(context.Context) (api.Status, error) {
	s := api.Status{
		PID: os.Getpid(), Version: e.opts.Version, Commit: e.opts.Commit, StartedAt: e.started,
		Socket: e.opts.Socket, RuntimeDir: e.opts.RuntimeDir, StateDir: e.opts.StateDir, Networks: []api.NetworkStatus{},
		Warnings: e.warnings(),
	}
	s.Keeper, s.Worker = e.processes()
	e.mu.Lock()
	for _, c := range e.containers {
		s.Containers++
		if c.def.running() {
			s.Running++
		}
	}
	networks := e.sortedNetworks()
	e.mu.Unlock()
	for _, n := range networks {
		s.Networks = append(s.Networks, e.networkStatus(n))
	}
	return s, nil
}

func (e *Engine) networkStatus(n *netw) api.NetworkStatus {
	s := api.NetworkStatus{
		ID: n.def.ID, Name: n.def.Name, MTU: n.def.MTU,
		Counters: map[string]uint64{}, Containers: []api.EndpointStatus{},
	}
	ports := map[string]map[string]uint64{}
	n.planeMu.Lock()
	if n.plane != nil {
		st := n.plane.Stats()
		s.Counters, ports = st.Network, st.Ports
	}
	n.planeMu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.sortedContainers() {
		if _, ok := n.members[c.def.ID]; ok {
			s.Endpoints++
			s.Containers = append(s.Containers, api.EndpointStatus{
				ContainerID: c.def.ID, Container: c.def.Name, Counters: ports[c.def.Name],
			})
		}
	}
	return s
}

// Shutdown implements api.DaemonBackend.
func (e *Engine) Shutdown(context.Context) error {
	e.opts.Shutdown()
	return nil
}
