package foreign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/tap"
)

// Errors of this package.
var (
	// ErrGone: the process, the path, or what it led to is there no more.
	ErrGone = errors.New("it is gone")
	// ErrRefused: the namespace is not one that may be attached.
	ErrRefused = errors.New("the namespace cannot be attached")
	// ErrWish: what was asked for contradicts itself, or is no namespace.
	ErrWish = errors.New("no namespace was named")
)

// verdict is an error of a kind that its text does not repeat.
type verdict struct {
	error
	kind error
}

func (v *verdict) Unwrap() []error { return []error{v.error, v.kind} }

func as(kind error, format string, args ...any) error {
	return &verdict{fmt.Errorf(format, args...), kind}
}

// plain takes from an error of package tap that it begins with the package's name, which means nothing to users.
func plain(ns tap.Namespaces, err error) (tap.Namespaces, error) {
	if err != nil {
		err = plainError{err}
	}
	return ns, err
}

type plainError struct{ error }

func (e plainError) Error() string { return strings.TrimPrefix(e.error.Error(), "tap: ") }

func (e plainError) Unwrap() error { return e.error }

// Wish names a namespace: by a process in it, by a path, or by the namespace itself.
type Wish struct {
	PID   int
	Start uint64 // of the process, if the asker knows it: see Process
	Net   string // absolute
	User  string // absolute; the user namespace that the network namespace must belong to
	// Via is a process in the same namespace, by which it is opened where PID keeps its own
	// from its user; zero: none. With a PID only.
	Via Process
	// Holder is the process whose end is to be the end of the attachment; zero: none.
	Holder Process
	// Passed is the namespace; it stays the caller's. Net is then a path at which others
	// may find it, and From the user namespace that must have power over it; zero: any of
	// ours.
	Passed *os.File
	From   Owner
}

// Place is a namespace that was found, as it is kept on disk.
type Place struct {
	Process Process `json:",omitzero"`
	Net     string  `json:",omitempty"`
	User    string  `json:",omitempty"`
	Holder  Process `json:",omitzero"`
	Passed  bool    `json:",omitempty"` // found as Reach says; Net may be ""

	Boot     string // the kernel's random id of this boot
	Dev, Ino uint64
	Cookie   uint64 // see tap.View
}

// Resolve finds the namespace and makes sure that it may be attached. The caller closes
// what is returned.
//
// Errors: ErrWish, ErrGone, ErrRefused, ErrSilent.
func Resolve(w Wish) (Place, tap.Namespaces, error) {
	p := Place{Net: w.Net, User: w.User, Holder: w.Holder}
	var err error
	if p.Boot, err = boot(); err != nil {
		return p, tap.Namespaces{}, err
	}
	switch {
	case w.Passed != nil:
		if w.Net != "" && !filepath.IsAbs(w.Net) {
			return p, tap.Namespaces{}, as(ErrWish, "a namespace's path must be absolute")
		}
	case (w.PID != 0) == (w.Net != ""):
		return p, tap.Namespaces{}, as(ErrWish, "give either a process or a path")
	case w.PID != 0:
		if p.Process, err = Find(w.PID); err != nil {
			return p, tap.Namespaces{}, err
		}
		if w.Start != 0 && w.Start != p.Process.Start {
			return p, tap.Namespaces{}, as(ErrGone, "process %d is another one than was named, which has ended", w.PID)
		}
	case !filepath.IsAbs(w.Net) || w.User != "" && !filepath.IsAbs(w.User):
		return p, tap.Namespaces{}, as(ErrWish, "a namespace's path must be absolute")
	}
	if p.Holder != (Process{}) {
		if err := p.Holder.check(); err != nil {
			return p, tap.Namespaces{}, fmt.Errorf("the process that holds the attachment: %w", err)
		}
	}
	var ns tap.Namespaces
	if w.Passed != nil {
		ns, err = p.takePassed(w.Passed, w.From)
	} else {
		ns, err = p.open()
	}
	if errors.Is(err, unix.EACCES) && w.Via != (Process{}) && w.PID != 0 {
		ns, err = p.openVia(w.Via)
	}
	if err != nil {
		return p, ns, p.explain(err)
	}
	if err := checkOwner(ns, w.User, p.what()); err != nil {
		_ = ns.Close()
		return p, tap.Namespaces{}, err
	}
	p.Dev, p.Ino, err = identity(ns)
	return p, ns, err
}

