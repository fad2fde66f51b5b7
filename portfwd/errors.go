package portfwd

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
)

// Errors of Bind and its relatives, and of Serve. The kernel's error number, where there
// is one, is wrapped as well.
var (
	// ErrInUse says that another container or program has the host's port.
	ErrInUse = errors.New("port is already allocated")
	// ErrPrivileged says that the host's port is below the first that an
	// ordinary user may bind.
	ErrPrivileged = errors.New("permission denied")
	// ErrNotLocal says that the address to listen at is not one of the host's.
	ErrNotLocal = errors.New("cannot assign requested address")
	// ErrMapping says that a Mapping makes no sense; nothing was tried.
	ErrMapping = errors.New("invalid port mapping")
	// ErrSocket says that a descriptor is not the socket of its Mapping.
	ErrSocket = errors.New("not the socket of this port mapping")
	// ErrClosed says that the Forwarder was closed.
	ErrClosed = errors.New("network is closing")
)

// explain turns a failed bind into what the user needs to know. r.mu is held.
func (r *Registry) explain(m Mapping, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		owner, ok := r.owner(m.Proto, m.Host)
		return inUse(m, owner, ok, err)
	case errors.Is(err, syscall.EACCES):
		return &bindError{mapping: m, kind: ErrPrivileged, cause: err, remedy: privilegedRemedy(m.Host.Port(), unprivilegedStart())}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return &bindError{mapping: m, kind: ErrNotLocal, cause: err, remedy: m.Host.Addr().String() +
			" is not an address of this host; choose one that `ip address` lists, or 0.0.0.0 or [::] for all"}
	case errors.Is(err, syscall.EAFNOSUPPORT):
		return &bindError{mapping: m, kind: ErrNotLocal, cause: err, remedy: family(m.Host.Addr()) + " is switched off on this host"}
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return &bindError{mapping: m, kind: err, cause: err, remedy: "raise the limit of open files (`ulimit -n`) or publish fewer ports"}
	}
	return &bindError{mapping: m, kind: err, cause: err}
}

// bindError has the words of Docker's message first, so that those who look
// for it find it.
type bindError struct {
	mapping Mapping
	kind    error // one of the sentinels, or cause
	cause   error
	remedy  string
	foreign bool // another program has the port: Docker says that in other words
}

func (e *bindError) Error() string {
	s := fmt.Sprintf("Bind for %v failed: %v", e.mapping.Host, e.kind)
	if e.foreign {
		s = fmt.Sprintf("failed to bind host port %v/%s: %v", e.mapping.Host, e.mapping.Proto, syscall.EADDRINUSE)
	}
	if e.remedy != "" {
		s += ": " + e.remedy
	}
	return s
}

func (e *bindError) Unwrap() []error { return []error{e.kind, e.cause} }

// inUse says who has m's port: owner, or if it is not ours a program outside.
func inUse(m, owner Mapping, ours bool, cause error) error {
	e := &bindError{mapping: m, kind: ErrInUse, cause: cause}
	switch {
	case ours && owner.Owner == m.Owner:
		e.remedy = fmt.Sprintf("container %q publishes its port %d there; choose another host port", owner.Owner, owner.Container.Port())
	case ours:
		e.remedy = fmt.Sprintf("container %q has published %v/%s; unpublish it there or choose another host port",
			owner.Owner, owner.Host, owner.Proto)
	case m.Host.Port() == 0:
		e.remedy = "the kernel has no free port left in net.ipv4.ip_local_port_range"
	default:
		ss := "ss -ltnp"
		if m.Proto == "udp" {
			ss = "ss -lunp"
		}
		e.foreign = true
		e.remedy = fmt.Sprintf("a program outside footbridge has it; find it with `%s 'sport = :%d'` or choose another host port",
			ss, m.Host.Port())
	}
	return e
}

func privilegedRemedy(port uint16, start string) string {
	return fmt.Sprintf("port %d is below net.ipv4.ip_unprivileged_port_start, which is %s; choose a host port from %s up, "+
		"or let an administrator run `sysctl net.ipv4.ip_unprivileged_port_start=%d`", port, start, start, port)
}

// unprivilegedStart is the first port that an ordinary user may bind, as the
// kernel writes it; 1024 where it cannot be read (before Linux 4.11 it was
// fixed).
func unprivilegedStart() string {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return "1024"
	}
	return strings.TrimSpace(string(b))
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}
