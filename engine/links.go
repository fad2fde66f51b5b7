package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/engine/worker"
)

// Links (--link NAME[:ALIAS]) are two things, as with Docker:
//
//	on the default network      lines in the hosts file and variables in the
//	                            environment: ContainerDef.Links, to a container by id,
//	                            which must run when the linking one starts
//	on a user-defined network   a name that this container alone can ask for:
//	                            Attachment.Links, to whoever has the name then

// Link is a container's link to another one on the default network.
type Link struct {
	Target string // the container's id
	Alias  string
}

// maxLinks bounds the links of a container, and of one of its endpoints: each is a line,
// a name and a rule.
const maxLinks = 256

// parseLink splits "name:alias"; the alias is the name unless it is given. What
// inspect shows of a link ("/name:/linking/alias") is taken too.
func parseLink(s string) (name, alias string, err error) {
	name, alias, ok := strings.Cut(s, ":")
	if !ok {
		alias = name
	}
	if strings.HasPrefix(name, "/") {
		name = name[1:]
		alias = alias[strings.LastIndexByte(alias, '/')+1:]
	}
	if !validName(name) || !validAlias(alias) {
		return "", "", invalid("bad format for links: %q: it is NAME or NAME:ALIAS", s)
	}
	return name, alias, nil
}

// checkLinks refuses links that a container's network mode cannot have.
func checkLinks(m netMode, links []string) error {
	if len(links) == 0 {
		return nil
	}
	if len(links) > maxLinks {
		return invalid("a container has at most %d links, not %d", maxLinks, len(links))
	}
	for _, l := range links {
		if _, _, err := parseLink(l); err != nil {
			return err
		}
	}
	const undefined = "conflicting options: %s type networking can't be used with links. This would result in undefined behavior"
	switch m.kind {
	case modeHost:
		return invalid(undefined, "host")
	case modeContainer:
		return invalid("conflicting options: container type network can't be used with links. This would result in undefined behavior")
	case modeNone, modePath:
		return invalid("conflicting options: links lead to containers of a network, and the network mode %s has none", m)
	}
	return nil
}

func (m netMode) String() string {
	switch m.kind {
	case modeHost:
		return network.NetworkHost
	case modeNone:
		return network.NetworkNone
	case modeContainer:
		return "container:" + m.arg
	case modePath:
		return "ns:" + m.arg
	}
	return m.arg
}

// settleLinks gives each link of a new container its place: those of the default
// network are the container's, others their endpoint's; e.mu is held.
func (e *Engine) settleLinks(def *ContainerDef) error {
	given := def.HostConfig.Links
	for i := range def.Attachments {
		a := &def.Attachments[i]
		n := e.networks[a.NetworkID]
		links := a.Links
		if i == 0 { // clients say them once or twice
			for _, l := range given {
				if !slices.Contains(links, l) {
					links = append(slices.Clip(links), l)
				}
			}
		}
		if n == nil || !n.def.Predefined {
			a.Links = links
			continue
		}
		a.Links = nil
		for _, l := range links {
			if err := e.addLink(def, l); err != nil {
				return err
			}
		}
	}
	def.HostConfig.Links = nil
	if def.Foreign != nil && len(def.Links) > 0 {
		return invalid("links on the default network are lines of /etc/hosts and variables of a command, which are not footbridge's in a namespace that is attached: attach it to a network made with `footbridge network create`, where names are asked for")
	}
	return nil
}

// addLink adds a link on the default network; e.mu is held.
func (e *Engine) addLink(def *ContainerDef, l string) error {
	name, alias, err := parseLink(l)
	if err != nil {
		return err
	}
	target, err := e.findContainer(name)
	for err == nil && target.def.HostConfig.NetworkMode.IsContainer() {
		target, err = e.findContainer(target.def.HostConfig.NetworkMode.ConnectedContainer())
	}
	if err != nil {
		return invalid("could not get container for %s: %v", name, err)
	}
	if target.def.HostConfig.NetworkMode.IsHost() {
		return invalid("conflicting options: host type networking can't be used with links. This would result in undefined behavior: container %s is on the host's network", target.def.Name)
	}
	for _, other := range def.Links {
		switch {
		case other.Alias != alias:
		case other.Target == target.def.ID:
			return nil
		default:
			return invalid("conflicting options: two links have the alias %q", alias)
		}
	}
	def.Links = append(def.Links, Link{Target: target.def.ID, Alias: alias})
	return nil
}

// linked is the other end of a link, as it is now.
type linked struct {
	alias string
	def   *ContainerDef // a copy
	ep    *Endpoint     // on the default network; nil when it does not run there
}

