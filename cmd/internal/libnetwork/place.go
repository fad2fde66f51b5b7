package libnetwork

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
	"github.com/footbridge-net/footbridge/engine/foreign"
	"github.com/footbridge-net/footbridge/tap"
)

// DefaultSocket is where dockerd looks for a driver of the name footbridge, in its own mount
// namespace.
const DefaultSocket = "/run/docker/plugins/footbridge.sock"

// detachedName is the file of RootlessKit's state folder where the network namespace is if it is
// not that of its child (--detach-netns).
const detachedName = "netns"

// Place is where dockerd lives: RootlessKit's namespaces, seen from outside or from within.
type Place struct {
	// Process is in dockerd's namespaces; zero: this one is.
	Process foreign.Process
	state   string // RootlessKit's folder as dockerd sees it, "" where it is not known
}

// PlaceOptions say where dockerd is; the zero value has it looked for.
type PlaceOptions struct {
	Getenv   func(string) string
	StateDir string // RootlessKit's
	PID      int    // of dockerd, or of another process in its namespaces
}

// FindPlace looks for dockerd.
func FindPlace(o PlaceOptions) (Place, error) {
	runtime := o.Getenv("XDG_RUNTIME_DIR")
	p := Place{state: o.StateDir}
	if p.state == "" {
		p.state = o.Getenv("ROOTLESSKIT_STATE_DIR")
	}
	if o.PID == 0 && plugin.InRuntime() {
		return p, nil
	}
	if p.state == "" && filepath.IsAbs(runtime) {
		p.state = filepath.Join(runtime, "dockerd-rootless")
	}
	pid := o.PID
	var problems []string
	for _, file := range []string{filepath.Join(p.state, "child_pid"), filepath.Join(runtime, "docker.pid")} {
		if pid != 0 {
			break
		}
		var err error
		if pid, err = readPID(file); err != nil {
			problems = append(problems, err.Error())
		}
	}
	if pid == 0 {
		return p, fmt.Errorf("dockerd without root was not found: %s; start it before, give RootlessKit's --state-dir as --rootlesskit, or dockerd's process as --pid", strings.Join(problems, ", "))
	}
	var err error
	p.Process, err = foreign.Find(pid)
	return p, err
}

func readPID(file string) (int, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("%s holds no number of a process", file)
	}
	return pid, nil
}

// root is the folder where dockerd's / is seen.
func (p Place) root() string {
	if p.Process.PID == 0 {
		return "/"
	}
	return fmt.Sprintf("/proc/%d/root", p.Process.PID)
}

// network is the path of dockerd's network namespace.
func (p Place) network() string {
	if p.state != "" {
		path := filepath.Join(p.root(), p.state, detachedName)
		if f, err := tap.OpenNetwork(path); err == nil {
			_ = f.Close()
			return path
		}
	}
	if p.Process.PID == 0 {
		return "/proc/self/ns/net"
	}
	return fmt.Sprintf("/proc/%d/ns/net", p.Process.PID)
}

// Attach attaches dockerd's network namespace. From within it is passed, since its path means
// nothing to the daemon.
func (p Place) Attach(ctx context.Context, client *api.Client, req api.NamespaceRequest) (container.CreateResponse, error) {
	path := p.network()
	if p.Process.PID == 0 {
		return plugin.Attach(ctx, client, path, req)
	}
	if strings.HasSuffix(path, "/ns/net") {
		req.PID, req.PIDStart = p.Process.PID, p.Process.Start
	} else {
		req.NetNS = path
	}
	return client.NamespaceAttach(ctx, req)
}

// Listen makes the socket where dockerd finds it; only its own user may use it.
func (p Place) Listen(path string) (net.Listener, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("the socket %s: its path must be absolute, in dockerd's file system", path)
	}
	path = filepath.Join(p.root(), path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the plugin's socket: %w", err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on the plugin's socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// staleTimeout bounds how long a socket that is there may take to answer.
const staleTimeout = time.Second

// removeStale removes a socket on which nobody listens any more.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there already, and no socket: remove it, or give another path as --socket", path)
	}
	conn, err := net.DialTimeout("unix", path, staleTimeout)
	switch {
	case err == nil:
		_ = conn.Close()
		return fmt.Errorf("another program listens on %s: end it first, or give another path as --socket", path)
	case !errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("the socket %s is there already: %w", path, err)
	}
	return os.Remove(path)
}

// Await returns when dockerd's namespaces are gone, as far as this program is outside of them,
// or when ctx ends.
func (p Place) Await(ctx context.Context) error {
	if p.Process.PID == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	at, err := foreign.At(p.Process.PID, "", nil)
	if err == nil && at.Process != p.Process {
		err = fmt.Errorf("process %d is another one by now: %w", p.Process.PID, foreign.ErrGone)
	}
	if err != nil {
		return err
	}
	return at.Await(ctx)
}
