package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/tap"
)

// Runtimes that live in a user namespace of their own.
//
// Rootless podman, buildah and RootlessKit do their work in a user namespace below the
// daemon's, and so do the plugins and hooks that they start. To the kernel such a process
// is as much in another user namespace as one of a container's. What it has and a
// container has not:
//
//	its user namespace is a child of ours       not one that somebody in a sandbox has made
//	several ids are mapped into it              newuidmap(1) did that, from outside
//	CAP_SYS_ADMIN in it                         which sandboxes and podman's containers lack
//	no container of footbridge's lives in it    the backend knows
//	its processes are in our pid namespace      where no process of a container is, and none comes back to
//
// Whoever has all five may attach network namespaces that his own user namespace has
// power over, and do with these what else there is; see runtimeRoutes. It is no other
// power than he has already: he may enter them and start slirp4netns or pasta for them.

// NamespaceID is what the kernel knows a namespace by, as long as somebody holds it.
type NamespaceID struct{ Dev, Ino uint64 }

// RuntimeBackend knows whose a user namespace is.
type RuntimeBackend interface {
	// ContainerOfUserNS returns the name of a container that lives in a user namespace,
	// and "" where none does. An attached namespace lives in that of its owner, unless a
	// runtime in there has passed it. That it cannot be told is an error.
	ContainerOfUserNS(ctx context.Context, id NamespaceID) (string, error)
	// NamespacePassedFrom returns the user namespace from which a container's network
	// namespace was passed, and the zero value for all other containers; and the container's
	// whole id, which never means another one.
	NamespacePassedFrom(ctx context.Context, nameOrID string) (from NamespaceID, id string, err error)
}

// runtimeKey is the context key of the user namespace that a connection's runtime
// lives in.
type runtimeKey struct{}

// runtimeOf returns the user namespace of the runtime that has sent a request; false: it
// was not sent by one, but by a process of the daemon's own user namespace.
func runtimeOf(ctx context.Context) (NamespaceID, bool) {
	id, ok := ctx.Value(runtimeKey{}).(NamespaceID)
	return id, ok
}

// admitRuntime returns the user namespace of a peer that is a runtime, or says what it
// lacks. The peer has our uid.
func (s *Server) admitRuntime(ctx context.Context, conn *net.UnixConn) (NamespaceID, error) {
	var id NamespaceID
	err := withPeer(conn, func(pid int) (err error) {
		dir := "/proc/" + strconv.Itoa(pid)
		if err := inOurPIDNS(dir); err != nil {
			return err
		}
		if id, err = childUserNS(dir + "/ns/user"); err != nil {
			return err
		}
		ids, err := os.ReadFile(dir + "/uid_map")
		if err != nil {
			return err
		}
		if mappedIDs(ids) < 2 {
			return errors.New("one id alone is mapped into it; a runtime in a user namespace of its own needs subordinate ids: `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`")
		}
		status, err := os.ReadFile(dir + "/status")
		if err != nil {
			return err
		}
		if effectiveCaps(status)&(1<<unix.CAP_SYS_ADMIN) == 0 {
			return errors.New("the process has no CAP_SYS_ADMIN in it")
		}
		return nil
	})
	if err != nil {
		return id, err
	}
	switch name, err := s.backend.ContainerOfUserNS(ctx, id); {
	case err != nil:
		return id, err
	case name != "":
		return id, fmt.Errorf("it is that of container %s", name)
	}
	return id, nil
}

// withPeer calls f with the pid of the other end, and fails if it has ended meanwhile:
// then the number may have been another's.
func withPeer(conn *net.UnixConn, f func(pid int) error) error {
	cred, err := peerCred(conn)
	if err != nil {
		return err
	}
	if cred.Pid == 0 {
		return errors.New("its process is not seen from here")
	}
	pidfd, err := peerPidfd(conn)
	if err == nil && pidfd < 0 { // Linux before 6.5
		pidfd, err = unix.PidfdOpen(int(cred.Pid), 0)
	}
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	if err := f(int(cred.Pid)); err != nil {
		return err
	}
	if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err != nil {
		return fmt.Errorf("process %d, which connected, has ended: %w", cred.Pid, err)
	}
	return nil
}

// inOurPIDNS refuses a process of another pid namespace than ours. Unlike its user
// namespace, a process cannot leave that for one above, whatever power it has.
func inOurPIDNS(dir string) error {
	var ours, theirs unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &ours); err != nil {
		return fmt.Errorf("/proc/self/ns/pid: %w", err)
	}
	if err := unix.Stat(dir+"/ns/pid", &theirs); err != nil {
		return fmt.Errorf("%s/ns/pid: %w", dir, err)
	}
	if ours.Dev != theirs.Dev || ours.Ino != theirs.Ino {
		return errors.New("its process is in another pid namespace, as those of containers are")
	}
	return nil
}

