package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Joined is a connection to a container by a unix socket, as the daemon joins them. Such a socket knows no reset: when
// the container resets, or the process that carries the connection is killed, its other end is closed and a plain
// Read says io.EOF, as at an end of data. This one says [syscall.ECONNRESET] then.
//
// It goes by the order of things. Who ends its own direction keeps the socket until the other direction has ended,
// too; so when the other end is closed before CloseWrite was called here, nothing has ended in order. After
// CloseWrite the two cannot be told apart, and Read says io.EOF.
//
// One goroutine may read while another writes. Writes have no deadlines: Read needs them.
type Joined struct {
	net.Conn

	writing sync.Mutex
	asked   atomic.Bool // Read has taken the deadline of writes
	ended   atomic.Bool // set before the end is sent
}

// NewJoined makes a Joined of a unix socket's connection, or of one by TCP, where nothing differs: it tells by itself.
func NewJoined(c net.Conn) *Joined { return &Joined{Conn: c} }

// Read is that of the connection, but for a cut.
func (j *Joined) Read(b []byte) (int, error) {
	n, err := j.Conn.Read(b)
	if err == io.EOF && j.cut() {
		err = syscall.ECONNRESET
	}
	return n, err
}

// cut reports whether the other end is closed though the end was not sent from here. A write of nothing tells: Linux
// looks whether anybody is there before it looks at how much there is (unix_stream_sendmsg in net/unix/af_unix.c).
func (j *Joined) cut() bool {
	// A write that waits for room would keep this one waiting.
	j.asked.Store(true)
	_ = j.Conn.SetWriteDeadline(time.Unix(1, 0))
	j.writing.Lock()
	defer j.writing.Unlock()
	_ = j.Conn.SetWriteDeadline(time.Time{})
	_, err := j.Conn.Write(nil)
	// In this order: what CloseWrite does after that is not seen above.
	return errors.Is(err, syscall.EPIPE) && !j.ended.Load()
}

// Write is that of the connection.
func (j *Joined) Write(b []byte) (int, error) {
	sent := 0
	for {
		j.writing.Lock()
		n, err := j.Conn.Write(b[sent:])
		j.writing.Unlock()
		sent += n
		if !j.asked.Load() || !errors.Is(err, os.ErrDeadlineExceeded) {
			return sent, err
		}
	}
}

// CloseWrite ends what is sent and leaves the other direction open.
func (j *Joined) CloseWrite() error {
	half, ok := j.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	j.ended.Store(true)
	return half.CloseWrite()
}
