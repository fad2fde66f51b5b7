package engine

import "slices"

// registry finds containers by what others know them by, as quickly among a thousand as among two. It follows
// Engine.containers, which enroll and strike change; Engine.mu guards it, too.
type registry struct {
	names  map[string][]*ctr // one each, unless a state file says otherwise
	linked map[string][]*ctr // by a container's id: those that have links to it
}

func newRegistry() registry {
	return registry{names: map[string][]*ctr{}, linked: map[string][]*ctr{}}
}

// enroll adds a container whose name and links are settled; e.mu is held.
func (e *Engine) enroll(c *ctr) {
	e.containers[c.def.ID] = c
	e.known.name(c)
	for _, l := range c.def.Links {
		if !slices.Contains(e.known.linked[l.Target], c) { // it may have two names for it
			e.known.linked[l.Target] = append(e.known.linked[l.Target], c)
		}
	}
}

// strike takes a container out; e.mu is held.
func (e *Engine) strike(c *ctr) {
	delete(e.containers, c.def.ID)
	e.known.unname(c)
	for _, l := range c.def.Links {
		without(e.known.linked, l.Target, c)
	}
}

// named returns the container of a name, nil if there is none; e.mu is held.
func (e *Engine) named(name string) *ctr {
	if all := e.known.names[name]; len(all) > 0 {
		return all[0]
	}
	return nil
}

// rename gives a container another name; e.mu is held.
func (e *Engine) rename(c *ctr, name string, chosen bool) {
	e.known.unname(c)
	c.def.Name, c.def.Named = name, chosen
	e.known.name(c)
}

func (r *registry) name(c *ctr) { r.names[c.def.Name] = append(r.names[c.def.Name], c) }

func (r *registry) unname(c *ctr) { without(r.names, c.def.Name, c) }

// without takes a container out of one of the lists of an index.
func without(index map[string][]*ctr, key string, c *ctr) {
	left := slices.DeleteFunc(index[key], func(other *ctr) bool { return other == c })
	if len(left) == 0 {
		delete(index, key)
		return
	}
	index[key] = left
}
