package api

import (
	"net/http"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types"
)

// logTime is RFC 3339 with all nine digits, so that the lines' columns agree.
const logTime = "2006-01-02T15:04:05.000000000Z07:00"

// containerLogs sends a log as Docker does: raw with a terminal, else
// multiplexed. With follow every entry goes out at once.
func (s *Server) containerLogs(w http.ResponseWriter, r *http.Request) error {
	name, q, err := containerAnd(r)
	if err != nil {
		return err
	}
	o := LogsOptions{
		Stdout:     q.boolean("stdout"),
		Stderr:     q.boolean("stderr"),
		Follow:     q.boolean("follow"),
		Timestamps: q.boolean("timestamps"),
		Tail:       -1,
	}
	if !o.Stdout && !o.Stderr {
		return Errorf(errdefs.ErrInvalidArgument, "Bad parameters: you must choose at least one stream")
	}
	if o.Since, err = q.time("since"); err != nil {
		return err
	}
	if o.Until, err = q.time("until"); err != nil {
		return err
	}
	// Docker takes whatever is not a number, "all" among it, for all.
	if n, err := strconv.Atoi(q.Get("tail")); err == nil && n >= 0 {
		o.Tail = n
	}
	ctx, cancel := s.streamContext(r)
	defer cancel()
	logs, err := s.backend.ContainerLogs(ctx, name, o)
	if err != nil {
		return err
	}
	mediaType := types.MediaTypeRawStream
	if !logs.TTY && !requestVersion(r).less(versionMultiplexed) {
		mediaType = types.MediaTypeMultiplexedStream
	}
	w.Header().Set("Content-Type", mediaType)
	rc := http.NewResponseController(w)
	if o.Follow {
		// Before the first entry, which may be a long time coming.
		w.WriteHeader(http.StatusOK)
		if rc.Flush() != nil {
			return nil // the client is gone
		}
	}
	begun := o.Follow
	var buf []byte
	for entry, err := range logs.Entries {
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !begun:
			return err // still an answer of HTTP
		case err != nil && logs.TTY:
			// A raw stream has no place for errors: it is broken off, after what
			// was read.
			_ = rc.Flush()
			return err
		case err != nil:
			entry = LogEntry{Stream: stdcopy.Systemerr, Line: []byte("error while reading the log: " + err.Error() + "\n")}
		}
		begun = true
		buf = appendLogEntry(buf[:0], entry, o.Timestamps && err == nil, logs.TTY)
		if _, werr := w.Write(buf); err != nil || werr != nil {
			return nil
		}
		if o.Follow && rc.Flush() != nil {
			return nil
		}
	}
	return nil
}

// appendLogEntry appends an entry in the form in which it is sent.
func appendLogEntry(b []byte, e LogEntry, timestamp, tty bool) []byte {
	if !tty {
		b = append(b, make([]byte, muxHeader)...)
	}
	if timestamp {
		b = append(e.Time.UTC().AppendFormat(b, logTime), ' ')
	}
	b = append(b, e.Line...)
	if !tty {
		putMuxHeader(b, e.Stream, len(b)-muxHeader)
	}
	return b
}
