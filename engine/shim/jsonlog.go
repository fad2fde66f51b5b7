package shim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxLine is Docker's: what has no newline within 16 KiB becomes several entries, and readers join
	// them again because only the last one ends in a newline. It also bounds what a container can make us hold.
	maxLine = 16 << 10
	// maxLogSize and maxLogFiles keep a chatty container below 30 MiB of disk. Docker's default keeps
	// everything, which has filled many a disk; its documentation suggests figures like these.
	maxLogSize  = 10 << 20
	maxLogFiles = 3
)

// logFile is a Docker json-file log: one entry a line, rotated by size to path.1, path.2.
type logFile struct {
	path     string
	maxSize  int64
	now      func() time.Time
	complain func(error)
	mu       sync.Mutex
	f        *os.File
	size     int64
	failed   bool
	entries  []byte
	partial  [2][]byte // what followed the last newline, by stream
}

func openLog(path string, complain func(error)) (*logFile, error) {
	l := &logFile{path: path, maxSize: maxLogSize, now: time.Now, complain: complain}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return l, nil
}

func (l *logFile) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.f, l.size = f, st.Size()
	return nil
}

// streamNames are the two streams' names, by index.
var streamNames = [2]string{"stdout", "stderr"}

// write logs output of a stream, line by line. All lines of one call are one write(2).
func (l *logFile) write(stream int, p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = l.entries[:0]
	now := l.now().UTC()
	rest := l.partial[stream]
	for len(p) > 0 {
		n := bytes.IndexByte(p, '\n') + 1
		whole := n > 0
		if !whole {
			n = len(p)
		}
		if room := maxLine - len(rest); n > room {
			n, whole = room, true // full, though without its newline
		}
		rest = append(rest, p[:n]...)
		p = p[n:]
		if whole || len(rest) == maxLine {
			l.entry(stream, rest, now)
			rest = rest[:0]
		}
	}
	l.partial[stream] = rest
	l.flush()
}

// end logs what a stream ended with after its last newline.
func (l *logFile) end(stream int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = l.entries[:0]
	if rest := l.partial[stream]; len(rest) > 0 {
		l.entry(stream, rest, l.now().UTC())
		l.partial[stream] = nil
		l.flush()
	}
}

func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
}

// entry appends one line of the log to l.entries.
func (l *logFile) entry(stream int, text []byte, at time.Time) {
	b := append(l.entries, `{"log":`...)
	quoted, err := json.Marshal(string(text)) // bytes that are not UTF-8 become U+FFFD, as in Docker's
	if err != nil {
		return // a string always can be marshalled
	}
	b = append(b, quoted...)
	b = append(b, `,"stream":"`...)
	b = append(b, streamNames[stream]...)
	b = append(b, `","time":"`...)
	b = at.AppendFormat(b, time.RFC3339Nano)
	l.entries = append(b, "\"}\n"...)
}

// flush writes l.entries. When the disk refuses, entries are lost and the container goes on; it is said once.
func (l *logFile) flush() {
	if len(l.entries) == 0 {
		return
	}
	err := l.rotate()
	if err == nil {
		var n int
		if n, err = l.f.Write(l.entries); err != nil && n > 0 && l.f.Truncate(l.size) == nil {
			n = 0 // half an entry would spoil the next one too
		}
		l.size += int64(n)
	}
	if err != nil && !l.failed {
		l.failed = true
		l.complain(fmt.Errorf("log entries of the container are lost: %w", err))
	}
}

// rotate starts a new file when the entries would make this one too large.
func (l *logFile) rotate() error {
	if l.f != nil && (l.size == 0 || l.size+int64(len(l.entries)) <= l.maxSize) {
		return nil
	}
	if l.f != nil {
		l.f.Close()
		l.f = nil
		for i := maxLogFiles - 1; i > 0; i-- {
			from := l.path
			if i > 1 {
				from += "." + strconv.Itoa(i-1)
			}
			if err := os.Rename(from, l.path+"."+strconv.Itoa(i)); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	return l.open()
}
