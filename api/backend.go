package api

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/system"
)

// Backend is what the server serves: the engine behind the API. It is the sum
// of one interface a noun.
//
// Every method may be called from many goroutines at once. Containers and
// networks are named by name, by id or by an unambiguous beginning of an id.
// Errors carry a class of containerd/errdefs in their chain, which decides the
// HTTP status (see [StatusCode]); their text reaches the user as it is.
// The context ends when the client is gone.
type Backend interface {
	SystemBackend
	NetworkBackend
	ContainerBackend
	ExecBackend
	DaemonBackend
	NamespaceBackend
	RuntimeBackend
	Dialer
	Publisher
}

// SystemBackend answers for the daemon as a whole, in Docker's words.
type SystemBackend interface {
	// Ping returns nil when the backend can do work.
	Ping(ctx context.Context) error
	// Version describes the daemon. The server fills in APIVersion,
	// MinAPIVersion, Os and Arch, and what buildinfo knows, where they are empty.
	Version(ctx context.Context) (system.VersionResponse, error)
	// Info counts containers and describes the host.
	Info(ctx context.Context) (system.Info, error)
	// Events subscribes: when it returns, no later event is missed. The channel
	// is closed when ctx ends, when options.Until has passed, or when the
	// subscriber was too slow to be kept.
	Events(ctx context.Context, options EventsOptions) (<-chan events.Message, error)
}

// NetworkBackend keeps networks and who is attached to them.
type NetworkBackend interface {
	// NetworkCreate makes a network. The server has checked that the name is a
	// valid one; everything else in req is as the client sent it.
	NetworkCreate(ctx context.Context, req network.CreateRequest) (network.CreateResponse, error)
	NetworkList(ctx context.Context, filters Filters) ([]network.Summary, error)
	NetworkInspect(ctx context.Context, nameOrID string, options NetworkInspectOptions) (network.Inspect, error)
	NetworkRemove(ctx context.Context, nameOrID string) error
	NetworksPrune(ctx context.Context, filters Filters) (network.PruneReport, error)
	// NetworkConnect attaches req.Container (name or id); req.EndpointConfig may be nil.
	NetworkConnect(ctx context.Context, nameOrID string, req network.ConnectRequest) error
	NetworkDisconnect(ctx context.Context, nameOrID string, req network.DisconnectRequest) error
}

// ContainerBackend keeps containers.
type ContainerBackend interface {
	// ContainerCreate makes a container that is not started. An empty name asks
	// for a generated one. The server has checked the name and that req.Config
	// is there; req.HostConfig and req.NetworkingConfig are never nil here.
	ContainerCreate(ctx context.Context, name string, req container.CreateRequest) (container.CreateResponse, error)
	// ContainerStart starts it; errdefs.ErrNotModified when it runs already.
	// A command that cannot be run is ErrCommandNotFound or ErrCommandNotExecutable.
	ContainerStart(ctx context.Context, nameOrID string) error
	// ContainerStop ends it, first by a signal, after the timeout by SIGKILL,
	// and returns when it has ended; errdefs.ErrNotModified when it does not run.
	ContainerStop(ctx context.Context, nameOrID string, options StopOptions) error
	// ContainerKill sends a signal: a name with or without "SIG", or a number.
	// An empty signal is SIGKILL. errdefs.ErrConflict when it does not run.
	ContainerKill(ctx context.Context, nameOrID string, signal string) error
	ContainerRemove(ctx context.Context, nameOrID string, options RemoveOptions) error
	// ContainerRestart stops a container, if it runs, and starts it.
	ContainerRestart(ctx context.Context, nameOrID string, options StopOptions) error
	// ContainerRename gives a container another name. The server has checked it.
	ContainerRename(ctx context.Context, nameOrID, name string) error
	// ContainerTop lists the processes of a running container as ps(1) does with
	// the arguments; "-ef" when there are none.
	ContainerTop(ctx context.Context, nameOrID, args string) (container.TopResponse, error)
	// ContainersPrune removes the containers that do not run.
	ContainersPrune(ctx context.Context, filters Filters) (ContainersPruneReport, error)
	// ContainerWait registers a wait and returns at once. The channel yields
	// exactly one result and is closed; it is closed without one when ctx ends.
	// An empty condition is container.WaitConditionNotRunning.
	ContainerWait(ctx context.Context, nameOrID string, condition container.WaitCondition) (<-chan container.WaitResponse, error)
	ContainerList(ctx context.Context, options ListOptions) ([]container.Summary, error)
	ContainerInspect(ctx context.Context, nameOrID string) (container.InspectResponse, error)
	// ContainerDetail tells of a container what Docker's types have no field for.
	ContainerDetail(ctx context.Context, nameOrID string) (ContainerDetail, error)
	// ContainerLogs opens what the container has written. The entries are ranged
	// over at most once; with Follow they end when the container does or ctx ends.
	ContainerLogs(ctx context.Context, nameOrID string, options LogsOptions) (*Logs, error)
	// ContainerAttach connects to the streams of a container that runs, or that
	// is created and about to be started. Output written after the return is not
	// missed. The caller closes the stream.
	ContainerAttach(ctx context.Context, nameOrID string, options AttachOptions) (*Stream, error)
	// ContainerResize sets the size of the container's terminal.
	ContainerResize(ctx context.Context, nameOrID string, size TTYSize) error
}

