package slirp

import (
	"fmt"

	"github.com/footbridge-net/footbridge/internal/buildinfo"
)

// usage is what --help says. Container engines look in it for the options that they want to
// give, by their whole names.
func usage(program string) string {
	return fmt.Sprintf(`Usage: %s [OPTION]... PID|PATH|FD [TAPNAME]
Network access for network namespaces, without privileges (footbridge in the place of slirp4netns).

-c, --configure          set up the interface and lo: address, route, MTU
-e, --exit-fd=FD         end when FD hangs up
-r, --ready-fd=FD        write "1" to FD when the network is there
-m, --mtu=MTU            MTU in bytes (default=%d, max=%d)
-6, --enable-ipv6        IPv6, by router advertisements (%s)
-a, --api-socket=PATH    make an API socket, for publishing ports
--cidr=CIDR              network of the interface (default=%s)
--disable-host-loopback  do not lead the gateway's ports to 127.0.0.1 on the host
--netns-type=TYPE        what names the network: a process, a path, or an open TAP ([path|pid|tapfd], default=%s)
--userns-path=PATH       user namespace to enter first (default=the owner of the network namespace)
--enable-sandbox         accepted: there is always a sandbox
--enable-seccomp         accepted: there is always a seccomp filter
--outbound-addr=IPv4     address, or interface, that IPv4 leaves the host by
--outbound-addr6=IPv6    address, or interface, that IPv6 leaves the host by
--disable-dns            no name server at the network's third address
--macaddress=MAC         MAC address of the interface (only with -c)
--target-type=TYPE       a namespace, or a socket for frames at PATH ([netns|bess], default=netns)
-h, --help               show this help and exit
-v, --version            show the version and exit
`, program, defaultMTU, maxMTU, network6, defaultCIDR, ByPID)
}

// compatible is the version of slirp4netns whose command line this is.
const compatible = "1.3.2"

// version is what --version says, for programs that read it line by line.
func version(b buildinfo.Info) string {
	return fmt.Sprintf(`slirp4netns version %s+footbridge-%s
commit: %s
libslirp: 0.0.0
SLIRP_CONFIG_VERSION_MAX: 4
libseccomp: 0.0.0
`, compatible, b.Version, b.Commit)
}
