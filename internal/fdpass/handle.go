package fdpass

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Handle is a descriptor that this process holds without using it.
type Handle struct {
	mu sync.Mutex
	fd int // -1: closed
}

// NewHandle takes over fd.
func NewHandle(fd int) *Handle {
	unix.CloseOnExec(fd)
	return &Handle{fd: fd}
}

// FD is the descriptor, for a system call; -1 after Close. Whoever may race with
// Close uses Dup.
func (h *Handle) FD() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fd
}

// Dup makes another Handle of the same open file. Its error wraps os.ErrClosed
// after Close.
func (h *Handle) Dup() (*Handle, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fd < 0 {
		return nil, fmt.Errorf("duplicate a descriptor: %w", os.ErrClosed)
	}
	fd, err := unix.FcntlInt(uintptr(h.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("duplicate a descriptor: %w", err)
	}
	return &Handle{fd: fd}, nil
}

// Take gives the descriptor away: the caller closes it, the Handle is empty. -1
// after Close.
func (h *Handle) Take() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	fd := h.fd
	h.fd = -1
	return fd
}

// Close closes the descriptor. Closing again is harmless.
func (h *Handle) Close() error {
	fd := h.Take()
	if fd < 0 {
		return nil
	}
	return os.NewSyscallError("close", unix.Close(fd))
}

// CloseAll closes all of them.
func CloseAll(hs []*Handle) {
	for _, h := range hs {
		_ = h.Close()
	}
}

// Discard closes handles that came from somebody who is not trusted. Close would wait on
// a TCP socket that was told to linger for as long as the sender likes.
func Discard(hs []*Handle) {
	for _, h := range hs {
		// What is no socket does not linger.
		_ = unix.SetsockoptLinger(h.FD(), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
		_ = h.Close()
	}
}
