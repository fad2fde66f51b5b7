package engine

import (
	"os"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// imageHost stands for the image of containers, which have none: they see the
// host's files.
const imageHost = "host"

// wireRuntime is what runs the containers.
const wireRuntime = "footbridge"

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
		if d.HostConfig.NetworkMode.IsHost() {
			c.Hostname, _ = os.Hostname() // none where the kernel says none
		}
	}
	if len(c.Volumes) == 0 {
		c.Volumes = nil
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
	if h.Runtime == "" {
		h.Runtime = wireRuntime
	}
	// Docker's clients send numbers for what was not asked for; inspect says null.
	if h.MemorySwappiness != nil && *h.MemorySwappiness == -1 {
		h.MemorySwappiness = nil
	}
	if h.OomKillDisable != nil && !*h.OomKillDisable {
		h.OomKillDisable = nil
	}
	if h.PidsLimit != nil && *h.PidsLimit <= 0 {
		h.PidsLimit = nil
	}
	empty(&h.BlkioWeightDevice)
	empty(&h.BlkioDeviceReadBps)
	empty(&h.BlkioDeviceReadIOps)
	empty(&h.BlkioDeviceWriteBps)
	empty(&h.BlkioDeviceWriteIOps)
	empty(&h.Devices)
	empty(&h.Ulimits)
	empty(&h.DNS)
	empty(&h.DNSOptions)
	empty(&h.DNSSearch)
	if h.PortBindings == nil {
		h.PortBindings = network.PortMap{}
	}
	return h
}

// empty makes a list that is null to one that is empty.
func empty[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}
