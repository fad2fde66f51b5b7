package shim

import (
	"errors"
	"fmt"

	"github.com/footbridge-net/footbridge/internal/visible"
)

// Errors of Create, Connect and of a Shim's methods, to be tested with errors.Is.
var (
	// ErrGone says that there is no shim: it never was, ended, or was killed.
	ErrGone = errors.New("container process is gone")
	// ErrStranger says that the shim's socket is another's: no shim of this user listens there.
	ErrStranger = errors.New("the container's socket is not its shim's")
	// ErrNotFound says that the command, its interpreter or the working directory does not exist (exit code 127).
	ErrNotFound = errors.New("not found")
	// ErrPermission says that the command exists but must not or cannot be executed (exit code 126).
	ErrPermission = errors.New("cannot be executed")
	// ErrStarted says that a command was asked to start twice.
	ErrStarted = errors.New("already started")
	// ErrNotRunning says that there is no command yet, or none any more.
	ErrNotRunning = errors.New("not running")
	// ErrNamespaces says that the kernel refused namespaces or mounts; Check names what to change.
	ErrNamespaces = errors.New("namespaces refused")
	// ErrSubIDs says that a range of subordinate ids cannot be mapped for want of a program or a line in a file.
	ErrSubIDs = errors.New("no subordinate ids")
	// ErrInvalid says that a Spec or ExecSpec asks for what does not exist or cannot be.
	ErrInvalid = errors.New("invalid container settings")
)

// StartError says why a command could not be executed inside the container. It matches ErrNotFound
// when Code is 127 and ErrPermission when it is 126; other codes match neither.
type StartError struct {
	Code    int    // exit code as Docker's: 126, 127, or 128 for anything else
	Message string // worded as Docker's: `exec: "x": executable file not found in $PATH`
}

func (e *StartError) Error() string { return e.Message }

// Is tells errors.Is of ErrNotFound and ErrPermission.
func (e *StartError) Is(target error) bool {
	return target == ErrNotFound && e.Code == 127 || target == ErrPermission && e.Code == 126
}

// wireError is an error on its way over a socket: the sentinel's name, and the text.
type wireError struct {
	Kind    string `json:"kind,omitempty"`
	Code    int    `json:"code,omitempty"` // of a StartError
	Message string `json:"message"`
}

var kinds = map[string]error{
	"gone": ErrGone, "started": ErrStarted, "notrunning": ErrNotRunning,
	"namespaces": ErrNamespaces, "subids": ErrSubIDs, "invalid": ErrInvalid,
}

// toWire returns err for the wire, nil for nil.
func toWire(err error) *wireError {
	if err == nil {
		return nil
	}
	var se *StartError
	if errors.As(err, &se) {
		return &wireError{Kind: "start", Code: se.Code, Message: err.Error()}
	}
	for kind, sentinel := range kinds {
		if errors.Is(err, sentinel) {
			return &wireError{Kind: kind, Message: err.Error()}
		}
	}
	return &wireError{Message: err.Error()}
}

// fromWire is toWire's inverse. The text may come from within a container, so it is made fit to be shown.
func fromWire(w *wireError) error {
	if w == nil {
		return nil
	}
	message := printable(w.Message)
	if w.Kind == "start" {
		code := w.Code
		if code != 126 && code != 127 {
			code = 128
		}
		return &StartError{Code: code, Message: message}
	}
	if sentinel, ok := kinds[w.Kind]; ok {
		return &remoteError{message, sentinel}
	}
	return errors.New(message)
}

// remoteError is an error that was told by another process, with the sentinel it wraps there.
type remoteError struct {
	message  string
	sentinel error
}

func (e *remoteError) Error() string { return e.message }
func (e *remoteError) Unwrap() error { return e.sentinel }

// printable bounds a text and makes it one line that shows: it will be on terminals.
func printable(s string) string {
	const longest = 2048
	if len(s) > longest {
		s = s[:longest] + "..."
	}
	return visible.Text(s)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
