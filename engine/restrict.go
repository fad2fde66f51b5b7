package engine

import (
	"github.com/moby/moby/api/types/container"

	"github.com/footbridge-net/footbridge/internal/absent"
)

// checkRestrictions refuses what Docker's API can ask for and footbridge's
// containers do not have: limits and protections above all, because whoever
// asked relies on them.
func checkRestrictions(def *ContainerDef) error {
	cfg, host := &def.Config, &def.HostConfig
	r := &host.Resources
	for _, asked := range []struct {
		what  string
		given bool
	}{
		{absent.ReadOnlyRoot, host.ReadonlyRootfs},
		{absent.ReadOnlyPaths, len(host.ReadonlyPaths) > 0},
		{absent.MaskedPaths, len(host.MaskedPaths) > 0},
		{absent.AnonymousVolumes, len(cfg.Volumes) > 0},
		{absent.StorageOptions, len(host.StorageOpt) > 0},

		{absent.MemoryLimits, r.Memory > 0 || r.MemoryReservation > 0 || r.MemorySwap > 0},
		{absent.Swappiness, r.MemorySwappiness != nil && *r.MemorySwappiness != -1},
		{absent.OOMKill, r.OomKillDisable != nil && *r.OomKillDisable},
		{absent.CPULimits, r.NanoCPUs != 0 || r.CPUShares != 0 || r.CPUPeriod != 0 || r.CPUQuota != 0 || r.CPURealtimePeriod != 0 || r.CPURealtimeRuntime != 0},
		{absent.CPUSet, r.CpusetCpus != "" || r.CpusetMems != ""},
		{absent.ProcessLimit, r.PidsLimit != nil && *r.PidsLimit > 0},
		{absent.BlockDevices, r.BlkioWeight != 0 || len(r.BlkioWeightDevice) > 0 ||
			len(r.BlkioDeviceReadBps) > 0 || len(r.BlkioDeviceWriteBps) > 0 || len(r.BlkioDeviceReadIOps) > 0 || len(r.BlkioDeviceWriteIOps) > 0},
		{absent.CgroupParent, r.CgroupParent != "" || host.Cgroup != ""},
		{absent.CgroupNS, host.CgroupnsMode.IsPrivate()},

		{absent.Devices, len(r.Devices) > 0 || len(r.DeviceRequests) > 0 || len(r.DeviceCgroupRules) > 0},
		{absent.ResourceLimits, len(r.Ulimits) > 0},
		{absent.OOMScore, host.OomScoreAdj != 0},
		{absent.Groups, len(host.GroupAdd) > 0},
		{absent.Umask, host.Umask != nil},
		{absent.Isolation, !host.Isolation.IsDefault()},
		{absent.Runtime, host.Runtime != ""},
		{absent.HealthChecks, hasHealthcheck(cfg.Healthcheck)},
		{absent.LogDrivers, host.LogConfig.Type != "" && host.LogConfig.Type != logDriver},
		{absent.NoNetwork, cfg.NetworkDisabled},
	} {
		if asked.given {
			return invalid("%s", asked.what)
		}
	}
	for _, o := range host.SecurityOpt {
		if why := absent.SecurityOption(o); why != "" {
			return invalid("%s", why)
		}
	}
	return nil
}

// logDriver is the only way in which logs are kept.
const logDriver = absent.LogDriver

func hasHealthcheck(h *container.HealthConfig) bool {
	return h != nil && len(h.Test) > 0 && h.Test[0] != "NONE" && h.Test[0] != ""
}

// ineffective returns warnings about what has no effect and does no harm.
func ineffective(def *ContainerDef) []string {
	host := &def.HostConfig
	var out []string
	for _, asked := range []struct {
		given bool
		text  string
	}{
		{host.ShmSize != 0, "The size of /dev/shm is discarded: a container sees the host's"},
		{len(host.LogConfig.Config) > 0, "Options of the log driver are discarded"},
		{host.VolumeDriver != "", "The volume driver is discarded: there are no volumes"},
	} {
		if asked.given {
			out = append(out, asked.text)
		}
	}
	return out
}
