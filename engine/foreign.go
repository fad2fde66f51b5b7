package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/foreign"
	"github.com/footbridge-net/footbridge/engine/store"
	"github.com/footbridge-net/footbridge/tap"
)

// A container whose namespaces others made. It is attached by one request and runs
// from then on; when the namespace is gone, or it is detached, it is gone as well.
// Everything between, networks, ports, names, is a container's like any other.

// ForeignDef is what is on disk of a namespace that others made. It is never changed,
// only put in the place of another.
type ForeignDef struct {
	foreign.Place
	// Own4 and Own6: the namespace has default routes of its own, over these
	// interfaces. They stay, and none of ours is made beside them.
	Own4, Own6 []string `json:",omitempty"`
	// Owner is the user namespace of the network namespace, and From that of the runtime that
	// has passed it; zero: it was named, or passed by a process of our own.
	Owner, From foreign.Owner `json:",omitzero"`
	// NoLoopback: lo was down. Whoever detaches the namespace gets it back like that.
	NoLoopback bool `json:",omitempty"`
	// Bare: of the interface others take care, see bare.go.
	Bare bool `json:",omitempty"`
	// Files: resolv.conf and hosts are written, for whoever attached it to show in there.
	Files bool `json:",omitempty"`
}

// path leads to the network namespace as long as the attachment lasts.
func (f *ForeignDef) path() string {
	if f.Net != "" || f.Passed {
		return f.Net
	}
	return "/proc/" + itoa(f.Process.PID) + "/ns/net"
}

// attachedImage stands in lists for the image of an attached container.
const attachedImage = "attached"

// foreignError gives an error about a place its class.
func foreignError(err error) error {
	switch {
	case errors.Is(err, foreign.ErrWish):
		return invalid("%w", err)
	case errors.Is(err, foreign.ErrRefused):
		return forbidden("%w", err)
	case errors.Is(err, foreign.ErrGone):
		return notFound("%w", err)
	case errors.Is(err, foreign.ErrSilent):
		return unavailable("%w", err)
	}
	return err
}

// NamespaceAttach implements api.NamespaceBackend. A client that goes away does not
// leave it half-done.
func (e *Engine) NamespaceAttach(_ context.Context, req api.NamespaceRequest) (container.CreateResponse, error) {
	none := container.CreateResponse{Warnings: []string{}}
	if req.Passed != nil {
		defer req.Passed.Close()
	}
	leave, err := e.enter()
	if err != nil {
		return none, err
	}
	defer leave()
	def, mode, endpoints, err := e.foreignDefinition(req)
	if err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	wish := foreign.Wish{PID: req.PID, Start: req.PIDStart, Net: req.NetNS, User: req.UserNS}
	if req.Via != nil {
		wish.Via = foreign.Process{PID: req.Via.PID, Start: req.Via.Start}
	}
	wish.Passed, wish.From = req.Passed, foreign.Owner(req.From)
	if req.Holder != nil {
		wish.Holder = foreign.Process{PID: req.Holder.PID, Start: req.Holder.Start}
	}
	found, err := e.find(ctx, wish)
	if err != nil {
		return none, err
	}
	defer found.leave()
	place := found.place
	def.Foreign = &ForeignDef{Place: place, Owner: found.owner, From: wish.From, NoLoopback: !found.view.Loopback && !req.Bare, Files: req.Files, Bare: req.Bare}
	def.Config.Cmd = def.Foreign.command()
	var c *ctr
	if err = e.notOfOurs(place); err == nil {
		c, err = e.register(def, mode, endpoints, found)
	}
	if err != nil {
		return none, errors.Join(err, found.ns.Close())
	}
	err = e.start(ctx, c)
	c.op.Unlock()
	if err == nil {
		e.tellLinked(def.ID)
	}
	if err != nil {
		if rerr := e.remove(c); rerr != nil {
			e.log.Error("container that could not be attached not removed", "container", def.Name, "error", rerr)
		}
		return none, err
	}
	return container.CreateResponse{ID: def.ID, Warnings: append([]string{}, foreignWarnings(e.snapshot(c))...)}, nil
}

