package worker

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// Bounds of what workers may write to the keeper's log, all together. What runs well
// writes next to nothing, a crash with its stacks some 100 KiB; the log is often in
// memory (XDG_RUNTIME_DIR), and a container may have made of the worker what it likes.
const (
	outputBurst = 1 << 20 // bytes at once
	outputRate  = 1 << 20 // bytes an hour
	// outputLine bounds a line in bytes: a longer one becomes several.
	outputLine = 4 << 10
	// outputMark begins every line, so that none can be taken for the keeper's.
	outputMark = "worker: "
)

// output is what workers write to. They have a pipe to it and not the log itself: who
// has a file can turn its O_APPEND off, for everybody who has it, and write over what is
// there.
type output struct {
	now func() time.Time

	mu      sync.Mutex
	to      io.Writer
	room    int // bytes that may be written now
	filled  time.Time
	dropped int // bytes since the last line
}

func newOutput(to io.Writer) *output {
	return &output{now: time.Now, to: to, room: outputBurst, filled: time.Now()}
}

// stream is one worker's: lines come whole, also from two at once.
type stream struct {
	out  *output
	part []byte // of a line whose end is missing
}

// Write implements io.Writer. It never fails: a worker's word is not worth its life.
func (s *stream) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		whole := end >= 0
		if !whole {
			end = len(b)
		}
		take := min(end, outputLine-len(s.part))
		s.part = append(s.part, b[:take]...)
		b = b[take:]
		if whole && take == end {
			b = b[1:]
		} else if len(s.part) < outputLine {
			continue
		}
		s.flush()
	}
	return n, nil
}

// flush writes the line that there is.
func (s *stream) flush() {
	if len(s.part) == 0 {
		return
	}
	s.out.line(string(s.part))
	s.part = s.part[:0]
}

// line writes a line if there is room.
func (o *output) line(text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	if gained := int(now.Sub(o.filled).Hours() * outputRate); gained > 0 {
		o.room = min(o.room+gained, outputBurst)
		o.filled = now
	}
	text = outputMark + printable(text) + "\n"
	if o.dropped > 0 {
		text = fmt.Sprintf("%s(%d bytes left out: it writes too much)\n%s", outputMark, o.dropped, text)
	}
	if len(text) > o.room {
		o.dropped += len(text)
		return
	}
	o.room -= len(text)
	o.dropped = 0
	_, _ = io.WriteString(o.to, text) // there is nobody else to tell
}
