package engine

import (
	"context"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/store"
)

// ContainerRestart implements api.ContainerBackend. Like a start, it is not
// left half-done by a client that goes away.
func (e *Engine) ContainerRestart(ctx context.Context, nameOrID string, o api.StopOptions) error {
	ctx = context.WithoutCancel(ctx)
	c, r, def, err := e.running(nameOrID)
	if err != nil {
		return err
	}
	if err := refuseForeign(def, "restarted"); err != nil {
		return err
	}
	if r != nil {
		if def.HostConfig.AutoRemove {
			return conflict("cannot restart container %s: it was made with --rm and is removed when it stops", def.Name)
		}
		if err := e.ContainerStop(ctx, def.ID, o); err != nil && !errdefs.IsNotModified(err) {
			return err
		}
	}
	if err := e.ContainerStart(ctx, def.ID); err != nil && !errdefs.IsNotModified(err) {
		return err
	}
	e.containerEvent(events.ActionRestart, e.snapshot(c))
	return nil
}

// ContainerRename implements api.ContainerBackend. A container that runs keeps
// its name: others resolve it.
func (e *Engine) ContainerRename(_ context.Context, nameOrID, name string) error {
	c, unlock, err := e.lockContainer(nameOrID)
	if err != nil {
		return err
	}
	defer unlock()
	e.mu.Lock()
	old, named := c.def.Name, c.def.Named
	err = e.checkRename(c, name)
	if err == nil {
		e.rename(c, name, true)
	}
	def := c.def.clone()
	e.mu.Unlock()
	if err != nil {
		return err
	}
	if err := e.store.Save(store.Put(store.Containers, def.ID, def)); err != nil {
		e.mu.Lock()
		e.rename(c, old, named)
		e.mu.Unlock()
		return err
	}
	e.containerEvent(events.ActionRename, def, "oldName", "/"+old)
	return nil
}

// checkRename refuses what cannot be the container's new name; e.mu is held.
func (e *Engine) checkRename(c *ctr, name string) error {
	switch {
	case !validName(name):
		return invalid("Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", shown(name))
	case name == c.def.Name:
		return invalid("Renaming a container with the same name as its current name")
	case c.run != nil && c.def.Foreign != nil:
		return conflict("cannot rename container %s while it is attached: other containers know it by its name; take it away (`footbridge detach %s`) and attach it under the other name", c.def.Name, c.def.Name)
	case c.run != nil:
		return conflict("cannot rename container %s while it runs: other containers know it by its name; stop it first", c.def.Name)
	}
	if other := e.named(name); other != nil {
		return conflict("Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.",
			"/"+name, other.def.ID)
	}
	return nil
}

// ContainersPrune implements api.ContainerBackend.
func (e *Engine) ContainersPrune(_ context.Context, f api.Filters) (api.ContainersPruneReport, error) {
	report := api.ContainersPruneReport{}
	if err := f.Check("label", "label!", "until"); err != nil {
		return report, err
	}
	until := e.now()
	for _, v := range f.Values("until") {
		t, err := parseUntil(v, e.now())
		if err != nil {
			return report, err
		}
		if t.Before(until) {
			until = t
		}
	}
	for _, c := range e.allContainers() {
		e.mu.Lock()
		keep := c.run != nil || c.def.running() || c.def.Created.After(until) || !f.MatchLabels(c.def.Config.Labels)
		id := c.def.ID
		e.mu.Unlock()
		if keep {
			continue
		}
		switch err := e.remove(c); {
		case errdefs.IsConflict(err): // started in this moment
		case err != nil:
			return report, err
		default:
			report.ContainersDeleted = append(report.ContainersDeleted, id)
		}
	}
	return report, nil
}
