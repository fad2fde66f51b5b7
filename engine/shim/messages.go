package shim

import "time"

// Operations that the engine asks of a shim over the socket "s". A connection carries one request
// and its answer; attach and wait keep theirs open afterwards, see request.
const (
	opState      = "state"       // answer: State, with the pid file descriptor of pid 1
	opStart      = "start"       // ID 0: the command, else an exec
	opSignal     = "signal"      // ID, Signal
	opResize     = "resize"      // ID, Width, Height
	opAttach     = "attach"      // ID, Attach; answer: the streams' pipes; the client's hanging up detaches it
	opWait       = "wait"        // ID; answer, when it ended: Exit; the connection being open keeps an ended shim alive
	opExecCreate = "exec-create" // Exec; answer: ID
	opAck        = "ack"         // the end was noted, the shim may go
)

// request is what an engine asks of a shim.
type request struct {
	Op     string         `json:"op"`
	ID     int            `json:"id,omitempty"` // 0 is the container's command
	Signal int            `json:"signal,omitempty"`
	Width  uint16         `json:"width,omitempty"`
	Height uint16         `json:"height,omitempty"`
	Attach *AttachOptions `json:"attach,omitempty"`
	Exec   *ExecSpec      `json:"exec,omitempty"`
}

// answer is what a shim answers.
type answer struct {
	Error *wireError `json:"error,omitempty"`
	ID    int        `json:"id,omitempty"`
	State *State     `json:"state,omitempty"`
	Exit  *Exit      `json:"exit,omitempty"`
}

// AttachOptions says which streams of a process a client wants.
type AttachOptions struct {
	Stdin, Stdout, Stderr bool
	// Patience is how long output may wait for this client once its pipe (1 MiB where the kernel
	// grants it) is full; then the client is cut off and the process goes on. 0 means DefaultPatience.
	Patience time.Duration
}

// DefaultPatience outlasts a busy disk or a paused terminal for a moment, and bounds what a dead
// client can cost a container.
const DefaultPatience = 10 * time.Second

// Operations that a shim asks of pid 1, in initRequest.Op, and pid 1's answers.
const (
	initSetup  = "setup"  // Setup; answer: initReady
	initLaunch = "launch" // ID, Launch, files; answer: initLaunched, later initExited
	initSignal = "signal" // ID, Signal; no answer

	initReady    = "ready"
	initLaunched = "launched"
	initExited   = "exited"
)

// initRequest is what a shim asks of pid 1.
type initRequest struct {
	Op     string         `json:"op"`
	ID     int            `json:"id"`
	Signal int            `json:"signal,omitempty"`
	Setup  *setupRequest  `json:"setup,omitempty"`
	Launch *launchRequest `json:"launch,omitempty"`
}

// setupRequest is what pid 1 makes of its namespaces.
type setupRequest struct {
	Hostname, Domainname string
	Binds                []fileBind
	Mask                 []string
	Scratch              string // a folder to mount things on for a moment
	Loopback             bool   // the network namespace is new: bring lo up
	Privileged           bool
	Sysctls              map[string]string // applied when the command is launched
}

// launchRequest is a process to be made. Three files come with it, or one when it has a terminal.
type launchRequest struct {
	Args, Env []string
	Cwd, User string
	Caps      []int // bounding set
	TTY       bool
}

// initAnswer is what pid 1 tells. It is hostile: only Code, bounded, and Error, cleaned, are used.
type initAnswer struct {
	Op    string     `json:"op"`
	ID    int        `json:"id"`
	Code  int        `json:"code,omitempty"`
	Error *wireError `json:"error,omitempty"`
}