// find opens the namespace that is asked for and looks into it. Until leave is called one
// helper is in there for all that is asked about it.
func (e *Engine) find(ctx context.Context, wish foreign.Wish) (*found, error) {
	f := &found{}
	var err error
	if f.place, f.ns, err = e.opts.Places.Resolve(wish); err != nil {
		return nil, foreignError(err)
	}
	if f.owner, err = e.opts.Places.Owner(f.ns); err != nil {
		return nil, errors.Join(err, f.ns.Close())
	}
	f.ns, f.leave = f.ns.Keep()
	var loose *os.File
	f.view, loose, err = e.opts.Places.Look(ctx, f.ns)
	if loose != nil { // the mount by which it was opened is the user's to unmount
		err = errors.Join(err, f.ns.Net.Close())
		f.ns.Net = loose
	}
	if err != nil {
		f.leave()
		return nil, errors.Join(err, f.ns.Close())
	}
	f.place.Cookie = f.view.Cookie
	return f, nil
}

// foreignDefinition reads a request.
func (e *Engine) foreignDefinition(req api.NamespaceRequest) (*ContainerDef, netMode, map[string]*network.EndpointSettings, error) {
	def := &ContainerDef{
		ID: newID(), Name: strings.TrimPrefix(req.Name, "/"), Created: e.now(),
		State: StateDef{Status: container.StateCreated},
	}
	fail := func(err error) (*ContainerDef, netMode, map[string]*network.EndpointSettings, error) {
		return nil, netMode{}, nil, err
	}
	if req.Config != nil {
		def.Config = *req.Config
	}
	if req.HostConfig != nil {
		def.HostConfig = *req.HostConfig
	}
	cfg, host := &def.Config, &def.HostConfig
	for _, asked := range []struct {
		given bool
		what  string
	}{
		{len(cfg.Cmd) > 0 || len(cfg.Entrypoint) > 0, "a command"},
		{len(cfg.Env) > 0 || cfg.WorkingDir != "" || cfg.User != "" || cfg.StopSignal != "" || cfg.Tty || cfg.OpenStdin, "settings of a command"},
		{len(host.CapAdd) > 0 || len(host.CapDrop) > 0 || host.Privileged || host.UsernsMode != "", "capabilities and user namespaces"},
		{!req.Files && (len(host.ExtraHosts) > 0 || len(host.DNSSearch) > 0 || len(host.DNSOptions) > 0 || cfg.Domainname != ""), "lines of /etc/hosts and /etc/resolv.conf"},
		{len(host.Sysctls) > 0, "sysctls"},
	} {
		if asked.given {
			return fail(invalid("%s cannot be given to a namespace that is attached: its processes and files are not footbridge's", asked.what))
		}
	}
	cfg.Image, cfg.Cmd = attachedImage, []string{"attach"} // all of it is known later
	host.AutoRemove = true
	if err := checkContainer(def); err != nil {
		return fail(err)
	}
	if err := checkRestrictions(def); err != nil {
		return fail(err)
	}
	mode, err := parseMode(host.NetworkMode)
	if err != nil {
		return fail(err)
	}
	if mode.kind != modeNetwork {
		return fail(invalid("network mode %s: a namespace that others made is attached to networks, which are made with `footbridge network create`", host.NetworkMode))
	}
	var endpoints map[string]*network.EndpointSettings
	if req.NetworkingConfig != nil {
		endpoints = req.NetworkingConfig.EndpointsConfig
	}
	return def, mode, endpoints, nil
}

// command is how the container came to be, for lists.
func (f *ForeignDef) command() []string {
	if f.Net == "" && !f.Passed {
		return []string{"attach", "--pid", strconv.Itoa(f.Process.PID)}
	}
	out := []string{"attach", "--netns", f.Net}
	if f.User != "" {
		out = append(out, "--userns", f.User)
	}
	return out
}

// register makes the container known with its addresses, in memory and on disk; its op lock
// is held when it returns without an error.
func (e *Engine) register(def *ContainerDef, mode netMode, endpoints map[string]*network.EndpointSettings, found *found) (*ctr, error) {
	if err := checkTexts(def); err != nil { // the path is new
		return nil, err
	}
	e.mu.Lock()
	err := e.notAttached(def.Foreign)
	var c *ctr
	if err == nil {
		c, err = e.registerContainer(def, mode, endpoints)
	}
	if errdefs.IsNotFound(err) {
		err = invalid("%w", err)
	}
	if err == nil {
		c.found = found
		c.noteView(found.view)
		if err = checkBare(def); err == nil {
			found.links, err = e.reserveEach(c)
		}
		if err != nil {
			err = fmt.Errorf("failed to set up container networking: %w", err)
		}
		def.takeRun(&run{links: found.links}, nil)
	}
	e.mu.Unlock()
	if c == nil {
		return nil, err
	}
	// On disk before anything is made: what a daemon that dies from here on has left
	// in the namespace is found by the next one.
	if err == nil {
		err = e.store.Save(store.Put(store.Containers, def.ID, def))
	}
	if err != nil {
		e.mu.Lock()
		for _, l := range found.links {
			e.unreserve(c, l)
		}
		e.strike(c)
		c.gone = true
		e.mu.Unlock()
		c.op.Unlock()
		return nil, err
	}
	e.containerEvent(events.ActionCreate, def)
	return c, nil
}

