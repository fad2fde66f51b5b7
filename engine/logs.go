package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/moby/moby/api/pkg/stdcopy"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
)

// rotatedLogs is how many older files a log may have: LOG.1 and LOG.2, the
// higher the older.
const rotatedLogs = 2

// maxLogLine bounds a line of the log file in bytes: the writer's 16 KiB with
// every byte escaped, and the fields around them.
const maxLogLine = 128 << 10

// ContainerLogs implements api.ContainerBackend.
func (e *Engine) ContainerLogs(ctx context.Context, nameOrID string, o api.LogsOptions) (*api.Logs, error) {
	if !o.Stdout && !o.Stderr {
		return nil, invalid("you must choose at least one stream")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.findContainer(nameOrID)
	if err != nil {
		return nil, err
	}
	if err := refuseForeign(c.def, "asked for its output"); err != nil {
		return nil, err
	}
	logs := &api.Logs{TTY: c.def.Config.Tty}
	if logs.TTY { // all of it is stdout
		o.Stdout = o.Stdout || o.Stderr
	}
	if !o.Follow || c.run == nil {
		logs.Entries = e.readLog(c.def.ID, o)
		return logs, nil
	}
	done := c.run.done
	path := e.logPath(c.def.ID)
	logs.Entries = func(yield func(api.LogEntry, error) bool) {
		f := &logFollower{path: path, options: o}
		defer f.close()
		if err := f.run(ctx, done, yield); err != nil {
			yield(api.LogEntry{}, err)
		}
	}
	return logs, nil
}

// readLog yields what is in a container's log now.
func (e *Engine) readLog(id string, o api.LogsOptions) iter.Seq2[api.LogEntry, error] {
	path := e.logPath(id)
	return func(yield func(api.LogEntry, error) bool) {
		f := &logFollower{path: path, options: o}
		defer f.close()
		_, err := f.readTail(yield)
		if err != nil {
			yield(api.LogEntry{}, err)
		}
	}
}

// logFollower reads a log across its rotations.
type logFollower struct {
	path    string
	options api.LogsOptions

	file    *os.File
	reader  *bufio.Reader
	partial []byte // a line whose end is not written yet
	last    bool   // it was read to its end, and there is a newer one
}

func (f *logFollower) close() {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
}

// run yields what is there and then what comes, until done is closed and all
// that was written by then is yielded.
func (f *logFollower) run(ctx context.Context, done <-chan struct{}, yield func(api.LogEntry, error) bool) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("follow the log: %w (see the sysctls fs.inotify.max_user_instances and max_user_watches)", err)
	}
	defer watcher.Close()
	// The directory, not the file: it is there before the file, and tells of
	// rotations. Before the first read, so that nothing falls in between.
	if err := watcher.Add(filepath.Dir(f.path)); err != nil {
		return fmt.Errorf("follow the log: %w", err)
	}
	if more, err := f.readTail(yield); !more || err != nil {
		return err
	}
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			return nil
		case <-done:
			ended = true // one last look
		case <-watcher.Events:
		case err := <-watcher.Errors:
			// Events were lost: a look at the file tells all the same.
			if err != nil && !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("follow the log: %w", err)
			}
		}
		if more, err := f.read(yield); !more || err != nil {
			return err
		}
	}
	return nil
}

// readTail reads all files to their present end and yields the last
// options.Tail entries, or all.
func (f *logFollower) readTail(yield func(api.LogEntry, error) bool) (more bool, err error) {
	if f.options.Tail < 0 {
		return f.read(yield)
	}
	var ring []api.LogEntry
	at := 0
	more, err = f.read(func(entry api.LogEntry, _ error) bool {
		switch {
		case f.options.Tail == 0:
		case len(ring) < f.options.Tail:
			ring = append(ring, entry)
		default:
			ring[at] = entry
			at = (at + 1) % len(ring)
		}
		return true
	})
	for i := range ring {
		if !yield(ring[(at+i)%len(ring)], nil) {
			return false, nil
		}
	}
	return more, err
}

// read yields all whole entries up to the present end of the newest file. more
// is false when the consumer has had enough.
func (f *logFollower) read(yield func(api.LogEntry, error) bool) (more bool, err error) {
	for {
		if f.file == nil {
			if ok, err := f.next(); err != nil || !ok {
				return true, err
			}
		}
		line, err := f.reader.ReadBytes('\n')
		f.partial = append(f.partial, line...)
		switch {
		case err == nil:
			line, f.partial = f.partial, nil
			if entry, ok := f.parse(line); ok {
				if !f.options.Until.IsZero() && entry.Time.After(f.options.Until) {
					return false, nil
				}
				if !yield(entry, nil) {
					return false, nil
				}
			}
		case !errors.Is(err, io.EOF):
			return true, fmt.Errorf("read the log: %w", err)
		default:
			if len(f.partial) > maxLogLine {
				f.partial = nil // no line of ours
			}
			// What was written before the rotation may have come after this
			// read: a file with a newer one beside it is read to its end once more.
			last := f.last
			if f.last, err = f.newer(); err != nil || !f.last {
				return true, err
			}
			if last {
				if _, err := f.next(); err != nil {
					return true, err
				}
			}
		}
	}
}

// newer reports whether there is a file after the present one.
func (f *logFollower) newer() (bool, error) {
	files, err := f.later()
	for _, o := range files {
		o.Close()
	}
	return len(files) > 0, err
}

// next opens the file after the present one, or the oldest. False: there is
// none.
func (f *logFollower) next() (bool, error) {
	files, err := f.later()
	if err != nil || len(files) == 0 {
		return false, err
	}
	for _, o := range files[1:] {
		o.Close()
	}
	f.close()
	f.file, f.reader, f.partial, f.last = files[0], bufio.NewReader(files[0]), nil, false
	return true, nil
}

// later opens the files after the present one, oldest first; all when there is
// none.
func (f *logFollower) later() (files []*os.File, err error) {
	defer func() {
		if err != nil {
			for _, o := range files {
				o.Close()
			}
			files = nil
		}
	}()
	var have os.FileInfo
	if f.file != nil {
		if have, err = f.file.Stat(); err != nil {
			return nil, err
		}
	}
	// The newest first: a rotation meanwhile makes one appear twice, and hides
	// none.
	var before os.FileInfo
	for i := 0; i <= rotatedLogs; i++ {
		name := f.path
		if i > 0 {
			name = fmt.Sprint(f.path, ".", i)
		}
		file, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return files, err
		}
		st, err := file.Stat()
		switch {
		case err != nil:
			return append(files, file), err
		case have != nil && os.SameFile(st, have):
			file.Close()
			slices.Reverse(files)
			return files, nil
		case before != nil && os.SameFile(st, before):
			file.Close()
			continue
		}
		files, before = append(files, file), st
	}
	slices.Reverse(files)
	return files, nil
}

// parse reads one line of the log, which has Docker's json-file format. False:
// it is none, or not wanted.
func (f *logFollower) parse(line []byte) (api.LogEntry, bool) {
	var raw struct {
		Log    string    `json:"log"`
		Stream string    `json:"stream"`
		Time   time.Time `json:"time"`
	}
	if err := json.Unmarshal(line, &raw); err != nil {
		return api.LogEntry{}, false
	}
	entry := api.LogEntry{Stream: stdcopy.Stdout, Time: raw.Time, Line: []byte(raw.Log)}
	wanted := f.options.Stdout
	if raw.Stream == "stderr" {
		entry.Stream, wanted = stdcopy.Stderr, f.options.Stderr
	}
	return entry, wanted && !raw.Time.Before(f.options.Since)
}
