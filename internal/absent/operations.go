package absent

// Operations: commands of Docker's and requests of its API.
const (
	Images      = "images are not supported by footbridge: its containers run the host's programs and see the host's files; run a command of the host's, under any name as its image"
	Volumes     = "volumes are not supported by footbridge: its containers see the host's files; keep what is to stay in a folder of the host's"
	Swarm       = "swarm mode is not supported by footbridge: its networks live on one host; make one with the driver bridge"
	Plugins     = "plugins are not supported by footbridge: all drivers are its own; networks have the driver bridge"
	Build       = "building images is not supported by footbridge: its containers run the host's programs; install on the host what they need"
	Login       = "registries are not supported by footbridge: it has no images; what it does needs no login"
	Cgroups     = "resource limits and statistics (update, stats) are not supported by footbridge: its containers have no cgroup of their own; `top` lists their processes, and systemd-run limits whatever starts a command"
	Files       = "copying files (cp, export) is not supported by footbridge: its containers see the host's files; copy them on the host"
	Changes     = "listing changed files (diff) is not supported by footbridge: its containers see the host's files and have none of their own; look at the host's"
	Pause       = "pausing containers (pause, unpause) is not supported by footbridge: they have no cgroup of their own that could be frozen; halt the main process with `kill -s STOP`, and continue it with `kill -s CONT`"
	DiskUsage   = "disk usage (system df) is not supported by footbridge: there are no images and no volumes, and containers have no files of their own; look at the host's"
	Checkpoints = "checkpoints are not supported by footbridge: the state of processes cannot be saved without root; stop the container, and start it again"
	WebSocket   = "attaching by WebSocket is not supported by footbridge: attach with POST /containers/NAME/attach"
)

// Commands that are Docker's and have no counterpart in its API, or another one here.
const (
	Compose = "Compose files are not supported by footbridge: make what they describe with `footbridge network create` and `footbridge run`"
	Context = "contexts are not supported by footbridge: there is one daemon for each user"
	System  = "the command system is not supported by footbridge: see `footbridge daemon status`, `footbridge doctor`, `footbridge events`, `footbridge container prune` and `footbridge network prune`"
	Info    = "the command info is not supported by footbridge: `footbridge daemon status` and `footbridge doctor` tell of daemon and machine"
)
