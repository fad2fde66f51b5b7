package shim

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Spec says what a container's processes shall see and be. The zero value of every field is usable
// except ID, Dir and Args.
type Spec struct {
	ID      string // for process titles and messages
	Dir     string // the container's runtime directory, 0700, absolute; holds the socket "s" and exit.json
	LogPath string // Docker's json-file log; "" keeps none

	Args       []string // the command; Args[0] is looked up in the container's PATH
	Env        []string // the whole environment, KEY=VALUE
	Cwd        string   // "" means "/"
	Hostname   string   // "" keeps the host's
	Domainname string
	TTY        bool
	OpenStdin  bool   // without it the command's standard input is /dev/null
	StdinOnce  bool   // the end of the first attached client's input ends the command's
	User       string // uid[:gid] or name[:group]; "" is uid 0; must be mapped

	UserNS      string // "" maps the caller to uid 0 and nobody else; "auto" adds the caller's subordinate ids; ignored when a network is joined
	HostNetwork bool   // no network namespace of its own
	JoinNetOf   string // Dir of another container, whose user and network namespaces are joined
	NetNSPath   string // a network namespace, joined together with the user namespace that owns it

	ResolvConf   string   // file shown as /etc/resolv.conf, "" shows the host's
	Hosts        string   // file shown as /etc/hosts
	HostnameFile string   // file shown as /etc/hostname
	Mask         []string // paths that the container must not see
	CapAdd       []string // as Docker's: names with or without CAP_, or ALL
	CapDrop      []string
	Privileged   bool              // all capabilities, /proc/sys and /sys writable; Mask can then be undone
	Sysctls      map[string]string // dotted or slashed names, set at Start, when interfaces are there
}

// ExecSpec says what one more process in a running container shall be.
type ExecSpec struct {
	Args       []string
	Env        []string // the whole environment, KEY=VALUE
	Cwd        string   // "" means "/"
	TTY        bool
	Stdin      bool   // without it standard input is /dev/null
	User       string // as Spec.User
	Privileged bool   // all capabilities of the container's user namespace
}

// Exit says how a container's command ended.
type Exit struct {
	Code       int       `json:"code"` // 0-255; 128+n when ended by signal n
	OOMKilled  bool      `json:"oomKilled"`
	FinishedAt time.Time `json:"finishedAt"`
	Error      string    `json:"error"` // why the command never ran, or why its end is not known
}

// Status of a container's command.
type Status string

// The three states of a command, in their order.
const (
	Created Status = "created" // namespaces exist, the command waits for Start
	Running Status = "running"
	Exited  Status = "exited"
)

// State is a container's state at one moment.
type State struct {
	ID        string    `json:"id"`
	Status    Status    `json:"status"`
	PID       int       `json:"pid"`                // host pid of the container's pid 1
	StartedAt time.Time `json:"startedAt,omitzero"` // zero while created
	TTY       bool      `json:"tty"`
	OpenStdin bool      `json:"openStdin"`
	Exit      *Exit     `json:"exit,omitempty"` // set when exited
}

// socketName is one letter because the whole path must fit into 107 bytes.
const (
	socketName  = "s"
	exitName    = "exit.json"
	scratchName = "m"        // empty; inside the container's mount namespace a tmpfs stands here for a moment
	crashName   = "shim.log" // the shim's own standard error, empty unless it crashed
	// maxSocketPath is sockaddr_un's 108 bytes less the closing zero.
	maxSocketPath = 107
)

