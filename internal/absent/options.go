package absent

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// Options of containers: limits and protections above all, because whoever asks for one relies
// on it.
const (
	ReadOnlyRoot     = "a read-only root (--read-only)" + notAvailable + seesHost
	ReadOnlyPaths    = "read-only paths" + notAvailable + seesHost
	MaskedPaths      = "masked paths" + notAvailable + seesHost
	AnonymousVolumes = "anonymous volumes (--volume)" + notAvailable + seesHost
	StorageOptions   = "storage options (--storage-opt)" + notAvailable + seesHost
	Mounts           = "volumes and mounts are not available: a container sees the host's files"

	MemoryLimits = "memory limits (--memory, --memory-reservation, --memory-swap)" + notAvailable + noCgroups
	Swappiness   = "a memory swappiness (--memory-swappiness)" + notAvailable + noCgroups
	OOMKill      = "protection from the OOM killer (--oom-kill-disable)" + notAvailable + noCgroups
	CPULimits    = "CPU limits (--cpus, --cpu-shares, --cpu-period, --cpu-quota, --cpu-rt-period, --cpu-rt-runtime)" + notAvailable + noCgroups
	CPUSet       = "a set of CPUs (--cpuset-cpus, --cpuset-mems)" + notAvailable + noCgroups
	ProcessLimit = "a limit of processes (--pids-limit)" + notAvailable + noCgroups
	BlockDevices = "limits of block devices (--blkio-weight, --device-read-bps, ...)" + notAvailable + noCgroups
	CgroupParent = "a parent cgroup (--cgroup-parent)" + notAvailable + noCgroups
	CgroupNS     = "a cgroup namespace (--cgroupns)" + notAvailable + noCgroups

	Devices        = "devices (--device, --gpus, --device-cgroup-rule)" + notAvailable + "it has the host's devices, as far as you may use them"
	ResourceLimits = "resource limits (--ulimit)" + notAvailable + "it has those of the daemon; set them with ulimit in its command"
	OOMScore       = "an OOM score (--oom-score-adj)" + notAvailable + "it has the daemon's; set it with choom in its command"
	Groups         = "more groups (--group-add)" + notAvailable + "an unprivileged user namespace cannot add groups"
	Umask          = "a umask" + notAvailable + "set it with umask in its command"
	Isolation      = "an isolation technology (--isolation)" + notAvailable + "there is only namespaces"
	Runtime        = "another runtime (--runtime)" + notAvailable + "footbridge is its own"
	HealthChecks   = "health checks (--health-cmd)" + notAvailable + "run the check with `footbridge exec`"
	LogDrivers     = "another log driver (--log-driver)" + notAvailable + "logs are kept as " + LogDriver
	NoNetwork      = "a container without network by a flag of its own" + notAvailable + "use the network mode none (--network none)"
)

// What only a command line can ask for; the API has no word for it, or takes it with a warning.
const (
	Attach     = "a choice of streams (--attach)" + notAvailable + "run shows them all, or none with --detach"
	Entrypoint = "an entrypoint (--entrypoint)" + notAvailable + "there is no image that has one; give the program as the command's first word"
	LabelFiles = "labels from a file (--label-file)" + notAvailable + "give each with --label"
	LogOptions = "options of the log driver (--log-opt)" + notAvailable + "logs are kept as " + LogDriver + ", whole"
	SharedSize = "a size of /dev/shm (--shm-size)" + notAvailable + "it sees the host's"
	APISocket  = "the API's socket inside (--use-api-socket)" + notAvailable + "the daemon serves no other user namespace than its own"
)

// LogDriver is the only way in which logs are kept.
const LogDriver = "json-file"

const (
	notAvailable = ": not available for footbridge's containers: "
	seesHost     = "it sees the host's files, and may do with them what you may"
	noCgroups    = "it has no cgroup of its own; limit the daemon and all containers at once, for example with systemd-run --user --scope -p MemoryMax=1G footbridge daemon"
)

// Each of these returns the sentence that refuses a value, or nothing if the value asks for what
// is so anyhow.

// RestartPolicy is about --restart.
func RestartPolicy(name string) string {
	return unless(name == "no", "restart policy %q is not available: containers are not restarted", name)
}

// PIDMode is about --pid.
func PIDMode(mode string) string {
	return unless(mode == "private", "PID mode %q is not available: a container has its own PID namespace", mode)
}

// IPCMode is about --ipc.
func IPCMode(mode string) string {
	return unless(mode == "private" || mode == "shareable", "IPC mode %q is not available: a container has its own IPC namespace", mode)
}

// UTSMode is about --uts.
func UTSMode(mode string) string {
	return unless(false, "UTS mode %q is not available: a container has its own UTS namespace", mode)
}

// PullPolicy is about --pull: there is nothing that could be pulled.
func PullPolicy(policy string) string {
	return unless(policy == "never" || policy == "missing", "pull policy %q is not available: "+Images, policy)
}

// Platform is about --platform.
func Platform(name string) string {
	isSo := slices.Contains([]string{"linux", runtime.GOARCH, "linux/" + runtime.GOARCH}, name) || name == "linux/arm64/v8" && runtime.GOARCH == "arm64"
	return unless(isSo, "platform %q is not available: a container runs programs of the host, which is linux/"+runtime.GOARCH, name)
}

// SecurityOption is about --security-opt.
func SecurityOption(o string) string {
	key, value, _ := strings.Cut(strings.Replace(o, ":", "=", 1), "=")
	isSo := slices.Contains([]string{"seccomp", "apparmor", "systempaths"}, key) && value == "unconfined" ||
		key == "label" && value == "disable" || key == "no-new-privileges" && value == "false"
	if isSo {
		return ""
	}
	return fmt.Sprintf("security option %q: not available for footbridge's containers: they are confined by their namespaces and capabilities only; drop capabilities with --cap-drop", o)
}

// unless returns the sentence about a value, but not for the empty one.
func unless(isSo bool, format, value string) string {
	if isSo || value == "" {
		return ""
	}
	return fmt.Sprintf(format, value)
}

// NetworkDriver says why there is no driver of a name.
func NetworkDriver(name string) string {
	const have = "footbridge has the driver bridge"
	switch name {
	case "macvlan", "ipvlan":
		return "containers on an interface of the host's (" + name + ") need root; " + have
	case "overlay":
		return "networks over several hosts (overlay) need root and a cluster; " + have
	}
	return have
}
