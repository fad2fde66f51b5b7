package dns

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

/*
How a resolv.conf is followed

The file is usually reached over symbolic links (/etc/resolv.conf ->
../run/systemd/resolve/stub-resolv.conf) and replaced by renaming. What must be
watched is thus not the file but, in each directory on the way, the one name in it
that decides where the way goes on:

	/etc                  resolv.conf       a link
	/run/systemd/resolve  stub-resolv.conf  the file
	/run                  systemd           where that directory doesn't exist yet

trail finds these; watch hands their directories to inotify. After each change of one
of the names the trail is walked again. Changes come in groups (truncate, write,
close): the file is read when it has been quiet for a moment.

inotify does not see everything (a file bind-mounted over the path changes in another
directory; a directory further up is moved away; watches may have run out), so each exchange compares the file's
size, inode and time, at most once in checkEvery. Nothing wakes up while nobody asks.
*/

const (
	// quiet is how long after a change the file is read.
	quiet = 50 * time.Millisecond
	// checkEvery is the least time between two comparisons of the file's stamp.
	checkEvery = 5 * time.Second
	// maxConfigSize is far more than any resolv.conf, in bytes.
	maxConfigSize = 1 << 20
	// maxLinks is the kernel's own limit for links in a path.
	maxLinks = 40
)

// follower is the part of an Upstream that follows its file.
type follower struct {
	events *fsnotify.Watcher // nil where inotify isn't to be had
	wg     sync.WaitGroup
	once   sync.Once

	checked atomic.Int64 // when the stamp was last compared, in nanoseconds since born
	born    time.Time
	stamp   atomic.Pointer[stamp] // of the file that was read last

	mu    sync.Mutex
	names map[string]bool // paths whose change matters, directories too
	dirs  map[string]bool // directories that are watched
}

// stamp tells whether a file is the one that was read.
type stamp struct {
	info fs.FileInfo // nil: there was none
}

func (s stamp) same(info fs.FileInfo) bool {
	if s.info == nil || info == nil {
		return s.info == nil && info == nil
	}
	return os.SameFile(s.info, info) && s.info.Size() == info.Size() && s.info.ModTime().Equal(info.ModTime())
}

// point is a name in a directory that decides where a path leads.
type point struct{ dir, name string }

// trail walks an absolute path and returns the links on the way and the file at
// its end, or the first name that doesn't exist. Directories are real ones.
func trail(path string) []point {
	var points []point
	dir, rest := "/", splitPath(path)
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			dir = filepath.Dir(dir)
			continue
		}
		full := filepath.Join(dir, name)
		info, err := os.Lstat(full)
		switch {
		case err != nil:
			return append(points, point{dir, name})
		case info.Mode()&fs.ModeSymlink != 0:
			points = append(points, point{dir, name})
			target, err := os.Readlink(full)
			if links++; err != nil || links > maxLinks {
				return points
			}
			if filepath.IsAbs(target) {
				dir = "/"
			}
			rest = append(splitPath(target), rest...)
		case len(rest) == 0:
			return append(points, point{dir, name})
		default:
			dir = full
		}
	}
	return points
}