// ExecBackend runs further commands in running containers.
type ExecBackend interface {
	ExecCreate(ctx context.Context, nameOrID string, req container.ExecCreateRequest) (container.ExecCreateResponse, error)
	// ExecStart runs the command. With req.Detach the stream is nil; else the
	// caller closes it. When all its output has been read to the end, ExecInspect
	// reports the exit code. The context governs the start and the stream, not the
	// process.
	// A command that cannot be run is ErrCommandNotFound or ErrCommandNotExecutable.
	ExecStart(ctx context.Context, execID string, req container.ExecStartRequest) (*Stream, error)
	// ExecInspect describes an exec. DetachKeys are what ParseDetachKeys made of
	// the request's; empty means the default ones.
	ExecInspect(ctx context.Context, execID string) (container.ExecInspectResponse, error)
	ExecResize(ctx context.Context, execID string, size TTYSize) error
}

// DaemonBackend is what Docker has no word for, served under /footbridge/v1/.
type DaemonBackend interface {
	Status(ctx context.Context) (Status, error)
	// Shutdown asks the daemon to end and returns at once: the daemon ends after
	// the answers under way have been sent. Containers go on without it.
	Shutdown(ctx context.Context) error
}

// EventsOptions selects events. Zero times mean no bound: only future events,
// without end.
type EventsOptions struct {
	Since   time.Time // also earlier events from here on, as far as they are kept
	Until   time.Time // the stream ends here
	Filters Filters
}

// NetworkInspectOptions selects what is told of a network.
type NetworkInspectOptions struct {
	Verbose bool
	Scope   string // "" or "local": "swarm" finds nothing
}

// ContainerInspect is a container with what is footbridge's own: one more field of
// the object, which Docker's clients pass over, or show as it is.
type ContainerInspect struct {
	container.InspectResponse
	Footbridge ContainerDetail
}

// ContainerDetail is what Docker has no word for.
type ContainerDetail struct {
	// Endpoints of a running container, by the names of their networks.
	Endpoints map[string]EndpointDetail
	// Namespace is that of an attached container, nil for others.
	Namespace *NamespaceDetail `json:",omitempty"`
}

// EndpointDetail is one endpoint.
type EndpointDetail struct {
	// Counters of frames and bytes, and of what was dropped, by reason.
	Counters map[string]uint64
}

// StopOptions says how a container is ended. Nil and empty mean the
// container's own settings, or 10 seconds and SIGTERM.
type StopOptions struct {
	Signal  string
	Timeout *int // seconds until SIGKILL; -1 never
}

// RemoveOptions says how a container is removed.
type RemoveOptions struct {
	Force         bool // end it first if it runs
	RemoveVolumes bool // anonymous volumes too
}

// ContainersPruneReport says what was removed.
type ContainersPruneReport struct {
	ContainersDeleted []string
	SpaceReclaimed    uint64 // bytes
}

// ListOptions selects containers.
type ListOptions struct {
	All     bool // those that do not run too
	Limit   int  // the newest n, running or not; 0 or less: no limit
	Filters Filters
}

