package sandbox

import "golang.org/x/sys/unix"

// The list. A row without a rule for arguments allows the call whatever they are.
//
// Whoever adds a row says what needs it. Not to be added: whatever takes a path
// (openat, ...), makes or reaches a process (execve, kill, ptrace, pidfd_*, ...), opens
// a new way into the kernel (bpf, io_uring_*, perf_event_open, userfaultfd, keyctl, ...)
// or makes memory executable.
//
// unixSocket is the process's one unix socket; see Options.
func list(pid, unixSocket int) []call {
	if unixSocket <= 0 {
		unixSocket = -1
	}
	return append(append(dataPath(uint32(unixSocket)), goRuntime(pid)...), cRuntime()...)
}

func allow(nr uintptr, name, why string, args ...match) call {
	return call{nr: nr, name: name, why: why, args: args}
}

func refuse(nr uintptr, name string, errno unix.Errno, why string, args ...match) call {
	return call{nr: nr, name: name, why: why, args: args, errno: errno}
}

// The bits of a socket's type that are not the type.
const socketFlags = unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC

// ioctlFIONREAD is SIOCINQ of sockets too.
const ioctlFIONREAD = 0x541b

// dataPath is what moves packets, most frequent first.
func dataPath(unixSocket uint32) []call {
	return []call{
		allow(unix.SYS_READ, "read", "TCP of the host"),
		allow(unix.SYS_WRITE, "write", "log"),
		allow(unix.SYS_READV, "readv", "frames from TAPs"),
		allow(unix.SYS_WRITEV, "writev", "frames to TAPs, TCP of the host"),
		allow(unix.SYS_RECVMSG, "recvmsg", "UDP with control messages, what the keeper asks"),
		allow(unix.SYS_SENDMSG, "sendmsg", "UDP with control messages, answers to the keeper"),
		allow(unix.SYS_RECVFROM, "recvfrom", "UDP and ping"),
		allow(unix.SYS_SENDTO, "sendto", "UDP and ping"),
		allow(unix.SYS_RECVMMSG, "recvmmsg", "UDP, several at once"),
		allow(unix.SYS_SENDMMSG, "sendmmsg", "UDP, several at once"),
		allow(unix.SYS_CLOSE, "close", "ends of flows"),
		allow(unix.SYS_IOCTL, "ioctl", "how much there is to read", is(1, ioctlFIONREAD)),
		// Neither may wait, and both ends of a splice are descriptors that there are.
		allow(unix.SYS_SPLICE, "splice", "published ports, for clients on the host", is(5, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)),
		allow(unix.SYS_PIPE2, "pipe2", "what splice goes through", is(1, unix.O_NONBLOCK|unix.O_CLOEXEC)),
		allow(unix.SYS_PPOLL, "ppoll", "has a connection been hung up; has the poller something"),

		allow(unix.SYS_SOCKET, "socket", "TCP to the outside",
			is(0, unix.AF_INET, unix.AF_INET6), masked(1, ^uint32(socketFlags), unix.SOCK_STREAM), is(2, 0, unix.IPPROTO_TCP)),
		allow(unix.SYS_SOCKET, "socket", "UDP to the outside",
			is(0, unix.AF_INET, unix.AF_INET6), masked(1, ^uint32(socketFlags), unix.SOCK_DGRAM), is(2, 0, unix.IPPROTO_UDP)),
		allow(unix.SYS_SOCKET, "socket", "ping to the outside",
			is(0, unix.AF_INET), masked(1, ^uint32(socketFlags), unix.SOCK_DGRAM), is(2, unix.IPPROTO_ICMP)),
		allow(unix.SYS_SOCKET, "socket", "ping to the outside",
			is(0, unix.AF_INET6), masked(1, ^uint32(socketFlags), unix.SOCK_DGRAM), is(2, unix.IPPROTO_ICMPV6)),
		// The net package asks for the interfaces' names when a link-local address
		// passes by, which a neighbour of the host can make happen. It goes on with
		// their numbers.
		refuse(unix.SYS_SOCKET, "socket", unix.EACCES, "interfaces' names", is(0, unix.AF_NETLINK)),
		// The net package falls back to TCP.
		refuse(unix.SYS_SOCKET, "socket", unix.EPROTONOSUPPORT, "MPTCP, which Landlock does not see",
			is(0, unix.AF_INET, unix.AF_INET6), masked(1, ^uint32(socketFlags), unix.SOCK_STREAM), is(2, unix.IPPROTO_MPTCP)),
		allow(unix.SYS_CONNECT, "connect", "TCP and UDP to the outside; a container's own services; the end of such a connection", not(0, unixSocket)),
		// Port 0 of TCP is Landlock's to allow, and others to refuse; nobody can listen.
		allow(unix.SYS_BIND, "bind", "UDP mappings and ping; the address that TCP leaves from", not(0, unixSocket)),
		allow(unix.SYS_ACCEPT4, "accept4", "published ports; the keeper listens"),
		allow(unix.SYS_GETSOCKNAME, "getsockname", "which port a mapping got"),
		allow(unix.SYS_GETPEERNAME, "getpeername", "is a connection established"),
		// The other way would end a listener for the next worker, too.
		allow(unix.SYS_SHUTDOWN, "shutdown", "half-closed TCP", is(1, unix.SHUT_WR)),
		// Options that are used, and no others: many of them are programs, keys and
		// protocols of their own (SO_ATTACH_FILTER, TCP_ULP, IPT_SO_SET_REPLACE).
		allow(unix.SYS_SETSOCKOPT, "setsockopt", "buffers, ends and urgent data", is(1, unix.SOL_SOCKET),
			is(2, unix.SO_REUSEADDR, unix.SO_BROADCAST, unix.SO_KEEPALIVE, unix.SO_LINGER, unix.SO_OOBINLINE, unix.SO_RCVBUF, unix.SO_SNDBUF)),
		allow(unix.SYS_SETSOCKOPT, "setsockopt", "delays, clients that vanished, and congestion where there is no network", is(1, unix.IPPROTO_TCP),
			is(2, unix.TCP_NODELAY, unix.TCP_CONGESTION, unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT)),
		// Any process may choose the interface of a socket that has none; which
		// addresses are behind it is the host's routes' to say, as without.
		allow(unix.SYS_SETSOCKOPT, "setsockopt", "the interface that a network leaves by", is(1, unix.SOL_SOCKET),
			is(2, unix.SO_BINDTODEVICE)),
		allow(unix.SYS_SETSOCKOPT, "setsockopt", "a container's hops, class and \"don't fragment\", and the errors they meet; the address a network leaves from",
			is(1, unix.IPPROTO_IP),
			is(2, unix.IP_RECVERR, unix.IP_TTL, unix.IP_TOS, unix.IP_MTU_DISCOVER, unix.IP_PKTINFO, unix.IP_BIND_ADDRESS_NO_PORT)),
		allow(unix.SYS_SETSOCKOPT, "setsockopt", "the same", is(1, unix.IPPROTO_IPV6),
			is(2, unix.IPV6_V6ONLY, unix.IPV6_RECVERR, unix.IPV6_UNICAST_HOPS, unix.IPV6_TCLASS, unix.IPV6_MTU_DISCOVER, unix.IPV6_RECVPKTINFO)),
		allow(unix.SYS_SETSOCKOPT, "setsockopt", "UDP offloads", is(1, unix.SOL_UDP),
			is(2, unix.UDP_SEGMENT, unix.UDP_GRO)),
		allow(unix.SYS_GETSOCKOPT, "getsockopt", "ends of attempts; what kind of socket the keeper has sent", is(1, unix.SOL_SOCKET),
			is(2, unix.SO_ERROR, unix.SO_TYPE, unix.SO_DOMAIN, unix.SO_PROTOCOL, unix.SO_ACCEPTCONN, unix.SO_RCVBUF, unix.SO_SNDBUF)),
		allow(unix.SYS_GETSOCKOPT, "getsockopt", "the same, and the MTU of a way", is(1, unix.IPPROTO_IPV6), is(2, unix.IPV6_V6ONLY, unix.IPV6_MTU)),
		allow(unix.SYS_GETSOCKOPT, "getsockopt", "the MTU of a way", is(1, unix.IPPROTO_IP), is(2, unix.IP_MTU)),

		// No F_SETOWN, which sends signals, no leases, no notifications.
		allow(unix.SYS_FCNTL, "fcntl", "what the keeper has sent",
			is(1, unix.F_GETFL, unix.F_GETFD, unix.F_SETFD)),
		allow(unix.SYS_FCNTL, "fcntl", "pipes for splice", is(1, unix.F_SETPIPE_SZ)),
		// Under another number the socket would not be known for what it is.
		allow(unix.SYS_FCNTL, "fcntl", "what the keeper has sent", is(1, unix.F_DUPFD_CLOEXEC), not(0, unixSocket)),
		// Never without O_NONBLOCK: these files are the next worker's, too.
		allow(unix.SYS_FCNTL, "fcntl", "O_NONBLOCK, beside what is set already", is(1, unix.F_SETFL),
			masked(2, ^uint32(unix.O_ACCMODE|unix.O_APPEND|largeFile), unix.O_NONBLOCK)),

		// A folder that was opened before, /proc/self/fd.
		allow(unix.SYS_GETDENTS64, "getdents64", "counts its descriptors"),
		allow(unix.SYS_LSEEK, "lseek", "counts them again"),
	}
}