// what names the place in errors.
func (p Place) what() string {
	switch {
	case p.Net != "":
		return p.Net
	case p.Passed:
		return "that was passed"
	}
	return fmt.Sprintf("process %d", p.Process.PID)
}

// String says where the namespace is.
func (p Place) String() string {
	switch {
	case p.Net != "":
		return "at " + p.Net
	case p.Passed:
		return p.what()
	}
	return "of " + p.what()
}

// open opens what the process or the path leads to now.
func (p Place) open() (tap.Namespaces, error) {
	if p.Passed {
		path, err := p.Reach()
		if err != nil {
			return tap.Namespaces{}, err
		}
		return p.openPath(path)
	}
	if p.Net != "" {
		return p.openPath(p.Net)
	}
	ns, err := plain(tap.OpenNamespaces(p.Process.PID))
	if err != nil {
		return ns, err
	}
	// The number meant one process while it was opened; this is that one.
	if err := p.Process.check(); err != nil {
		_ = ns.Close()
		return tap.Namespaces{}, err
	}
	return ns, nil
}

func (p Place) openPath(path string) (tap.Namespaces, error) {
	return ask(paths, p.about(path), func() (tap.Namespaces, error) { return plain(tap.OpenNamespacePath(path)) },
		func(ns tap.Namespaces) { _ = ns.Close() })
}

// openVia opens the namespace by another process that is in it.
func (p Place) openVia(via Process) (tap.Namespaces, error) {
	ns, err := Place{Process: via}.open()
	if err != nil {
		return ns, fmt.Errorf("process %d, which shows it: %w", via.PID, err)
	}
	if err := p.Process.check(); err != nil { // both lived at once
		_ = ns.Close()
		return tap.Namespaces{}, err
	}
	return ns, nil
}

// explain says what was asked for, what stands in the way and what to do.
func (p Place) explain(err error) error {
	what := p.what()
	switch {
	case errors.Is(err, tap.ErrHostNamespace):
		return as(ErrRefused, "%s is in the host's own network namespace, which has its networks already: make one first, for example with `unshare --user --map-root-user --net`", what)
	case errors.Is(err, tap.ErrForeignOwner):
		return as(ErrRefused, "the network namespace %s is not yours: %w; attach as the user who made it", p, err)
	case errors.Is(err, tap.ErrNoProcess):
		return as(ErrGone, "no such process: %d", p.Process.PID)
	case errors.Is(err, tap.ErrNotNamespace):
		return as(ErrWish, "%s is not a network namespace: give a path such as /proc/PID/ns/net; a bind mount that was made in another mount namespace is seen only there, as /proc/PID/root%s of a process in it", what, p.Net)
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return as(ErrGone, "no network namespace at %s: no such file or directory", what)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return as(ErrRefused, "the network namespace %s cannot be opened: %w; attach as the user who made it", p, err)
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENAMETOOLONG):
		return as(ErrWish, "the path of the network namespace leads nowhere: %w", err)
	}
	return err
}

// checkOwner refuses a namespace that cannot be entered, and one that belongs to another
// user namespace than was named.
func checkOwner(ns tap.Namespaces, path, what string) error {
	var owner, ours unix.Stat_t
	if err := unix.Fstat(int(ns.User.Fd()), &owner); err != nil {
		return err
	}
	if err := unix.Stat("/proc/self/ns/user", &ours); err != nil {
		return err
	}
	if owner.Dev == ours.Dev && owner.Ino == ours.Ino && !administers() {
		return as(ErrRefused, "the network namespace of %s belongs to the user namespace that footbridge runs in, and entering it takes root there: make it inside a user namespace of yours, for example with `unshare --user --map-root-user --net`", what)
	}
	if path == "" {
		return nil
	}
	named, err := look(path, path)
	if errors.Is(err, ErrSilent) {
		return err
	}
	if err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			return as(ErrGone, "no user namespace at %s: no such file or directory", path)
		}
		return as(ErrRefused, "user namespace %s: %w", path, err)
	}
	if named.Dev != owner.Dev || named.Ino != owner.Ino {
		return as(ErrWish, "the network namespace of %s does not belong to the user namespace %s: leave the latter out, it is found", what, path)
	}
	return nil
}

