package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/footbridge-net/footbridge/tap"
)

// namespaces are what a container joins instead of having its own.
type namespaces struct{ user, net *os.File }

func (n *namespaces) Close() {
	n.user.Close()
	n.net.Close()
}

// openNamespaces opens the namespaces that spec wants joined, nil when there is none to join. When
// the network turns out to be the host's, spec says so afterwards.
func openNamespaces(spec *Spec) (*namespaces, error) {
	var ns *namespaces
	var err error
	switch {
	case spec.JoinNetOf != "":
		ns, err = namespacesOf(spec.JoinNetOf)
	case spec.NetNSPath != "":
		ns, err = namespacesAt(spec.NetNSPath)
	}
	if err != nil || ns == nil {
		return nil, err
	}
	host, err := sameAs(ns.net, "/proc/self/ns/net")
	if err != nil || host {
		ns.Close()
		spec.HostNetwork, spec.JoinNetOf, spec.NetNSPath = host, "", ""
		return nil, err
	}
	return ns, nil
}

// namespacesOf opens the namespaces of another container's pid 1. The pid file descriptor, alive
// after the opening, proves that the pid was not somebody else's by then.
func namespacesOf(dir string) (*namespaces, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	st, pidfd, err := queryState(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("join the network of container %s: %w", filepath.Base(dir), err)
	}
	defer pidfd.Close()
	if st.Status == Exited {
		return nil, fmt.Errorf("cannot join the network of container %s: %w; start it first", filepath.Base(dir), ErrNotRunning)
	}
	user, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", st.PID))
	if err != nil {
		return nil, fmt.Errorf("open the container's user namespace: %w", err)
	}
	net, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", st.PID))
	if err != nil {
		user.Close()
		return nil, fmt.Errorf("open the container's network namespace: %w", err)
	}
	ns := &namespaces{user, net}
	if err := signalPidfd(pidfd, 0); err != nil {
		ns.Close()
		return nil, fmt.Errorf("cannot join the network of container %s: %w; it ended meanwhile", filepath.Base(dir), ErrNotRunning)
	}
	return ns, nil
}

// namespacesAt opens a network namespace by path and the user namespace that owns it. Others' user
// namespaces are refused: entering one would run our code with their processes around it.
func namespacesAt(path string) (*namespaces, error) {
	net, err := tap.OpenNetwork(path)
	if errors.Is(err, tap.ErrNotNamespace) {
		return nil, invalid("%s is not a network namespace; give a path like /proc/PID/ns/net", path)
	}
	if err != nil {
		return nil, err
	}
	if host, err := sameAs(net, "/proc/self/ns/net"); err == nil && host {
		user, err := os.Open("/proc/self/ns/user")
		if err != nil {
			net.Close()
			return nil, err
		}
		return &namespaces{user, net}, nil
	}
	ns, err := tap.AddOwner(net)
	if errors.Is(err, tap.ErrForeignOwner) {
		return nil, fmt.Errorf("%w: %s is not yours to join: %w; it must belong to a user namespace of yours, below the one that footbridge runs in",
			ErrNamespaces, path, err)
	}
	if err != nil {
		return nil, err
	}
	if own, err := sameAs(ns.User, "/proc/self/ns/user"); err != nil || own {
		ns.Close()
		return nil, fmt.Errorf("%w: %s belongs to the user namespace that footbridge itself runs in, joining it needs CAP_SYS_ADMIN; make it inside a user namespace, for example with unshare --user --map-root-user --net",
			ErrNamespaces, path)
	}
	return &namespaces{ns.User, ns.Net}, nil
}

// sameAs says whether an open namespace is the one at path.
func sameAs(f *os.File, path string) (bool, error) {
	a, err := f.Stat()
	if err != nil {
		return false, err
	}
	b, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	return os.SameFile(a, b), nil
}
