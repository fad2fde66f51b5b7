package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/store"
	"github.com/footbridge-net/footbridge/internal/buildinfo"
	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/fdstore"
)

const (
	// abilityFlag makes `footbridge daemon` say what it could take over, with its other
	// flags as the running daemon has them, and end.
	abilityFlag = "check-handover"
	// askPatience bounds how long that may take.
	askPatience = 10 * time.Second
	// maxSaid bounds what a program may say to that, in bytes.
	maxSaid = 16 << 10
)

// ability is what a program can take over from another.
type ability struct {
	Version  string
	HandOver int // handoverVersion
	State    int // the newest state file that it reads
	// OpenFiles is the soft limit of open files that the daemon's programs are started with.
	// Only one of them can tell: Go raises its own at once.
	OpenFiles uint64
}

func ownAbility() *ability {
	return &ability{Version: buildinfo.Get().Version, HandOver: handoverVersion, State: store.Version}
}

// check says why a program cannot take over from this one.
func (a *ability) check(path string) error {
	switch own := ownAbility(); {
	case a.HandOver != own.HandOver:
		return api.Errorf(errdefs.ErrFailedPrecondition, "%s (footbridge %s) takes over by version %d of the protocol, and the running daemon (footbridge %s) hands over by version %d: "+
			"stop the daemon with `footbridge daemon stop`; the next command of the other version starts that one", path, a.Version, a.HandOver, own.Version, own.HandOver)
	case a.State < own.State:
		return api.Errorf(errdefs.ErrFailedPrecondition, "%s (footbridge %s) reads state files up to version %d, and the running daemon (footbridge %s) writes version %d: use a newer program",
			path, a.Version, a.State, own.Version, own.State)
	}
	return nil
}

// program is an executable file, open: what was checked is what is executed.
type program struct {
	*fdpass.Handle
	path string
}

// openProgram opens a file that nobody but the user and root can have written.
func openProgram(path string) (*program, error) {
	refuse := func(format string, args ...any) (*program, error) {
		return nil, api.Errorf(errdefs.ErrInvalidArgument, "%s is not a program to upgrade to: "+format, append([]any{path}, args...)...)
	}
	if !filepath.IsAbs(path) {
		return nil, api.Errorf(errdefs.ErrInvalidArgument, "%q is not a program to upgrade to: its path must be absolute", path)
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return refuse("%w", err)
	}
	p := &program{fdpass.NewHandle(fd), path}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return refuse("%w", errors.Join(err, p.Close()))
	}
	uid := os.Geteuid()
	reason := ""
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		reason = "it is a symbolic link: name the file that it leads to"
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		reason = "it is not a file"
	case int(st.Uid) != uid && st.Uid != 0:
		reason = fmt.Sprintf("it belongs to uid %d, and you are uid %d: copy it", st.Uid, uid)
	case st.Mode&0o022 != 0:
		reason = fmt.Sprintf("others may write to it (mode %04o): run `chmod go-w %s`", st.Mode&0o7777, path)
	case st.Mode&0o111 == 0:
		reason = fmt.Sprintf("it is not executable (mode %04o): run `chmod +x %s`", st.Mode&0o7777, path)
	}
	if reason != "" {
		_ = p.Close()
		return refuse("%s", reason)
	}
	return p, nil
}

// maxVersion bounds a version's text, in bytes: git's longest description is shorter.
const maxVersion = 128

// ask executes the program beside this one, to learn what it can take over.
func (p *program) ask(ctx context.Context) (*ability, error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, pathOf(p.Handle))
	cmd.Args = append(append([]string{}, os.Args...), "--"+abilityFlag)
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second // for what it may have started
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &limitedWriter{&out, maxSaid}, &limitedWriter{&said, maxSaid}
	err := cmd.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	var a ability
	if err == nil {
		err = json.Unmarshal(out.Bytes(), &a)
	}
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if err == nil && (a.Version == "" || len(a.Version) > maxVersion || strings.ContainsFunc(a.Version, unprintable)) {
		err = errors.New("it does not name its version")
	}
	if err != nil {
		text := strings.TrimSpace(said.String())
		if text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return nil, api.Errorf(errdefs.ErrFailedPrecondition, "%s cannot take over from the running daemon: asked what it can, it ended with: %w", p.path, err)
	}
	return &a, nil
}

// sayAbility answers that question.
func sayAbility(w io.Writer) (err error) {
	a := ownAbility()
	if a.OpenFiles, err = fdstore.StartLimit(); err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(a)
}

// limitedWriter drops what is too much.
type limitedWriter struct {
	w    *bytes.Buffer
	left int
}

func (l *limitedWriter) Write(b []byte) (int, error) {
	n := min(len(b), l.left)
	l.left -= n
	l.w.Write(b[:n])
	return len(b), nil
}