// administers: this process may enter namespaces of its own user namespace.
func administers() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

func identity(ns tap.Namespaces) (dev, ino uint64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(ns.Net.Fd()), &st); err != nil {
		return 0, 0, err
	}
	return uint64(st.Dev), st.Ino, nil //nolint:unconvert // other widths elsewhere
}

// Open opens the namespace again. That what is there now is another one is ErrGone;
// by its inode alone, which the next one may have got: the caller compares cookies.
func (p Place) Open() (tap.Namespaces, error) {
	if err := p.Check(); err != nil {
		return tap.Namespaces{}, err
	}
	ns, err := p.open()
	if err != nil {
		return ns, err
	}
	dev, ino, err := identity(ns)
	if err == nil && (dev != p.Dev || ino != p.Ino) {
		if err = ErrGone; p.Net == "" && !p.Passed { // it may come back to it
			err = fmt.Errorf("process %d has gone into another network namespace", p.Process.PID)
		}
	}
	if err != nil {
		return tap.Namespaces{}, errors.Join(err, ns.Close())
	}
	return ns, nil
}

// Check returns ErrGone when the attachment is over, and another error when that
// cannot be told.
func (p Place) Check() error {
	now, err := boot()
	switch {
	case err != nil:
		return err
	case now != p.Boot:
		return as(ErrGone, "the machine was started again since")
	}
	if p.Holder != (Process{}) {
		if err := p.Holder.check(); errors.Is(err, ErrGone) {
			return fmt.Errorf("the command that held the attachment: %w", err)
		}
	}
	if p.Passed {
		_, err := p.Reach()
		return err
	}
	if p.Net == "" {
		return p.Process.check()
	}
	st, err := look(p.Net, p.about(p.Net))
	switch {
	case errors.Is(err, ErrSilent):
		return err
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ESRCH), errors.Is(err, unix.ELOOP):
		return as(ErrGone, "%s is gone: %w", p.Net, err)
	case err != nil:
		return fmt.Errorf("%s: %w", p.Net, err)
	case uint64(st.Dev) != p.Dev || st.Ino != p.Ino: //nolint:unconvert // other widths elsewhere
		return as(ErrGone, "%s is another namespace, or none", p.Net)
	}
	return nil
}

// Await returns when the attachment is over, with ErrGone, or when ctx is done.
func (p Place) Await(ctx context.Context) error {
	exits := make([]<-chan struct{}, 2) // nil: never
	var blind time.Duration             // how often to look where no descriptor can be had
	for i, proc := range []Process{p.Process, p.Holder} {
		if proc != (Process{}) {
			ch, stop := proc.exits()
			defer stop()
			if exits[i] = ch; ch == nil {
				blind = interval
			}
		}
	}
	for {
		// Before the look: what happens from here on is told.
		w := p.watch()
		if blind > 0 {
			w.lookEvery(blind)
		}
		err := p.awaitChange(ctx, w, exits)
		w.stop()
		if err != nil {
			return err
		}
	}
}

// awaitChange returns nil when w has told of something, ErrGone when the attachment is over, or the error of ctx.
func (p Place) awaitChange(ctx context.Context, w *watch, exits []<-chan struct{}) error {
	for {
		err := p.Check()
		if errors.Is(err, ErrGone) {
			return err
		}
		every := w.every
		if err != nil && (every == 0 || every > interval) {
			every = interval // what cannot be told for now is no end
		}
		var tick <-chan time.Time
		if every > 0 {
			tick = time.After(every)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.changed:
			return nil
		case <-exits[0]:
			exits[0] = nil
		case <-exits[1]:
			exits[1] = nil
		case <-tick:
		}
	}
}

// boot is the kernel's random id of this boot.
func boot() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("which boot this is: %w", err)
	}
	return string(bytes.TrimSpace(b)), nil
}

// look is stat for paths that others named.
func look(path, about string) (unix.Stat_t, error) {
	return ask(paths, about, func() (st unix.Stat_t, err error) {
		err = unix.Stat(path, &st)
		return st, err
	}, func(unix.Stat_t) {})
}

// Inode is what the file at path, which is in /proc, is known by.
func Inode(path string) (dev, ino uint64, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, 0, err
	}
	return uint64(st.Dev), st.Ino, nil //nolint:unconvert // other widths elsewhere
}