// LogsOptions selects what of the logs is wanted.
type LogsOptions struct {
	Stdout, Stderr bool
	Follow         bool
	Timestamps     bool      // prefix each line; the server does it, not the backend
	Since, Until   time.Time // zero: no bound
	Tail           int       // the last n entries; negative: all
}

// Logs is an open log.
type Logs struct {
	// TTY says that the container has a terminal: everything is stdout.
	TTY bool
	// Entries yields the log in order. An error is the last thing it yields.
	Entries iter.Seq2[LogEntry, error]
}

// LogEntry is one write of a container, usually a line.
type LogEntry struct {
	Stream stdcopy.StdType // stdcopy.Stdout or stdcopy.Stderr
	Time   time.Time
	Line   []byte // with its newline, if it had one; valid until the next entry
}

// AttachOptions selects the streams of a container.
type AttachOptions struct {
	Stdin, Stdout, Stderr bool
	// Logs asks for what was written before, first.
	Logs bool
	// Stream asks for what is written from now on; without it the stream ends
	// after the logs.
	Stream bool
	// DetachKeys is the key sequence that detaches a terminal, in Docker's
	// notation; empty means ctrl-p,ctrl-q. The server watches for it.
	DetachKeys string
}

// TTYSize is the size of a terminal in characters.
type TTYSize struct {
	Height, Width uint16
}

// Stream is the attachment to a process: of a container or an exec.
//
// Stdin.Close tells the process that input has ended, after the client closed
// its side. Close detaches: it releases the stream and unblocks whoever reads
// from it or writes to it, and the process lives on. A client that goes away
// without closing its side first leads to Close only; whether that ends the
// process's input (StdinOnce) is the backend's to decide.
//
// Stdin, Stdout and Stderr are each used by one goroutine; Close may be called
// while they are.
type Stream struct {
	TTY    bool
	Stdin  io.WriteCloser // nil: input is not attached
	Stdout io.Reader      // nil: not attached; with TTY the terminal's output
	Stderr io.Reader      // nil: not attached; always nil with TTY
	Detach func() error   // called by Close, once
}

// Close detaches from the process.
func (s *Stream) Close() error {
	if s.Detach == nil {
		return nil
	}
	detach := s.Detach
	s.Detach = nil
	return detach()
}

// Status describes the daemon.
type Status struct {
	PID        int
	Version    string
	Commit     string
	StartedAt  time.Time
	Socket     string // path of the API socket
	RuntimeDir string
	StateDir   string
	Containers int // of which
	Running    int // run
	Networks   []NetworkStatus
	Warnings   []Warning `json:",omitempty"`
	// Upgrade is the one by which this program became the daemon, or by which it did
	// not become another; nil: there was none.
	Upgrade *UpgradeOutcome `json:",omitempty"`
	Keeper  ProcessStatus   // the daemon: definitions, namespaces, descriptors
	Worker  WorkerStatus    // the process that touches packets
}

// ProcessStatus is what one of the daemon's processes uses.
type ProcessStatus struct {
	PID         int
	StartedAt   time.Time
	Version     string
	Memory      uint64 // resident, in bytes
	Goroutines  int
	Descriptors int // open
}

// WorkerStatus is the sandboxed process that carries the packets.
type WorkerStatus struct {
	ProcessStatus
	Restarts int // since the daemon started, for whatever reason
	// LastExit says how the one before ended; empty without one.
	LastExit string
	Sandbox  Sandbox
}

// Sandbox is what holds the worker, as the kernel tells.
type Sandbox struct {
	NoNewPrivs   bool
	Capabilities uint64   // the effective, permitted, inheritable and ambient sets together: 0
	Seccomp      string   // "filter", "strict" or "off"
	Landlock     int      // ABI version in force; 0 without
	Notes        []string `json:",omitempty"` // what this kernel does not have
}

// Warning is something that the user should know of, and do something about.
type Warning struct {
	Text   string // what is
	Remedy string // what to do
}

// NetworkStatus is one network's data plane.
type NetworkStatus struct {
	ID         string
	Name       string
	MTU        int // bytes
	Endpoints  int
	Counters   map[string]uint64 // by name in snake_case: frames_forwarded, tcp_flows, ...
	Containers []EndpointStatus
}

// EndpointStatus is one port of a network's switch.
type EndpointStatus struct {
	ContainerID string
	Container   string // its name
	Counters    map[string]uint64
}
