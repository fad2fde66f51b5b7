package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"

	"github.com/footbridge-net/footbridge/api"
)

// startTimeout bounds how long a daemon may take to be ready. It takes some 100 ms, and
// more where many namespaces are attached again.
const startTimeout = 30 * time.Second

// Options say how to connect. The zero value is what a request needs that cannot be
// answered without a daemon.
type Options struct {
	Getenv func(string) string // nil: os.Getenv
	// Existing: a daemon that runs, of any version, or none (api.ErrNoDaemon).
	Existing bool

	self string // file of this program; "": what the system says
}

// Connect returns a client of the user's daemon, which is started where it can be.
//
// Errors: api.ErrNoDaemon, api.ErrOtherVersion.
func Connect(ctx context.Context, o Options) (*api.Client, error) {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	client := api.New(Socket(o.Getenv))
	err := probe(ctx, client)
	switch {
	case err == nil, o.Existing && errors.Is(err, api.ErrOtherVersion):
		return client, nil
	case !errors.Is(err, api.ErrNoDaemon), o.Existing:
		return nil, err
	case InRuntime() && startOutside(ctx, o) == nil:
		return client, probe(ctx, client)
	case InRuntime():
		return nil, api.Errorf(api.ErrNoDaemon, "no footbridge daemon listens on %s, and from inside a runtime's user namespace none can be started but by the user's service manager, which did not: run `footbridge network ls` outside before, or have it listen (systemctl --user enable --now footbridge.socket)", client.Socket())
	}
	if err := start(ctx, o); err != nil {
		return nil, api.Errorf(api.ErrNoDaemon, "no footbridge daemon listens on %s, and it could not be started: %w", client.Socket(), err)
	}
	return client, probe(ctx, client)
}

// probe is nil when a daemon of this version answers; one that is about to end is none.
func probe(ctx context.Context, client *api.Client) error {
	err := client.CheckVersion(ctx)
	for _, gone := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, gone) && ctx.Err() == nil {
			return api.Errorf(api.ErrNoDaemon, "%w", err)
		}
	}
	if errdefs.IsUnavailable(err) {
		return api.Errorf(api.ErrNoDaemon, "%w", err)
	}
	return err
}

// Socket is where the user's daemon listens, as the command line knows it.
func Socket(getenv func(string) string) string {
	return filepath.Join(RuntimeDir(getenv), "footbridge.sock")
}

// RuntimeDir is the daemon's folder of sockets, as the command line knows it.
func RuntimeDir(getenv func(string) string) string {
	if base := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(base) {
		return filepath.Join(base, "footbridge")
	}
	return "/tmp/footbridge-" + strconv.Itoa(outerUID())
}

// outerUID is our uid as the user namespace above has it, which for a runtime's is the
// user's own.
func outerUID() int {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return os.Geteuid()
	}
	return mappedTo(string(text), os.Geteuid())
}

// mappedTo reads the text of a uid_map.
func mappedTo(text string, uid int) int {
	for line := range strings.Lines(text) {
		var inside, outside, size int
		if n, err := fmt.Sscan(line, &inside, &outside, &size); n == 3 && err == nil && inside <= uid && uid-inside < size {
			return outside + uid - inside
		}
	}
	return uid
}

// InRuntime reports whether this process is root of a user namespace that is not the
// machine's: the one of a runtime.
func InRuntime() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && os.Geteuid() == 0 && !coversAll(string(text))
}

// coversAll: a user namespace in which every uid is itself is the machine's.
func coversAll(text string) bool {
	var inside, outside, size uint64
	n, err := fmt.Sscan(text, &inside, &outside, &size)
	return n == 3 && err == nil && inside == 0 && outside == 0 && size == 1<<32-1
}

// start has the command line start the daemon: with any command that needs one.
func start(ctx context.Context, o Options) error {
	program, err := o.commandLine()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, program, "network", "exists", "bridge")
	cmd.Env, cmd.Dir = environment(os.Environ()), "/"
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		if text := strings.TrimSpace(said.String()); text != "" {
			return errors.New(text)
		}
		return fmt.Errorf("%s: %w", program, err)
	}
	return nil
}

// commandLine finds footbridge: installed with this program, or in PATH.
func (o Options) commandLine() (string, error) {
	self, err := o.self, error(nil)
	if self == "" {
		self, err = os.Executable()
	}
	if err == nil {
		if program, ok := installedWith(self); ok {
			return program, nil
		}
	}
	found, err := exec.LookPath("footbridge")
	if err != nil {
		return "", fmt.Errorf("the command footbridge is neither where %s is installed nor in PATH: %w", self, err)
	}
	return filepath.Abs(found)
}

// installedWith finds footbridge beside a plugin, or in the bin folder of the prefix below
// which it is: PREFIX/lib/cni and PREFIX/bin.
func installedWith(plugin string) (program string, ok bool) {
	for _, dir := range []string{".", "../../bin"} {
		path := filepath.Join(filepath.Dir(plugin), dir, "footbridge")
		if isProgram(path) && !isSame(path, plugin) { // a plugin may be called footbridge as well
			return path, true
		}
	}
	return "", false
}

func isProgram(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

func isSame(a, b string) bool {
	first, err := os.Stat(a)
	second, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(first, second)
}

// environment leaves out what is one request's alone.
func environment(environ []string) []string {
	var out []string
	for _, kv := range environ {
		if !strings.HasPrefix(kv, "CNI_") {
			out = append(out, kv)
		}
	}
	return out
}
