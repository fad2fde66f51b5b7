package tap

import (
	"errors"
	"syscall"
)

// Errors of OpenNamespaces.
var (
	// ErrForeignOwner: the namespace belongs to another user, or to none that
	// can be seen from here.
	ErrForeignOwner = errors.New("the namespace belongs to another user")
	// ErrHostNamespace: the process has no network namespace of its own.
	ErrHostNamespace = errors.New("the network namespace is the caller's own")
	// ErrNotNamespace: the file is no network namespace.
	ErrNotNamespace = errors.New("not a network namespace")
	// ErrNoProcess: the process does not exist (any more).
	ErrNoProcess = errors.New("no such process")
)

// Errors of Attach and Detach.
var (
	// ErrOptions: the LinkOptions contradict themselves or the kernel's limits.
	ErrOptions = errors.New("invalid link options")
	// ErrNameTaken: the namespace has another kind of device of that name.
	ErrNameTaken = errors.New("another kind of device has this name")
	// ErrExists: the namespace has an interface of that name, and Refuse was asked for.
	ErrExists = errors.New("there is an interface of this name already")
	// ErrNoDevice: the namespace has no such bare interface.
	ErrNoDevice = errors.New("no TAP")
	// ErrBusy: a process has the device's queues open.
	ErrBusy = errors.New("the device is attached already")
	// ErrNoTun: /dev/net/tun cannot be opened.
	ErrNoTun = errors.New("/dev/net/tun cannot be used")
	// ErrReply: the helper's answer is not one.
	ErrReply = errors.New("the helper in the namespace gave no usable answer")
)

// ErrGone is returned by ReadFrame and WriteFrame when the interface has been
// removed from its namespace. It does not come back: close the Device.
var ErrGone = errors.New("tap: the device is gone")

// wireErrors are the sentinels that a helper may report, by their name on the
// wire.
var wireErrors = map[string]error{
	"options":    ErrOptions,
	"name-taken": ErrNameTaken,
	"exists":     ErrExists,
	"no-device":  ErrNoDevice,
	"busy":       ErrBusy,
	"no-tun":     ErrNoTun,
}

// A helperError is an error of the helper, on this side of the socket.
type helperError struct {
	text  string
	kind  error         // one of wireErrors, or nil
	errno syscall.Errno // 0: none
}

func (e *helperError) Error() string { return e.text }

// Is makes errors.Is find the sentinel and the errno.
func (e *helperError) Is(target error) bool {
	if e.kind != nil && e.kind == target {
		return true
	}
	return e.errno != 0 && (error(e.errno) == target || e.errno.Is(target))
}
