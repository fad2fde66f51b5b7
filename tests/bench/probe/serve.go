package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// busyWait is for how many milliseconds a server waits raw (raw.go) for what comes next. When nothing has
	// come, it waits like other programs, and wakes nobody.
	busyWait = 100
	// maxRuns is how many runs of udpburst a server remembers.
	maxRuns = 64
)

// server answers on one TCP and one UDP socket.
type server struct {
	epoll, tcp, udp int
	port            uint16

	buffer    []byte
	datagrams *batch
	runs      [maxRuns]run
	oldest    int
}

// run is what has arrived of an udpburst.
type run struct{ id, datagrams, bytes uint64 }

func newServer(at netip.AddrPort) (s *server, err error) {
	s = &server{epoll: -1, tcp: -1, udp: -1, buffer: make([]byte, maxSize), datagrams: newBatch(64, 64<<10)}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if s.tcp, err = listen(at, unix.SOCK_STREAM); err != nil {
		return nil, fmt.Errorf("TCP on %v: %w", at, err)
	}
	name, err := unix.Getsockname(s.tcp)
	if err != nil {
		return nil, fmt.Errorf("getsockname: %w", err)
	}
	switch a := name.(type) {
	case *unix.SockaddrInet6:
		s.port = uint16(a.Port)
	case *unix.SockaddrInet4:
		s.port = uint16(a.Port)
	}
	if s.udp, err = listen(netip.AddrPortFrom(at.Addr(), s.port), unix.SOCK_DGRAM); err != nil {
		return nil, fmt.Errorf("UDP on port %d of %v: %w", s.port, at.Addr(), err)
	}
	for _, fd := range []int{s.tcp, s.udp} {
		if err := s.watch(fd); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// listen makes a socket that others reach; the unspecified IPv6 address stands for IPv4's as well, and alone for it
// on a machine without IPv6.
func listen(at netip.AddrPort, kind int) (int, error) {
	fd, err := listenOn(at, kind)
	if errors.Is(err, unix.EAFNOSUPPORT) && at.Addr() == netip.IPv6Unspecified() {
		return listenOn(netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port()), kind)
	}
	return fd, err
}

func listenOn(at netip.AddrPort, kind int) (fd int, err error) {
	family, name := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()})
	if at.Addr().Is4() {
		family, name = unix.AF_INET, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	fd, err = unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			closeFD(fd)
		}
	}()
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
			return -1, os.NewSyscallError("IPV6_V6ONLY", err)
		}
	}
	if kind == unix.SOCK_STREAM {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return -1, os.NewSyscallError("SO_REUSEADDR", err)
		}
		// Connections inherit it from their listener.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return -1, os.NewSyscallError("TCP_NODELAY", err)
		}
	} else {
		// As much as the machine's administrator allows.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
	}
	if err := unix.Bind(fd, name); err != nil {
		return -1, os.NewSyscallError("bind", err)
	}
	if kind == unix.SOCK_STREAM {
		if err := unix.Listen(fd, 4096); err != nil {
			return -1, os.NewSyscallError("listen", err)
		}
	}
	return fd, nil
}

func (s *server) watch(fd int) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

func (s *server) close() {
	for _, fd := range []int{s.tcp, s.udp, s.epoll} {
		if fd >= 0 {
			closeFD(fd)
		}
	}
}

// run answers until the epoll descriptor fails.
func (s *server) run() error {
	if err := settle(); err != nil {
		return err
	}
	events := make([]unix.EpollEvent, 256)
	timeout := busyWait
	for {
		n, err := epollWait(s.epoll, events, timeout)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		timeout = busyWait
		if n == 0 {
			timeout = -1
		}
		for _, e := range events[:n] {
			switch fd := int(e.Fd); fd {
			case s.tcp:
				s.accept()
			case s.udp:
				s.answerDatagrams()
			default:
				s.answer(fd)
			}
		}
	}
}

func (s *server) accept() {
	for {
		fd, err := accept(s.tcp)
		if err != nil {
			return // nobody is there, or no descriptor is left; the client sees that
		}
		if s.watch(fd) != nil {
			closeFD(fd)
		}
	}
}

// answer sends back what a connection has sent. A client asks again only when it is answered, so one read is all there is.
func (s *server) answer(fd int) {
	n, err := read(fd, s.buffer)
	if errors.Is(err, unix.EAGAIN) {
		return
	}
	if err != nil || n == 0 {
		closeFD(fd)
		return
	}
	for b := s.buffer[:n]; len(b) > 0; {
		m, err := write(fd, b)
		if errors.Is(err, unix.EAGAIN) {
			// A request is never longer than what fits into the buffers: a client that does not read.
			closeFD(fd)
			return
		}
		if err != nil {
			closeFD(fd)
			return
		}
		b = b[m:]
	}
	if s.buffer[n-1] == closing {
		closeFD(fd)
	}
}

func (s *server) answerDatagrams() {
	n, err := s.datagrams.receive(s.udp)
	if err != nil {
		return
	}
	for i := range n {
		d, from, fromLen := s.datagrams.datagram(i), &s.datagrams.names[i], s.datagrams.headers[i].hdr.Namelen
		if len(d) >= markSize {
			switch binary.LittleEndian.Uint64(d) {
			case countMark:
				r := s.runOf(binary.LittleEndian.Uint64(d[8:]))
				r.datagrams++
				r.bytes += uint64(len(d))
				continue
			case reportMark:
				r := s.runOf(binary.LittleEndian.Uint64(d[8:]))
				b := append(s.buffer[:0], d[:markSize]...)
				b = binary.LittleEndian.AppendUint64(b, r.datagrams)
				d = binary.LittleEndian.AppendUint64(b, r.bytes)
			}
		}
		_ = sendTo(s.udp, d, from, fromLen) // what cannot be sent is lost, as any datagram
	}
}

// runOf finds the run of that number, or begins it in place of the oldest.
func (s *server) runOf(id uint64) *run {
	for i := range s.runs {
		if s.runs[i].id == id {
			return &s.runs[i]
		}
	}
	r := &s.runs[s.oldest]
	*r = run{id: id}
	s.oldest = (s.oldest + 1) % maxRuns
	return r
}
