package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/shim"
)

// startTimeout bounds a start from its first to its last step. It takes some
// hundred milliseconds; a machine that swaps may take a minute.
const startTimeout = 2 * time.Minute

// Exit codes of a container whose command never ran, as Docker's.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
	codeStartFailed   = 128
)

// ContainerStart implements api.ContainerBackend. A client that goes away does
// not stop it half-way.
func (e *Engine) ContainerStart(_ context.Context, nameOrID string) error {
	leave, err := e.enter()
	if err != nil {
		return err
	}
	defer leave()
	c, unlock, err := e.lockContainer(nameOrID)
	if err != nil {
		return err
	}
	e.mu.Lock()
	running := c.run != nil
	e.mu.Unlock()
	if running {
		unlock()
		return notModified("container %s is running already", c.def.Name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	err = e.start(ctx, c)
	unlock()
	if err == nil {
		e.tellLinked(c.def.ID)
	}
	if err != nil && c.def.HostConfig.AutoRemove {
		if rerr := e.remove(c); rerr != nil {
			e.log.Error("container that could not be started not removed", "container", c.def.Name, "error", rerr)
		}
	}
	return err
}

// start brings a container to life, or leaves nothing of it behind; c.op is
// held.
func (e *Engine) start(ctx context.Context, c *ctr) error {
	r := &run{done: make(chan struct{})}
	e.mu.Lock()
	c.run = r
	was := c.def.State
	e.mu.Unlock()
	err := e.startSteps(ctx, c, r)
	if err == nil {
		e.mu.Lock()
		def := c.def.clone()
		e.mu.Unlock()
		e.containerEvent(events.ActionStart, def)
		e.watch(c, r)
		return nil
	}

	code := codeStartFailed
	class := func(error) error { return fmt.Errorf("failed to start container %s: %w", c.def.Name, err) }
	switch {
	case errors.Is(err, shim.ErrNotFound):
		code, class = codeNotFound, commandError(api.ErrCommandNotFound)
	case errors.Is(err, shim.ErrPermission):
		code, class = codeNotExecutable, commandError(api.ErrCommandNotExecutable)
	case errors.Is(err, shim.ErrInvalid):
		class = func(error) error { return invalid("failed to start container %s: %w", c.def.Name, err) }
	}
	e.teardown(c, r)
	e.mu.Lock()
	c.run = nil
	e.mu.Unlock()
	serr := e.change(c, func(d *ContainerDef) {
		d.State = was // created, or the end of its life before
		d.State.ExitCode, d.State.Error, d.State.Pid = code, err.Error(), 0
		d.forgetRun()
	})
	if serr != nil {
		e.log.Error("state not written", "container", c.def.Name, "error", serr)
	}
	e.endPending(c)
	close(r.done)
	return class(err)
}

// commandError gives the error of a command that cannot be run the words and
// the class by which Docker's clients know it.
func commandError(sentinel error) func(error) error {
	return func(err error) error {
		return api.Errorf(sentinel, "failed to create task for container: %w: unknown", err)
	}
}

// startSteps does the work of start. Whatever it leaves in r is for teardown.
func (e *Engine) startSteps(ctx context.Context, c *ctr, r *run) (err error) {
	def := e.snapshot(c)
	if def.Foreign != nil {
		return e.attachSteps(ctx, c, r)
	}
	mode, err := def.mode()
	if err != nil {
		return err
	}
	if err := e.checkLinked(def); err != nil {
		return err
	}
	if err := e.followNames(c); err != nil {
		return err
	}
	if r.links, err = e.reserveAll(c); err != nil {
		return fmt.Errorf("failed to set up container networking: %w", err)
	}
	if err := e.makeDirs(def.ID); err != nil {
		return err
	}
	spec, err := e.spec(def, mode)
	if err != nil {
		return err
	}
	if mode.kind != modeContainer {
		if err := e.writeFiles(def, mode, r.links, &spec); err != nil {
			return err
		}
	}
	if r.process, err = e.opts.Runtime.Create(ctx, spec); err != nil {
		return err
	}
	if err := e.connectNetworks(ctx, c, r); err != nil {
		return fmt.Errorf("failed to set up container networking: %w", err)
	}
	bindings, err := e.publishPorts(def, r, nil)
	if err != nil {
		return fmt.Errorf("failed to set up container networking: driver failed programming external connectivity on endpoint %s (%s): %w", def.Name, r.wayID(), err)
	}
	if err := e.attachPending(ctx, c, r); err != nil {
		return err
	}
	state, err := r.process.State(ctx)
	if err != nil {
		return err
	}
	// On disk before the command runs: a daemon that dies from here on is
	// followed by one that knows the addresses.
	err = e.change(c, func(d *ContainerDef) {
		d.State = StateDef{Status: container.StateRunning, Pid: state.PID, Started: e.now(), Finished: d.State.Finished}
		d.takeRun(r, bindings)
	})
	if err != nil {
		return err
	}
	if err := r.process.Start(ctx); err != nil {
		return err
	}
	// The moment that the next daemon will be told, too. It is not worth a write:
	// what is on disk is a few milliseconds older.
	if state, err := r.process.State(ctx); err == nil && !state.StartedAt.IsZero() {
		e.mu.Lock()
		c.def.State.Started = state.StartedAt.UTC()
		e.mu.Unlock()
	}
	return nil
}

// takeRun notes the endpoints and published ports of a run.
func (c *ContainerDef) takeRun(r *run, bindings []Binding) {
	for i := range c.Attachments {
		for _, l := range r.links {
			if l.n.def.ID == c.Attachments[i].NetworkID {
				c.Attachments[i].Endpoint = l.ep
			}
		}
	}
	c.Bindings = bindings
}

// forgetRun takes back what takeRun noted.
func (c *ContainerDef) forgetRun() {
	for i := range c.Attachments {
		c.Attachments[i].Endpoint = nil
	}
	c.Bindings, c.Rebind = nil, nil
}

// connectNetworks makes the endpoints of all links.
func (e *Engine) connectNetworks(ctx context.Context, c *ctr, r *run) error {
	if len(r.links) == 0 {
		return nil
	}
	var err error
	if r.ns, err = r.process.Namespaces(ctx); err != nil {
		return err
	}
	r.hasNS = true
	defer r.ns.ForgetSettings() // the command's, as soon as it runs
	routes := chooseGateways(r.links)
	for _, l := range r.links {
		if err := e.attach(ctx, c, r, l, routes); err != nil {
			return err
		}
		e.networkEvent(events.ActionConnect, &l.n.def, c.def)
	}
	return nil
}

// spec says what the container's processes are to be.
func (e *Engine) spec(def *ContainerDef, m netMode) (shim.Spec, error) {
	cfg, host := &def.Config, &def.HostConfig
	s := shim.Spec{
		ID: def.ID, Dir: e.runtimeDir(def.ID), LogPath: e.logPath(def.ID),
		Args: def.command(), Cwd: cfg.WorkingDir,
		Hostname: cfg.Hostname, Domainname: cfg.Domainname,
		TTY: cfg.Tty, OpenStdin: cfg.OpenStdin, StdinOnce: cfg.StdinOnce, User: cfg.User,
		UserNS: string(host.UsernsMode), CapAdd: host.CapAdd, CapDrop: host.CapDrop,
		Privileged: host.Privileged, Sysctls: maps.Clone(host.Sysctls),
		// What the daemon says and knows is none of a container's business,
		// though both run as the same user.
		Mask: []string{e.opts.RuntimeDir, e.opts.StateDir},
	}
	switch m.kind {
	case modeHost:
		s.HostNetwork = true
		if s.Hostname == "" {
			s.Hostname, _ = os.Hostname() // empty keeps it as well
		}
	case modePath:
		if err := checkNamespacePath(m.arg); err != nil {
			return s, err
		}
		s.NetNSPath = m.arg
	case modeContainer:
		other, err := e.joined(m.arg, def)
		if err != nil {
			return s, err
		}
		s.Hostname = hostname(other)
		if other.bare() {
			return s, errBare(other.Name, "share its network")
		}
		if other.Foreign != nil { // which has no files of ours
			if s.NetNSPath, err = other.Foreign.Reach(); err != nil {
				return s, foreignError(err)
			}
			break
		}
		s.JoinNetOf = e.runtimeDir(other.ID)
		e.shareFiles(other.ID, &s)
	}
	if s.Hostname == "" {
		s.Hostname = hostname(def)
	}
	s.Env = environment(cfg, s.Hostname, e.linkEnvironment(def)...)
	return s, nil
}

// hostname is the name that the container has for itself.
func hostname(def *ContainerDef) string {
	if def.Config.Hostname != "" {
		return def.Config.Hostname
	}
	return short(def.ID)
}

// joined returns the container whose network is shared.
func (e *Engine) joined(id string, def *ContainerDef) (*ContainerDef, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	other, err := e.findContainer(id)
	switch {
	case err != nil:
		return nil, fmt.Errorf("join the network of another container: %w", err)
	case other.def.ID == def.ID:
		return nil, invalid("cannot join own network: container %s", def.Name)
	case !other.def.running():
		return nil, conflict("cannot join network namespace of a non running container: container %s is %s; start it first", other.def.Name, other.def.State.Status)
	}
	return other.def.clone(), nil
}

// shareFiles shows the files of the container whose network is shared.
func (e *Engine) shareFiles(id string, s *shim.Spec) {
	for name, field := range map[string]*string{fileResolv: &s.ResolvConf, fileHosts: &s.Hosts, fileHostname: &s.HostnameFile} {
		path := e.runtimeDir(id) + "/" + name
		if st, err := os.Lstat(path); err == nil && st.Mode().IsRegular() {
			*field = path
		}
	}
}

// defaultPath is where commands are looked for when nobody says otherwise.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is the command's: what a client left out and every program
// expects, what links say, then what the client gave. The last setting of a name counts.
func environment(cfg *container.Config, hostname string, links ...string) []string {
	env := append([]string{"PATH=" + defaultPath, "HOSTNAME=" + hostname}, links...)
	if home := os.Getenv("HOME"); home != "" {
		env = append(env, "HOME="+home)
	}
	if cfg.Tty {
		env = append(env, "TERM=xterm")
	}
	for _, kv := range cfg.Env {
		key, _, ok := strings.Cut(kv, "=")
		env = slices.DeleteFunc(env, func(old string) bool { return strings.HasPrefix(old, key+"=") })
		if ok { // "K" alone takes K away
			env = append(env, kv)
		}
	}
	return env
}
