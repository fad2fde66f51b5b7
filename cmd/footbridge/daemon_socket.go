package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// Names of the daemon's own descriptors in the store.
const (
	lockName   = "lock"
	socketName = "api"
	// previousName is the program that was executed before this one, for the case that
	// this one cannot start.
	previousName = "previous"
)

// errSocket: the service manager passes a socket that cannot be the API's.
var errSocket = errors.New("the socket of the service manager cannot be used")

// openSocket finds the API's socket in the store, or makes it, unless the service manager
// has passed one.
func (d *daemon) openSocket() error {
	if d.socket != "" {
		forget(d.store, d.log, socketName) // of a time without a .socket unit
		return nil
	}
	if h, ok := d.store.Get(socketName); ok {
		path, isSocket := listensAt(h)
		_ = h.Close()
		if isSocket && path == d.dirs.socket() && isSocketFile(path) && api.CheckDir(filepath.Dir(path)) == nil {
			d.socket = socketName
			return nil
		}
		// Nobody could connect to it.
		forget(d.store, d.log, socketName)
	}
	l, err := api.Listen(d.dirs.socket())
	if err != nil {
		return err
	}
	d.socket = socketName
	l.SetUnlinkOnClose(false) // it is to be accepted from again, see closeSocket
	defer l.Close()
	h, err := duplicate(l)
	if err != nil {
		return err
	}
	defer h.Close()
	return keep(d.store, d.log, socketName, h)
}

// closeSocket removes the socket, unless it is the service manager's.
func (d *daemon) closeSocket() error {
	if d.socket != socketName {
		return nil
	}
	forget(d.store, d.log, socketName)
	if err := os.Remove(d.dirs.socket()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// passedSocket returns the name of the socket that a service manager listens on for us;
// empty without one.
func (d *daemon) passedSocket() (string, error) {
	found := ""
	for _, name := range d.store.Names() {
		if name == socketName {
			continue
		}
		h, ok := d.store.Get(name)
		if !ok {
			continue
		}
		path, isSocket := listensAt(h)
		_ = h.Close()
		switch {
		case !isSocket:
			continue
		case found != "":
			return "", fmt.Errorf("%w: there are two, %s and %s: leave one ListenStream= in the .socket unit", errSocket, found, name)
		case path != d.dirs.socket():
			return "", fmt.Errorf("%w: it is %q, and commands connect to %s: set ListenStream= of the .socket unit to that", errSocket, path, d.dirs.socket())
		}
		if err := api.CheckDir(filepath.Dir(path)); err != nil {
			return "", fmt.Errorf("%w: %w (DirectoryMode=0700 in the .socket unit)", errSocket, err)
		}
		found = name
	}
	return found, nil
}

// accept begins to serve clients. Those who connected before wait in the socket's
// queue.
func (d *daemon) accept() error {
	h, ok := d.store.Get(d.socket)
	if !ok {
		return fmt.Errorf("serve %s: the socket is lost", d.dirs.socket())
	}
	f := os.NewFile(uintptr(h.Take()), d.dirs.socket())
	l, err := net.FileListener(f) // a duplicate, which does not remove the path
	_ = f.Close()
	if err != nil {
		return fmt.Errorf("serve %s: %w", d.dirs.socket(), err)
	}
	go func() { d.served <- d.server.Serve(l) }()
	return nil
}

// listensAt returns the path of a listening unix socket; false: it is something else.
func listensAt(h *fdpass.Handle) (path string, ok bool) {
	for option, want := range map[int]int{unix.SO_DOMAIN: unix.AF_UNIX, unix.SO_TYPE: unix.SOCK_STREAM, unix.SO_ACCEPTCONN: 1} {
		if got, err := unix.GetsockoptInt(h.FD(), unix.SOL_SOCKET, option); err != nil || got != want {
			return "", false
		}
	}
	address, err := unix.Getsockname(h.FD())
	if err != nil {
		return "", false
	}
	name, ok := address.(*unix.SockaddrUnix)
	if !ok {
		return "", false
	}
	return name.Name, true
}

func isSocketFile(path string) bool {
	st, err := os.Lstat(path)
	return err == nil && st.Mode().Type() == fs.ModeSocket
}
