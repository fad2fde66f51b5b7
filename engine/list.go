package engine

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// ContainerList implements api.ContainerBackend.
func (e *Engine) ContainerList(_ context.Context, o api.ListOptions) ([]container.Summary, error) {
	f := o.Filters
	if err := checkListFilters(f); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	limits, err := e.orderLimits(f)
	if err != nil {
		return nil, err
	}
	out := []container.Summary{}
	for i, c := range e.sortedContainers() {
		if o.Limit > 0 && len(out) == o.Limit {
			break
		}
		// What does not run is shown when it is asked for, in one of several ways.
		if !c.def.running() && !o.All && o.Limit <= 0 && !f.Has("status") && !f.Has("exited") && limits == (orderLimits{}) {
			continue
		}
		if !limits.include(i) || !e.matches(c.def, f) {
			continue
		}
		out = append(out, e.summary(c.def))
	}
	return out, nil
}

func checkListFilters(f api.Filters) error {
	if err := f.Check("ancestor", "before", "exited", "expose", "health", "id", "is-task", "label", "label!", "name", "network", "publish", "since", "status", "volume"); err != nil {
		return err
	}
	for _, v := range f.Values("status") {
		if err := container.ValidateContainerState(container.ContainerState(v)); err != nil {
			return invalid("invalid filter 'status=%s': %w", v, err)
		}
	}
	for _, v := range f.Values("exited") {
		if _, err := strconv.Atoi(v); err != nil {
			return invalid("invalid filter 'exited=%s': it is an exit code", v)
		}
	}
	return nil
}

// orderLimits are the positions, counted from 1 in the list of all, between
// which containers are wanted: the filters "before" and "since".
type orderLimits struct{ after, until int }

func (l orderLimits) include(i int) bool {
	return (l.after == 0 || i >= l.after) && (l.until == 0 || i < l.until-1)
}

// orderLimits reads the filters; e.mu is held.
func (e *Engine) orderLimits(f api.Filters) (orderLimits, error) {
	var l orderLimits
	all := e.sortedContainers()
	for term, field := range map[string]*int{"before": &l.after, "since": &l.until} {
		for _, v := range f.Values(term) {
			c, err := e.findContainer(v)
			if err != nil {
				return l, err
			}
			*field = slices.Index(all, c) + 1
		}
	}
	return l, nil
}

// matches applies the filters to one container; e.mu is held.
func (e *Engine) matches(d *ContainerDef, f api.Filters) bool {
	// There are no images, health checks, tasks and volumes; the answers about
	// them are those of Docker for containers without.
	return f.Match("ancestor", func(v string) bool { return v == imageOf(d) }) &&
		f.Match("health", func(v string) bool { return v == "none" }) &&
		f.Match("is-task", func(v string) bool { is, err := strconv.ParseBool(v); return err == nil && !is }) &&
		f.Match("volume", func(string) bool { return false }) &&
		f.Match("id", func(v string) bool { return strings.HasPrefix(d.ID, v) }) &&
		f.Match("name", func(v string) bool { return matchesName(d.Name, v) }) &&
		f.Match("status", func(v string) bool { return string(d.State.Status) == v }) &&
		f.Match("exited", func(v string) bool {
			return d.State.Status == container.StateExited && strconv.Itoa(d.State.ExitCode) == v
		}) &&
		f.Match("network", func(v string) bool {
			for name, s := range e.endpointSettings(d) {
				if name == v || (len(v) >= shortLen && strings.HasPrefix(s.NetworkID, v)) {
					return true
				}
			}
			return false
		}) &&
		f.Match("publish", func(v string) bool {
			return slices.ContainsFunc(d.Bindings, func(b Binding) bool { return matchesPort(b.Host.Port(), string(b.Port.Proto()), v) })
		}) &&
		f.Match("expose", func(v string) bool {
			for p := range d.Config.ExposedPorts {
				if matchesPort(p.Num(), string(p.Proto()), v) {
					return true
				}
			}
			return false
		}) &&
		f.MatchLabels(d.Config.Labels)
}

// matchesName: a part of the name, as with Docker; "^name$" is the whole.
func matchesName(name, v string) bool {
	v = strings.TrimPrefix(v, "/")
	start, end := strings.HasPrefix(v, "^"), strings.HasSuffix(v, "$")
	v = strings.TrimPrefix(strings.TrimSuffix(strings.TrimPrefix(v, "^"), "$"), "/")
	switch {
	case start && end:
		return name == v
	case start:
		return strings.HasPrefix(name, v)
	case end:
		return strings.HasSuffix(name, v)
	}
	return strings.Contains(name, v)
}

func matchesPort(port uint16, proto, v string) bool {
	r, err := network.ParsePortRange(v)
	return err == nil && string(r.Proto()) == proto && r.Start() <= port && port <= r.End()
}

// summary is a container's entry in a list; e.mu is held.
func (e *Engine) summary(d *ContainerDef) container.Summary {
	s := container.Summary{
		ID: d.ID, Names: []string{"/" + d.Name}, Image: imageOf(d), Command: commandLine(d.command()),
		Created: d.Created.Unix(), Ports: d.portSummaries(), Labels: d.Config.Labels,
		State: d.State.Status, Status: d.State.statusText(e.now()), Mounts: []container.MountPoint{},
		NetworkSettings: &container.NetworkSettingsSummary{Networks: e.endpointSettings(d)},
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	s.HostConfig.NetworkMode = string(d.HostConfig.NetworkMode)
	return s
}