// largeFile is O_LARGEFILE as the kernel has it in the flags of every file; unix has
// 0 on 64-bit systems.
const largeFile = 0x8000 | 0x20000 // amd64 | arm64

// The flags of a thread. What is not among them would make a process or a namespace.
const (
	threadFlags  = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM
	threadExtras = unix.CLONE_SETTLS | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID | unix.CLONE_CHILD_SETTID
)

// goRuntime is what Go's runtime calls on Linux after the start. Its profiler of CPU
// time (timer_create, setitimer) is left out.
func goRuntime(pid int) []call {
	return []call{
		allow(unix.SYS_FUTEX, "futex", "sleep and wake"),
		allow(unix.SYS_EPOLL_PWAIT, "epoll_pwait", "netpoller"),
		allow(unix.SYS_EPOLL_CTL, "epoll_ctl", "netpoller"),
		allow(unix.SYS_EPOLL_CREATE1, "epoll_create1", "netpoller, when it is first used"),
		allow(unix.SYS_EVENTFD2, "eventfd2", "netpoller, when it is first used; turns of a network"),
		allow(unix.SYS_NANOSLEEP, "nanosleep", "sysmon"),
		allow(unix.SYS_SCHED_YIELD, "sched_yield", "spinning threads"),
		allow(unix.SYS_RESTART_SYSCALL, "restart_syscall", "sleeps after SIGSTOP and SIGCONT; the kernel's own doing"),
		allow(unix.SYS_CLOCK_GETTIME, "clock_gettime", "clocks that the vDSO does not have"),
		allow(unix.SYS_GETPID, "getpid", "signals to itself"),
		allow(unix.SYS_GETTID, "gettid", "signals to itself"),
		allow(unix.SYS_TGKILL, "tgkill", "preemption, crashes", is(0, uint32(pid))),
		allow(unix.SYS_RT_SIGRETURN, "rt_sigreturn", "preemption"),
		allow(unix.SYS_RT_SIGACTION, "rt_sigaction", "crashes, os/signal"),
		allow(unix.SYS_RT_SIGPROCMASK, "rt_sigprocmask", "new threads"),
		allow(unix.SYS_SIGALTSTACK, "sigaltstack", "new threads"),
		allow(unix.SYS_MMAP, "mmap", "heap and stacks",
			without(2, unix.PROT_EXEC), masked(3, unix.MAP_ANONYMOUS, unix.MAP_ANONYMOUS)),
		allow(unix.SYS_MUNMAP, "munmap", "stacks of threads that ended"),
		allow(unix.SYS_MADVISE, "madvise", "memory back to the kernel"),
		allow(unix.SYS_PRCTL, "prctl", "names of mappings in /proc/PID/maps",
			is(0, unix.PR_SET_VMA), is(1, unix.PR_SET_VMA_ANON_NAME)),
		allow(unix.SYS_CLONE, "clone", "threads",
			masked(0, ^uint32(threadExtras), threadFlags)),
		// glibc falls back to clone, whose flags can be looked at.
		refuse(unix.SYS_CLONE3, "clone3", unix.ENOSYS, "threads"),
		allow(unix.SYS_EXIT, "exit", "end of a thread"),
		allow(unix.SYS_EXIT_GROUP, "exit_group", "end"),
		allow(unix.SYS_GETRANDOM, "getrandom", "random numbers"),
		allow(unix.SYS_PREAD64, "pread64", "the cgroup's share of CPUs, in files opened at the start"),
		allow(unix.SYS_SCHED_GETAFFINITY, "sched_getaffinity", "number of CPUs"),
		allow(unix.SYS_GETRLIMIT, "getrlimit", "reading its own limits"),
		allow(unix.SYS_PRLIMIT64, "prlimit64", "reading its own limits", is(0, 0), is(2, 0)),
		allow(unix.SYS_UNAME, "uname", "the kernel's version, when package poll first needs it"),
	}
}
