package world

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxMessage bounds one control message; the kernel's default socket buffer is 208 KiB.
const maxMessage = 128 << 10

// request asks an agent to start a command. Its file descriptors (standard input, output, error and the command's
// own control socket) travel with it.
type request struct {
	Place Place    // network namespace to start in
	Args  []string // command and arguments
	Env   []string // complete environment
	Dir   string   // working directory
	TTY   bool     // standard input becomes the controlling terminal of a new session
}

// reply is what an agent says about a command, or about itself when it has come up.
type reply struct {
	Error    string // why the command could not be started
	PID      int    // process id inside the world, when it was started
	Ended    bool   // the command ended: ExitCode and Signal hold
	ExitCode int    // exit status, or 128+Signal as a shell says it
	Signal   int    // signal that ended it, or 0
}

// instruction is what may be said to a running command.
type instruction struct {
	Signal int // signal for the command alone; SIGKILL is for its process group
}

// socketpair returns two connected, message-keeping sockets.
func socketpair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a control socket: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}

// send writes one message with its file descriptors.
func send(f *os.File, message any, files ...*os.File) error {
	b, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encoding a control message: %w", err)
	}
	if len(b) > maxMessage {
		return fmt.Errorf("a control message of %d bytes is over the limit of %d", len(b), maxMessage)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, file := range files {
			fds[i] = int(file.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	for {
		err = unix.Sendmsg(int(f.Fd()), b, rights, nil, unix.MSG_NOSIGNAL)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("sending a control message: %w", err)
	}
	return nil
}

// receive reads one message and its file descriptors; io.EOF when the other side is gone.
func receive(f *os.File, message any) ([]*os.File, error) {
	b := make([]byte, maxMessage)
	oob := make([]byte, unix.CmsgSpace(4*8))
	var n, oobn int
	var err error
	for {
		n, oobn, _, _, err = unix.Recvmsg(int(f.Fd()), b, oob, unix.MSG_CMSG_CLOEXEC)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("receiving a control message: %w", err)
	}
	if n == 0 {
		return nil, io.EOF
	}
	var files []*os.File
	controls, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, fmt.Errorf("reading the file descriptors of a control message: %w", err)
	}
	for i := range controls {
		fds, err := unix.ParseUnixRights(&controls[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	if err := json.Unmarshal(b[:n], message); err != nil {
		closeAll(files)
		return nil, fmt.Errorf("decoding a control message: %w", err)
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