// splitPath returns a path's elements; ".." is kept, because behind a link it
// isn't the parent that the path shows.
func splitPath(path string) []string {
	var parts []string
	for part := range strings.SplitSeq(path, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return parts
}

// startFollowing reads the file for the first time and starts the goroutine.
func (u *Upstream) startFollowing() error {
	path, err := filepath.Abs(u.path)
	if err != nil {
		return fmt.Errorf("follow %s: %w", u.path, err)
	}
	u.path = path
	f := &follower{born: time.Now()}
	u.follow = f
	f.events, err = fsnotify.NewWatcher()
	if err != nil {
		u.log.Warn("changes of resolv.conf are noticed later, when names are asked for: raise fs.inotify.max_user_instances", "path", path, "error", err)
		f.events = nil
	}
	u.reload()
	if f.events != nil {
		f.wg.Go(u.followEvents)
	}
	return nil
}

func (f *follower) close() error {
	var err error
	f.once.Do(func() {
		if f.events != nil {
			err = f.events.Close()
		}
	})
	f.wg.Wait()
	return err
}

// followEvents reloads after changes until the watcher is closed.
func (u *Upstream) followEvents() {
	f := u.follow
	timer := time.NewTimer(quiet)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case ev, ok := <-f.events.Events:
			if !ok {
				return
			}
			if f.matters(ev.Name) {
				timer.Reset(quiet)
			}
		case err, ok := <-f.events.Errors:
			if !ok {
				return
			}
			// Events may be lost; the file itself isn't.
			u.log.Debug("watching resolv.conf", "error", err)
			timer.Reset(quiet)
		case <-timer.C:
			u.reload()
		}
	}
}

func (f *follower) matters(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.names[name]
}

// watch makes inotify report what may change where path leads. It is called
// before the file is read, so that no change falls between.
func (u *Upstream) watch() {
	f := u.follow
	if f.events == nil {
		return
	}
	// The way can change while it is being walked; what was watched first
	// then shows in the second walk.
	for points, tries := trail(u.path), 0; tries < 4; tries++ {
		u.watchPoints(points)
		again := trail(u.path)
		if slices.Equal(points, again) {
			return
		}
		points = again
	}
}

func (u *Upstream) watchPoints(points []point) {
	f := u.follow
	names, dirs := make(map[string]bool), make(map[string]bool)
	for _, p := range points {
		names[filepath.Join(p.dir, p.name)] = true
		names[p.dir] = true // it may be deleted or moved itself
		dirs[p.dir] = true
	}
	f.mu.Lock()
	old := f.dirs
	f.names, f.dirs = names, dirs
	f.mu.Unlock()
	for dir := range old {
		if !dirs[dir] {
			_ = f.events.Remove(dir) // gone with the directory, perhaps
		}
	}
	for dir := range dirs {
		// Also for one that is watched: it may be another directory by now.
		if err := f.events.Add(dir); err != nil && !errors.Is(err, fsnotify.ErrClosed) {
			u.log.Warn("changes of resolv.conf may be noticed later, when names are asked for", "path", u.path, "directory", dir, "error", err)
		}
	}
}

// reload reads the file and puts in force what it says. A file that was
// there and cannot be read now leaves things as they are: it is being replaced, or
// was broken by accident, and the servers that were good are still the best guess.
func (u *Upstream) reload() {
	u.reloadMu.Lock()
	defer u.reloadMu.Unlock()
	u.watch()
	data, info, err := readConfig(u.path)
	u.follow.stamp.Store(&stamp{info})
	if err != nil {
		u.log.Warn("resolv.conf cannot be read; what it said before holds", "path", u.path, "error", err)
		return
	}
	c := ParseConfig(data)
	c.Servers = numbered(c.Servers)
	u.set(c)
}

func readConfig(path string) ([]byte, fs.FileInfo, error) {
	// Non-blocking, or a FIFO in that place would hold us until somebody writes to it.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	// Before reading: a change in between makes the stamp differ.
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, info, fmt.Errorf("%s: not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxConfigSize))
	return data, info, err
}

// checkFile reloads if the file isn't the one that was read. Most calls do nothing.
func (u *Upstream) checkFile() {
	f := u.follow
	if f == nil {
		return
	}
	now := int64(time.Since(f.born))
	last := f.checked.Load()
	if now-last < int64(checkEvery) || !f.checked.CompareAndSwap(last, now) {
		return
	}
	u.compareStamp()
}

func (u *Upstream) compareStamp() {
	info, err := os.Stat(u.path)
	if err != nil {
		info = nil
	}
	if !u.follow.stamp.Load().same(info) {
		u.reload()
	}
}