// childUserNS identifies a user namespace whose parent is ours.
func childUserNS(path string) (NamespaceID, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return NamespaceID{}, fmt.Errorf("%s: %w", path, err)
	}
	defer unix.Close(fd)
	parent, err := unix.IoctlRetInt(fd, unix.NS_GET_PARENT)
	if err != nil {
		return NamespaceID{}, fmt.Errorf("it is not below the daemon's: %w", err)
	}
	defer unix.Close(parent)
	var st, above, ours unix.Stat_t
	for _, err := range []error{unix.Fstat(fd, &st), unix.Fstat(parent, &above), unix.Stat("/proc/self/ns/user", &ours)} {
		if err != nil {
			return NamespaceID{}, err
		}
	}
	if above.Dev != ours.Dev || above.Ino != ours.Ino {
		return NamespaceID{}, errors.New("it was made in yet another one")
	}
	return NamespaceID{Dev: uint64(st.Dev), Ino: st.Ino}, nil //nolint:unconvert // other widths elsewhere
}

// mappedIDs counts the ids of /proc/PID/uid_map.
func mappedIDs(text []byte) (n uint64) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) == 3 {
			size, err := strconv.ParseUint(f[2], 10, 32)
			if err == nil {
				n += size
			}
		}
	}
	return n
}

// effectiveCaps reads the capabilities in /proc/PID/status.
func effectiveCaps(status []byte) uint64 {
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "CapEff:"); ok {
			caps, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
			if err == nil {
				return caps
			}
		}
	}
	return 0
}

// runtimeRoutes are what a runtime may ask for, and of which containers: nil is of all.
var runtimeRoutes = map[string]func(*Server, *http.Request) error{
	"GET /_ping":            nil,
	"GET /version":          nil,
	"GET /networks":         nil,
	"GET /networks/{name}":  nil,
	"GET /containers/json":  nil,
	"POST /networks/create": nil,

	"DELETE /networks/{name}":          nil, // refused while it has containers
	"POST /networks/{name}/connect":    nil, // which looks itself, in the body
	"POST /networks/{name}/disconnect": nil,
	"POST " + ownPrefix + "/attach":    nil,

	"GET /containers/{name}/json":                        (*Server).passedByPeer,
	"POST " + ownPrefix + "/containers/{name}/detach":    (*Server).passedByPeer,
	"POST " + ownPrefix + "/containers/{name}/publish":   (*Server).passedByPeer,
	"POST " + ownPrefix + "/containers/{name}/unpublish": (*Server).passedByPeer,
}

// checkRuntime refuses what a runtime may not ask for.
func (s *Server) checkRuntime(r *http.Request, pattern string) error {
	if _, ok := runtimeOf(r.Context()); !ok {
		return nil
	}
	check, ok := runtimeRoutes[pattern]
	switch {
	case !ok:
		return Errorf(errdefs.ErrPermissionDenied, "%s is not for a runtime in a user namespace of its own, which may attach network namespaces of its own and change these: run the command on the host", printable(r.Method+" "+r.URL.Path))
	case check != nil:
		return check(s, r)
	}
	return nil
}

// passedByPeer refuses what is about a container that the peer has not attached. From then
// on the request names that container by its whole id: a name may be another's before it is
// used.
func (s *Server) passedByPeer(r *http.Request) error {
	name, err := lookupName("container", r.PathValue("name"))
	if err != nil {
		return err
	}
	id, err := s.checkPassed(r, name)
	if err == nil {
		r.SetPathValue("name", id)
	}
	return err
}

// checkPassed is passedByPeer for a container that is named elsewhere. It returns by what
// the container is to be looked up.
func (s *Server) checkPassed(r *http.Request, container string) (string, error) {
	runtime, ok := runtimeOf(r.Context())
	if !ok {
		return container, nil
	}
	from, id, err := s.backend.NamespacePassedFrom(r.Context(), container)
	if err == nil && from != runtime {
		err = Errorf(errdefs.ErrPermissionDenied, "container %s was not attached by a runtime in your user namespace: run the command on the host", printable(container))
	}
	return id, err
}

// passed opens a network namespace that the peer has open.
func (s *Server) passed(r *http.Request, fd int) (*os.File, error) {
	conn, ok := r.Context().Value(connKey{}).(*net.UnixConn)
	if !ok || fd < 0 {
		return nil, Errorf(errdefs.ErrInvalidArgument, "descriptor %d cannot be taken from this client", fd)
	}
	var f *os.File
	err := withPeer(conn, func(pid int) (err error) {
		f, err = tap.OpenNetwork(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
		return err
	})
	if err == nil {
		return f, nil
	}
	if f != nil {
		_ = f.Close()
	}
	class := error(errdefs.ErrPermissionDenied)
	if errors.Is(err, tap.ErrNotNamespace) || errors.Is(err, os.ErrNotExist) {
		class = errdefs.ErrInvalidArgument
	}
	return nil, Errorf(class, "descriptor %d of the client is no network namespace that can be taken: %w", fd, err)
}