// linkedTo returns what the container's links on the default network lead to now.
func (e *Engine) linkedTo(def *ContainerDef) []linked {
	if len(def.Links) == 0 {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []linked
	for _, l := range def.Links {
		c := e.containers[l.Target]
		if c == nil {
			continue
		}
		to := linked{alias: l.Alias, def: c.def.clone()}
		for _, a := range to.def.Attachments {
			if n := e.networks[a.NetworkID]; n != nil && n.def.Predefined && to.def.running() {
				to.ep = a.Endpoint
			}
		}
		out = append(out, to)
	}
	return out
}

// checkLinked refuses a start whose links lead to nobody.
func (e *Engine) checkLinked(def *ContainerDef) error {
	for _, l := range e.linkedTo(def) {
		switch {
		case !l.def.running():
			return conflict("Cannot link to a non running container: /%s AS /%s/%s; start it first", l.def.Name, def.Name, l.alias)
		case l.ep == nil:
			return conflict("Cannot link to /%s, as it does not belong to the default network", l.def.Name)
		}
	}
	return nil
}

// names are those under which a linked container is in the hosts file.
func (l linked) names() string {
	names := l.alias + " " + hostname(l.def)
	if l.alias != l.def.Name {
		names += " " + l.def.Name
	}
	return names
}

// linkEnvironment are the variables that tell a container of those that it is
// linked to.
func (e *Engine) linkEnvironment(def *ContainerDef) []string {
	var env []string
	for _, l := range e.linkedTo(def) {
		if l.ep == nil {
			continue
		}
		address := l.ep.IPv4
		if !address.IsValid() {
			address = l.ep.IPv6
		}
		env = append(env, linkVariables(def.Name, l.alias, address, l.def.Config)...)
	}
	return env
}

// showLinks is HostConfig.Links of inspect; e.mu is held.
func (e *Engine) showLinks(def *ContainerDef) []string {
	var out []string
	for _, l := range def.Links {
		if c := e.containers[l.Target]; c != nil {
			out = append(out, fmt.Sprintf("/%s:/%s/%s", c.def.Name, def.Name, l.Alias))
		}
	}
	return out
}

// viewLinks are the names that the container alone can ask for, by links on its
// networks.
func (e *Engine) viewLinks(links []*link) []worker.Alias {
	var out []worker.Alias
	for _, l := range links {
		for _, s := range l.want.Links {
			if name, alias, err := parseLink(s); err == nil { // was refused when it was made
				out = append(out, worker.Alias{Name: alias, Network: l.n.def.ID, Target: e.knownAs(name)})
			}
		}
	}
	return out
}

// knownAs is what a container given by name or id is found by on its networks, see
// addNames. Nobody needs to have it yet.
func (e *Engine) knownAs(term string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.exactContainer(term)
	if c == nil || c.def.Named && c.def.Name == term {
		return term
	}
	return c.def.ID // it was given by its id, or has a name that nobody gave
}

// linksChanged brings the containers up to date that are linked to one that has
// started, has ended or is gone. Nobody's op lock is held.
func (e *Engine) linksChanged(id string, gone bool) {
	e.mu.Lock()
	linking := slices.Clone(e.known.linked[id])
	if gone {
		delete(e.known.linked, id)
	}
	e.mu.Unlock()
	for _, c := range linking {
		unlock, err := e.lock(c)
		if err != nil {
			continue // removed meanwhile
		}
		if gone {
			err = e.change(c, func(d *ContainerDef) {
				d.Links = slices.DeleteFunc(slices.Clone(d.Links), func(l Link) bool { return l.Target == id })
			})
			if err != nil {
				e.log.Warn("link to a removed container not forgotten on disk", "container", c.def.Name, "error", err)
			}
		}
		e.mu.Lock()
		r := c.run
		e.mu.Unlock()
		if r != nil && r.process != nil {
			e.updateFiles(e.snapshot(c), r.links)
		}
		unlock()
	}
}

// linksChangedLater is linksChanged for callers that hold an op lock.
func (e *Engine) linksChangedLater(id string, gone bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.background.Go(func() { e.linksChanged(id, gone) })
	}
}

// linksPatience bounds how long a start waits until those are up to date that are
// linked to its container: each may be in the middle of something.
const linksPatience = 2 * time.Second

// tellLinked is linksChanged for a start that is done; the caller is counted by enter.
func (e *Engine) tellLinked(id string) {
	done := make(chan struct{})
	e.background.Go(func() {
		e.linksChanged(id, false)
		close(done)
	})
	select {
	case <-done:
	case <-time.After(linksPatience):
	}
}
