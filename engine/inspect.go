package engine

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/storage"

	"github.com/footbridge-net/footbridge/api"
)

// ContainerInspect implements api.ContainerBackend.
func (e *Engine) ContainerInspect(_ context.Context, nameOrID string) (container.InspectResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.findContainer(nameOrID)
	if err != nil {
		return container.InspectResponse{}, err
	}
	d := c.def
	config, host := wireConfig(d), wireHostConfig(d)
	host.Links = e.showLinks(d)
	cmd := d.command()
	dir := e.runtimeDir(d.ID)
	out := container.InspectResponse{
		ID: d.ID, Created: dockerTime(d.Created), Path: cmd[0], Args: slices.Clone(cmd[1:]),
		Name: "/" + d.Name, Driver: "host", Platform: "linux", Image: config.Image,
		GraphDriver: &storage.DriverData{Name: imageHost},
		State: &container.State{
			Status: d.State.Status, Running: d.running(), Pid: d.State.Pid,
			ExitCode: d.State.ExitCode, Error: d.State.Error,
			StartedAt: dockerTime(d.State.Started), FinishedAt: dockerTime(d.State.Finished),
		},
		Config: &config, HostConfig: &host, Mounts: []container.MountPoint{},
		NetworkSettings: &container.NetworkSettings{
			Ports: d.portMap(), Networks: e.endpointSettings(d),
		},
	}
	if flaws := c.flawsOf(); flaws != "" {
		out.State.Error = flaws
	}
	if !d.State.Started.IsZero() {
		out.LogPath = e.logPath(d.ID)
	}
	if d.running() {
		out.ResolvConfPath, out.HostsPath, out.HostnamePath =
			filepath.Join(dir, fileResolv), filepath.Join(dir, fileHosts), filepath.Join(dir, fileHostname)
		if !host.NetworkMode.IsContainer() { // whose network is another's
			out.NetworkSettings.SandboxID = d.ID
			out.NetworkSettings.SandboxKey = "/proc/" + itoa(d.State.Pid) + "/ns/net"
		}
	}
	if d.Foreign != nil { // whose output is not ours
		out.LogPath, out.HostnamePath = "", ""
		if !d.Foreign.Files {
			out.ResolvConfPath, out.HostsPath = "", ""
		}
		out.NetworkSettings.SandboxKey = d.Foreign.path()
	}
	for id, x := range e.execs {
		if x.container == c && x.started && x.exit == nil {
			out.ExecIDs = append(out.ExecIDs, id)
		}
	}
	slices.Sort(out.ExecIDs)
	return out, nil
}

// ContainerDetail implements api.ContainerBackend.
func (e *Engine) ContainerDetail(_ context.Context, nameOrID string) (api.ContainerDetail, error) {
	d := api.ContainerDetail{Endpoints: map[string]api.EndpointDetail{}}
	e.mu.Lock()
	c, err := e.findContainer(nameOrID)
	var on []*netw
	if err == nil && c.def.running() {
		for _, a := range c.def.Attachments {
			if n := e.networks[a.NetworkID]; n != nil {
				on = append(on, n)
			}
		}
		d.Namespace = e.foreignDetail(c.def)
	}
	e.mu.Unlock()
	if err != nil {
		return d, err
	}
	for _, n := range on {
		for _, s := range e.networkStatus(n).Containers {
			if s.ContainerID == c.def.ID {
				d.Endpoints[n.def.Name] = api.EndpointDetail{Counters: s.Counters}
			}
		}
	}
	return d, nil
}

// endpointSettings is NetworkSettings.Networks: by the network's name; e.mu is
// held.
func (e *Engine) endpointSettings(d *ContainerDef) map[string]*network.EndpointSettings {
	out := map[string]*network.EndpointSettings{}
	mode, err := d.mode()
	if err != nil {
		return out
	}
	if mode.kind == modeHost || d.onNone() {
		name := network.NetworkHost
		if mode.kind != modeHost {
			name = network.NetworkNone
		}
		s := &network.EndpointSettings{}
		for _, n := range e.networks {
			if n.def.Name == name {
				s.NetworkID = n.def.ID
			}
		}
		out[name] = s
	}
	for _, a := range d.Attachments {
		n := e.networks[a.NetworkID]
		s := &network.EndpointSettings{
			Links: slices.Clone(a.Links), Aliases: slices.Clone(a.Aliases), DriverOpts: maps.Clone(a.DriverOpts), GwPriority: a.GwPriority,
			NetworkID: a.NetworkID, MacAddress: slices.Clone(a.MAC),
		}
		if n != nil && !d.State.Started.IsZero() {
			s.DNSNames = endpointNames(&n.def, d, a)
		}
		if a.IPv4.IsValid() || a.IPv6.IsValid() {
			s.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: a.IPv4, IPv6Address: a.IPv6}
		}
		if ep := a.Endpoint; ep != nil && n != nil {
			s.EndpointID, s.MacAddress, s.DNSNames = ep.ID, slices.Clone(ep.MAC), slices.Clone(ep.Names)
			if sub, ok := n.def.subnet(true); ok && ep.IPv4.IsValid() {
				s.IPAddress, s.IPPrefixLen = ep.IPv4, sub.Prefix.Bits()
				if !n.def.Internal {
					s.Gateway = sub.Gateway
				}
			}
			if sub, ok := n.def.subnet(false); ok && ep.IPv6.IsValid() {
				s.GlobalIPv6Address, s.GlobalIPv6PrefixLen = ep.IPv6, sub.Prefix.Bits()
				if !n.def.Internal {
					s.IPv6Gateway = sub.Gateway
				}
			}
		}
		out[e.networkName(d, a)] = s
	}
	return out
}

// portMap is NetworkSettings.Ports: exposed ports without bindings have null. A
// container without an endpoint has none.
func (c *ContainerDef) portMap() network.PortMap {
	out := network.PortMap{}
	if !c.running() || len(c.Attachments) == 0 {
		return out
	}
	for p := range c.Config.ExposedPorts {
		out[p] = nil
	}
	for _, b := range c.Bindings {
		out[b.Port] = append(out[b.Port], network.PortBinding{HostIP: b.Host.Addr(), HostPort: itoa(int(b.Host.Port()))})
	}
	return out
}

// portSummaries is the column PORTS of a list.
func (c *ContainerDef) portSummaries() []container.PortSummary {
	out := []container.PortSummary{}
	if !c.running() || len(c.Attachments) == 0 {
		return out
	}
	bound := map[network.Port]bool{}
	for _, b := range c.Bindings {
		bound[b.Port] = true
		out = append(out, container.PortSummary{
			IP: b.Host.Addr(), PrivatePort: b.Port.Num(), PublicPort: b.Host.Port(), Type: string(b.Port.Proto()),
		})
	}
	for p := range c.Config.ExposedPorts {
		if !bound[p] {
			out = append(out, container.PortSummary{PrivatePort: p.Num(), Type: string(p.Proto())})
		}
	}
	slices.SortFunc(out, func(a, b container.PortSummary) int {
		return cmp.Or(cmp.Compare(a.PrivatePort, b.PrivatePort), cmp.Compare(a.Type, b.Type), compareAddr(a.IP, b.IP), cmp.Compare(a.PublicPort, b.PublicPort))
	})
	return out
}

func compareAddr(a, b netip.Addr) int { return a.Compare(b) }