// notAttached refuses a namespace that is attached already; e.mu is held.
func (e *Engine) notAttached(p *ForeignDef) error {
	for _, c := range e.containers {
		if p.Bare {
			break // there may be many
		}
		if f := c.def.Foreign; f != nil && !f.Bare && f.Boot == p.Boot && f.Dev == p.Dev && f.Ino == p.Ino {
			return conflict("the network namespace %s is attached already, as container %s (%s): connect it to more networks with `footbridge network connect`, or end that with `footbridge detach %s`",
				p, c.def.Name, short(c.def.ID), c.def.Name)
		}
	}
	return nil
}

// notOfOurs refuses the namespace of a container that footbridge made.
func (e *Engine) notOfOurs(p foreign.Place) error {
	for _, c := range e.allContainers() {
		d := e.snapshot(c)
		mode, err := parseMode(d.HostConfig.NetworkMode)
		if err != nil || d.Foreign != nil || !d.running() || mode.kind != modeNetwork && mode.kind != modeNone {
			continue
		}
		if dev, ino, err := foreign.Inode("/proc/" + itoa(d.State.Pid) + "/ns/net"); err == nil && dev == p.Dev && ino == p.Ino {
			return conflict("the network namespace %s is that of container %s (%s), which footbridge made: connect it to more networks with `footbridge network connect`", p, d.Name, short(d.ID))
		}
	}
	return nil
}

// foreignWarnings says what is not as the user may expect.
func foreignWarnings(d *ContainerDef) []string {
	var out []string
	for _, f := range []struct {
		family string
		over   []string
	}{{"IPv4", d.Foreign.Own4}, {"IPv6", d.Foreign.Own6}} {
		if len(f.over) > 0 {
			out = append(out, fmt.Sprintf("The namespace has an %s default route of its own (%s): it stays, and what is not on one of the networks goes there, also the answers to clients of published ports",
				f.family, strings.TrimSpace("over "+strings.Join(f.over, ", "))))
		}
	}
	return out
}

// NamespaceDetach implements api.NamespaceBackend.
func (e *Engine) NamespaceDetach(ctx context.Context, nameOrID string) error {
	_, _, def, err := e.running(nameOrID)
	if err != nil {
		return err
	}
	if def.Foreign == nil {
		return conflict("container %s was made by footbridge, it is not an attached namespace: stop it with `footbridge stop %s`, or take networks from it with `footbridge network disconnect`", def.Name, def.Name)
	}
	return e.ContainerRemove(ctx, def.ID, api.RemoveOptions{Force: true})
}

// foreignDetail is what Docker has no word for; e.mu is held.
func (e *Engine) foreignDetail(d *ContainerDef) *api.NamespaceDetail {
	f := d.Foreign
	if f == nil {
		return nil
	}
	out := &api.NamespaceDetail{Path: f.path(), UserNS: f.User, PID: f.Process.PID, Inode: f.Ino, HolderPID: f.Holder.PID}
	for _, a := range d.Attachments {
		if n := e.networks[a.NetworkID]; n != nil {
			for _, is4 := range []bool{true, false} {
				if a := n.def.resolver(is4); a.IsValid() && !slices.Contains(out.NameServers, a) {
					out.NameServers = append(out.NameServers, a)
				}
			}
		}
	}
	return out
}

// checkNamespacePath refuses a path that leads to no network namespace.
func checkNamespacePath(path string) error {
	f, err := tap.OpenNetwork(path)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, tap.ErrNotNamespace):
		return invalid("%s is not a network namespace: give a path such as /proc/PID/ns/net", path)
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return invalid("no network namespace at %s: no such file or directory", path)
	case errors.Is(err, os.ErrPermission):
		return forbidden("the network namespace at %s cannot be opened: %w", path, err)
	}
	return err
}
