package engine

import (
	"net/netip"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// imageHost stands for the image of containers, which have none: they see the
// host's files.
const imageHost = "host"

// imageOf is what the client called the image, or imageHost.
func imageOf(d *ContainerDef) string {
	if d.Config.Image == "" {
		return imageHost
	}
	return d.Config.Image
}

// wireConfig is a container's configuration as clients see it: with what holds
// where nothing was said, and no null where Docker sends none.
func wireConfig(d *ContainerDef) container.Config {
	c := d.Config
	c.Image = imageOf(d)
	if c.Hostname == "" {
		c.Hostname = short(d.ID)
	}
	if c.Env == nil {
		c.Env = []string{}
	}
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
	return c
}

// wireHostConfig is the same for the part that depends on the host.
func wireHostConfig(d *ContainerDef) container.HostConfig {
	h := d.HostConfig
	if h.NetworkMode == "" || h.NetworkMode.IsDefault() {
		h.NetworkMode = network.NetworkBridge
	}
	if h.RestartPolicy.Name == "" {
		h.RestartPolicy.Name = container.RestartPolicyDisabled
	}
	if h.LogConfig.Type == "" {
		h.LogConfig.Type = logDriver
	}
	if h.LogConfig.Config == nil {
		h.LogConfig.Config = map[string]string{}
	}
	if h.IpcMode == "" {
		h.IpcMode = container.IPCModePrivate
	}
	if h.CgroupnsMode == "" { // a container is in the daemon's cgroup
		h.CgroupnsMode = container.CgroupnsModeHost
	}
	if h.PortBindings == nil {
		h.PortBindings = network.PortMap{}
	}
	if h.DNS == nil {
		h.DNS = []netip.Addr{}
	}
	if h.DNSOptions == nil {
		h.DNSOptions = []string{}
	}
	if h.DNSSearch == nil {
		h.DNSSearch = []string{}
	}
	return h
}
