package platform

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Kernel is a kernel version, compared by its first two numbers.
type Kernel struct{ Major, Minor int }

// String returns the version as "6.2".
func (k Kernel) String() string { return fmt.Sprintf("%d.%d", k.Major, k.Minor) }

// AtLeast says whether k is at least that version.
func (k Kernel) AtLeast(o Kernel) bool {
	return k.Major > o.Major || k.Major == o.Major && k.Minor >= o.Minor
}

// Running returns the version of the running kernel.
func Running() (Kernel, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Kernel{}, fmt.Errorf("asking the kernel for its version: %w", err)
	}
	return ParseKernel(unix.ByteSliceToString(u.Release[:]))
}

// ParseKernel reads a release such as "6.1.0-18-amd64".
func ParseKernel(release string) (Kernel, error) {
	var k Kernel
	if _, err := fmt.Sscanf(strings.TrimSpace(release), "%d.%d", &k.Major, &k.Minor); err != nil {
		return Kernel{}, fmt.Errorf("%q is not a kernel release: %w", release, err)
	}
	return k, nil
}

// Feature is a behaviour of the kernel with the first version that has it.
type Feature struct {
	Name  string
	Since Kernel
}

// The features that footbridge uses.
var (
	VnetHeader    = Feature{"virtio header on TAP queues attached after a persistent device was made", Kernel{3, 8}}
	TCPOffload    = Feature{"TSO for IPv4 and IPv6 on TAP", Kernel{3, 8}}
	UDPOffload    = Feature{"USO for IPv4 and IPv6 on TAP", Kernel{6, 2}}
	UDPSegment    = Feature{"UDP_SEGMENT", Kernel{4, 18}}
	PingSockets   = Feature{"ping sockets for IPv4 and IPv6", Kernel{3, 11}}
	PingGroups    = Feature{"ping_group_range in each network namespace", Kernel{3, 0}}
	NamespaceInfo = Feature{"ioctls that lead from a network namespace to its user namespace and that one's owner", Kernel{4, 11}}
	RouteCC       = Feature{"congestion control by route", Kernel{4, 0}}
)
