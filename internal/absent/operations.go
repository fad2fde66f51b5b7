package absent

// Operations: commands of Docker's and requests of its API.
const (
	Images      = "images are not supported by footbridge: its containers run the host's programs and see the host's files"
	Volumes     = "volumes are not supported by footbridge: its containers see the host's files"
	Swarm       = "swarm mode is not supported by footbridge: its networks live on one host"
	Plugins     = "plugins are not supported by footbridge: all drivers are its own"
	Build       = "building images is not supported by footbridge: its containers run the host's programs"
	Login       = "registries are not supported by footbridge: it has no images"
	Cgroups     = "resource limits and statistics (update, stats) are not supported by footbridge: its containers have no cgroup of their own"
	Files       = "copying files (cp, export) is not supported by footbridge: its containers see the host's files"
	Changes     = "listing changed files (diff) is not supported by footbridge: its containers see the host's files and have none of their own"
	Pause       = "pausing containers (pause, unpause) is not supported by footbridge: they have no cgroup of their own that could be frozen"
	DiskUsage   = "disk usage (system df) is not supported by footbridge: there are no images and no volumes, and containers have no files of their own"
	Checkpoints = "checkpoints are not supported by footbridge: the state of processes cannot be saved without root"
	WebSocket   = "attaching by WebSocket is not supported by footbridge: attach with POST /containers/NAME/attach"
)

// Commands that are Docker's and have no counterpart in its API, or another one here.
const (
	Compose = "Compose files are not supported by footbridge: make what they describe with `footbridge network create` and `footbridge run`"
	Context = "contexts are not supported by footbridge: there is one daemon for each user"
	System  = "the command system is not supported by footbridge: see `footbridge daemon status`, `footbridge doctor`, `footbridge events`, `footbridge container prune` and `footbridge network prune`"
	Info    = "the command info is not supported by footbridge: `footbridge daemon status` and `footbridge doctor` tell of daemon and machine"
)
