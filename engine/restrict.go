package engine

import (
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
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
		why   string
	}{
		{"a read-only root (--read-only)", host.ReadonlyRootfs, seesHost},
		{"read-only paths", len(host.ReadonlyPaths) > 0, seesHost},
		{"masked paths", len(host.MaskedPaths) > 0, seesHost},
		{"anonymous volumes (--volume)", len(cfg.Volumes) > 0, seesHost},
		{"storage options (--storage-opt)", len(host.StorageOpt) > 0, seesHost},

		{"memory limits (--memory, --memory-reservation, --memory-swap)", r.Memory > 0 || r.MemoryReservation > 0 || r.MemorySwap > 0, noCgroups},
		{"a memory swappiness (--memory-swappiness)", r.MemorySwappiness != nil && *r.MemorySwappiness != -1, noCgroups},
		{"protection from the OOM killer (--oom-kill-disable)", r.OomKillDisable != nil && *r.OomKillDisable, noCgroups},
		{"CPU limits (--cpus, --cpu-shares, --cpu-period, --cpu-quota, --cpu-rt-period, --cpu-rt-runtime)",
			r.NanoCPUs != 0 || r.CPUShares != 0 || r.CPUPeriod != 0 || r.CPUQuota != 0 || r.CPURealtimePeriod != 0 || r.CPURealtimeRuntime != 0, noCgroups},
		{"a set of CPUs (--cpuset-cpus, --cpuset-mems)", r.CpusetCpus != "" || r.CpusetMems != "", noCgroups},
		{"a limit of processes (--pids-limit)", r.PidsLimit != nil && *r.PidsLimit > 0, noCgroups},
		{"limits of block devices (--blkio-weight, --device-read-bps, ...)", r.BlkioWeight != 0 || len(r.BlkioWeightDevice) > 0 ||
			len(r.BlkioDeviceReadBps) > 0 || len(r.BlkioDeviceWriteBps) > 0 || len(r.BlkioDeviceReadIOps) > 0 || len(r.BlkioDeviceWriteIOps) > 0, noCgroups},
		{"a parent cgroup (--cgroup-parent)", r.CgroupParent != "" || host.Cgroup != "", noCgroups},
		{"a cgroup namespace (--cgroupns)", host.CgroupnsMode.IsPrivate(), noCgroups},

		{"devices (--device, --gpus, --device-cgroup-rule)", len(r.Devices) > 0 || len(r.DeviceRequests) > 0 || len(r.DeviceCgroupRules) > 0,
			"it has the host's devices, as far as you may use them"},
		{"resource limits (--ulimit)", len(r.Ulimits) > 0, "it has those of the daemon; set them with ulimit in its command"},
		{"an OOM score (--oom-score-adj)", host.OomScoreAdj != 0, "it has the daemon's; set it with choom in its command"},
		{"more groups (--group-add)", len(host.GroupAdd) > 0, "an unprivileged user namespace cannot add groups"},
		{"a umask", host.Umask != nil, "set it with umask in its command"},
		{"an isolation technology (--isolation)", !host.Isolation.IsDefault(), "there is only namespaces"},
		{"another runtime (--runtime)", host.Runtime != "", "footbridge is its own"},
		{"health checks (--health-cmd)", hasHealthcheck(cfg.Healthcheck), "run the check with `footbridge exec`"},
		{"another log driver (--log-driver)", host.LogConfig.Type != "" && host.LogConfig.Type != logDriver, "logs are kept as " + logDriver},
		{"a container without network by a flag of its own", cfg.NetworkDisabled, "use the network mode none (--network none)"},
	} {
		if asked.given {
			return invalid("%s: not available for footbridge's containers: %s", asked.what, asked.why)
		}
	}
	for _, o := range host.SecurityOpt {
		switch key, value, _ := strings.Cut(strings.Replace(o, ":", "=", 1), "="); {
		case slices.Contains([]string{"seccomp", "apparmor", "systempaths"}, key) && value == "unconfined",
			key == "label" && value == "disable", key == "no-new-privileges" && value == "false":
			// It is so.
		default:
			return invalid("security option %q: not available for footbridge's containers: they are confined by their namespaces and capabilities only; drop capabilities with --cap-drop", o)
		}
	}
	return nil
}

// Why something is not available.
const (
	seesHost  = "it sees the host's files, and may do with them what you may"
	noCgroups = "it has no cgroup of its own; limit the daemon and all containers at once, for example with systemd-run --user --scope -p MemoryMax=1G footbridge daemon"
)

// logDriver is the only way in which logs are kept.
const logDriver = "json-file"

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