func (s *Spec) validate() error {
	switch {
	case len(s.Args) == 0 || s.Args[0] == "":
		return invalid("no command given")
	case !filepath.IsAbs(s.Dir):
		return invalid("runtime directory %q is not an absolute path", s.Dir)
	case len(filepath.Join(s.Dir, socketName)) > maxSocketPath:
		return invalid("socket path %q is %d bytes, the kernel allows %d; set XDG_RUNTIME_DIR to a shorter path",
			filepath.Join(s.Dir, socketName), len(filepath.Join(s.Dir, socketName)), maxSocketPath)
	case s.Cwd != "" && !filepath.IsAbs(s.Cwd):
		return invalid("working directory %q is not an absolute path", s.Cwd)
	case s.UserNS != "" && s.UserNS != "auto":
		return invalid("user namespace mode %q is not known; use auto or leave it out", s.UserNS)
	case len(s.Hostname) > 64:
		return invalid("host name %q is longer than 64 bytes", s.Hostname)
	case len(s.Domainname) > 64:
		return invalid("domain name %q is longer than 64 bytes", s.Domainname)
	}
	networks := 0
	for _, on := range []bool{s.HostNetwork, s.JoinNetOf != "", s.NetNSPath != ""} {
		if on {
			networks++
		}
	}
	if networks > 1 {
		return invalid("more than one of host network, another container's network and a namespace path")
	}
	for _, p := range s.Mask {
		if !filepath.IsAbs(p) || filepath.Clean(p) == "/" {
			return invalid("cannot hide %q: not an absolute path below /", p)
		}
	}
	for _, f := range s.fileBinds() {
		if st, err := os.Stat(f.Source); err != nil {
			return invalid("file for %s: %v", f.Target, err)
		} else if !st.Mode().IsRegular() {
			return invalid("file for %s: %s is not a regular file", f.Target, f.Source)
		}
	}
	for name := range s.Sysctls {
		if _, err := sysctlPath(name); err != nil {
			return err
		}
	}
	if err := validEnv(s.Env); err != nil {
		return err
	}
	_, err := boundingSet(s.CapAdd, s.CapDrop, s.Privileged)
	return err
}

func (s *ExecSpec) validate() error {
	switch {
	case len(s.Args) == 0 || s.Args[0] == "":
		return invalid("no exec command specified")
	case s.Cwd != "" && !filepath.IsAbs(s.Cwd):
		return invalid("working directory %q is not an absolute path", s.Cwd)
	}
	return validEnv(s.Env)
}

func validEnv(env []string) error {
	for _, kv := range env {
		if i := strings.IndexByte(kv, '='); i <= 0 || strings.IndexByte(kv, 0) >= 0 {
			return invalid("environment entry %q is not NAME=VALUE", kv)
		}
	}
	return nil
}

// fileBind is a file of ours shown in place of one of the host's.
type fileBind struct{ Source, Target string }

func (s *Spec) fileBinds() []fileBind {
	var binds []fileBind
	for _, b := range []fileBind{
		{s.ResolvConf, "/etc/resolv.conf"},
		{s.Hosts, "/etc/hosts"},
		{s.HostnameFile, "/etc/hostname"},
	} {
		if b.Source != "" {
			binds = append(binds, b)
		}
	}
	return binds
}

// ownNetwork says whether the container gets a network namespace of its own.
func (s *Spec) ownNetwork() bool {
	return !s.HostNetwork && s.JoinNetOf == "" && s.NetNSPath == ""
}

// sysctlPath returns the file of a sysctl given as net.ipv4.ip_forward or net/ipv4/ip_forward.
// The slashed form is for names with dots in them, like an interface eth0.5.
func sysctlPath(name string) (string, error) {
	path := name
	if !strings.Contains(name, "/") {
		path = strings.ReplaceAll(name, ".", "/")
	}
	if path == "" || filepath.Clean("/"+path) != "/"+path || strings.IndexByte(path, 0) >= 0 {
		return "", invalid("sysctl %q is not a name like net.ipv4.ip_forward", name)
	}
	return "/proc/sys/" + path, nil
}

// validSignal bounds what may be sent: 1 to 64 on Linux.
func validSignal(s syscall.Signal) error {
	if s < 1 || s > 64 {
		return invalid("signal %d does not exist", int(s))
	}
	return nil
}
