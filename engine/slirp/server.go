package slirp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// maxSocketPath is the room for a path in struct sockaddr_un, in bytes.
const maxSocketPath = 108

// patience bounds how long a client of the API may take for its request and the reply.
const patience = 10 * time.Second

// publisher leads a port of the host to the guest, until what it returns is closed.
type publisher func(Forward) (io.Closer, error)

// forwards are the ports that clients of the API have asked for.
type forwards struct {
	publish publisher
	guest   netip.Addr
	log     *slog.Logger

	mu   sync.Mutex
	list []forward
	last int // id; none is given twice
}

type forward struct {
	Forward
	io.Closer
}

// answer carries out a request and gives the reply.
func (f *forwards) answer(b []byte) []byte {
	r, err := parseRequest(b, f.guest)
	if err != nil {
		return failed(err, badJSON).encode()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r.add != nil:
		c, err := f.publish(*r.add)
		if err != nil {
			f.log.Error("add_hostfwd", "error", err)
			return failed(err, badAddFailed).encode()
		}
		f.last++
		r.add.ID = f.last
		f.list = append(f.list, forward{*r.add, c})
		return reply{Return: added{f.last}}.encode()
	case r.remove != nil:
		return f.remove(*r.remove).encode()
	}
	all := []Forward{}
	for _, x := range f.list {
		all = append(all, x.Forward)
	}
	return reply{Return: listed{all}, Entries: &all}.encode()
}

// remove ends the forward with that id; f.mu is held.
func (f *forwards) remove(id int) reply {
	for i, x := range f.list {
		if x.ID != id {
			continue
		}
		f.list = append(f.list[:i:i], f.list[i+1:]...)
		if err := x.Close(); err != nil {
			f.log.Error("remove_hostfwd", "error", err)
			return failed(err, badRemove)
		}
		return reply{Return: struct{}{}}
	}
	return failed(problem(badRemoveID), badRemove)
}

// listenAPI makes the API socket. A socket that is at its path makes way, as in slirp4netns: nobody can tell whether it
// is one that was left behind. What is no socket was named by mistake.
func listenAPI(path string) (*net.UnixListener, error) {
	if len(path) >= maxSocketPath {
		return nil, fmt.Errorf("the specified API socket path is too long (>= %d)", maxSocketPath)
	}
	if there, err := os.Lstat(path); err == nil { // another error is listen's to find
		if there.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("API socket: %s is there already, and is %s: remove it, or give --api-socket another path", path, kindOf(there.Mode()))
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("API socket: %w", err)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("API socket: %w", err)
	}
	return l, nil // whose Close removes it
}

// kindOf names what is no socket.
func kindOf(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return "a file"
	case fs.ModeDir:
		return "a folder"
	case fs.ModeSymlink:
		return "a symbolic link"
	}
	return "no socket"
}

// serve answers until l is closed.
func (f *forwards) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no descriptors, for the moment
			f.log.Error("API socket", "error", err)
			time.Sleep(acceptPause)
			continue
		}
		go func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			b, err := readRequest(c)
			answer := failed(err, badJSON).encode()
			if err == nil {
				answer = f.answer(b)
			}
			_, _ = c.Write(answer) // nobody may be there any more
		}()
	}
}

// acceptPause is between attempts to accept where that fails for another reason than an end.
const acceptPause = 100 * time.Millisecond

// readRequest reads one request: up to the end of its JSON value, or of what the client sends.
func readRequest(r io.Reader) ([]byte, error) {
	b := make([]byte, maxRequest+1)
	n, ended := 0, false
	for !ended {
		if n == len(b) {
			return nil, problem(badTooLarge)
		}
		m, err := r.Read(b[n:])
		n += m
		ended = complete(b[:n]) || err != nil
	}
	return b[:n], nil // what is not a request is answered so
}

// complete reports whether b has all of a JSON value, or can never become one.
func complete(b []byte) bool {
	var v json.RawMessage
	err := json.NewDecoder(bytes.NewReader(b)).Decode(&v)
	return !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF)
}
