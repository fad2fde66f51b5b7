package foreign

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// interval is how often a path is looked at whose changes nobody tells of.
	interval = 500 * time.Millisecond
	// rareInterval is how often /proc/PID/ns/net is. The end of the process is told of; what is not is that it has
	// gone into another namespace, which next to none does after it was named to others.
	rareInterval = time.Minute
	// maxLinks is how many symbolic links the kernel follows in a path.
	maxLinks = 40
)

// watchEvents are all by which a name in a file system comes to lead elsewhere: the directory, the symbolic link or the
// file itself is moved, removed, or has one name less. What happens beside it, in a busy directory, is not among them.
const watchEvents = unix.IN_MOVE_SELF | unix.IN_DELETE_SELF | unix.IN_ATTRIB | unix.IN_DONT_FOLLOW

// told are file systems that tell of all changes: those of which nobody else can change anything.
var told = []int64{
	unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC,
	unix.OVERLAYFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.NSFS_MAGIC,
}

// A watch tells when a path may lead elsewhere.
//
//	/run/user/1000/netns/x   the links and directories on the way: inotify
//	                         what is mounted on them: the table of mounts, which can be polled
//	/proc/1234/...           the process: a descriptor of it
//
// What none of these tells of is looked at every so often.
type watch struct {
	changed chan struct{} // has something in it when it may
	every   time.Duration // when to look anyway; 0: not at all
	stops   []func()
}

// watchPath begins to watch; what happened before is not told. The path is absolute.
func watchPath(path string) *watch {
	w, err := ask(paths, path, func() (*watch, error) {
		w := &watch{changed: make(chan struct{}, 1)}
		if err := w.follow(path); err != nil {
			// Out of descriptors or watches, or it leads nowhere now.
			w.lookEvery(interval)
		}
		return w, nil
	}, (*watch).stop)
	if err != nil { // no answer, which may come
		return &watch{every: interval}
	}
	return w
}

// watch begins to watch what leads to the place, but for its processes.
func (p Place) watch() *watch {
	if p.Passed {
		return p.watchPassed()
	}
	if p.Net == "" {
		return &watch{}
	}
	return watchPath(p.Net)
}

// stop ends the watch and waits for its goroutines.
func (w *watch) stop() {
	for _, stop := range slices.Backward(w.stops) {
		stop()
	}
}

// tell says that the path may have changed.
func (w *watch) tell() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *watch) lookEvery(d time.Duration) {
	if w.every == 0 || d < w.every {
		w.every = d
	}
}

// follow watches each step of a path as the kernel goes it.
func (w *watch) follow(path string) error {
	if err := w.mounts("/proc/self/mountinfo"); err != nil {
		return err
	}
	at, rest := "/", steps(path)
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		if at == "/proc" {
			return w.process(name, rest)
		}
		at = filepath.Join(at, name)
		if err := w.step(at); err != nil {
			return err
		}
		to, err := os.Readlink(at)
		if errors.Is(err, unix.EINVAL) {
			continue // no link
		}
		if err != nil {
			return err
		}
		if links++; links > maxLinks {
			return unix.ELOOP
		}
		at = filepath.Dir(at)
		if filepath.IsAbs(to) {
			at = "/"
		}
		rest = append(steps(to), rest...)
	}
	return nil
}

// steps takes a path apart. It does not shorten "a/.." as filepath.Clean does: a may be a link.
func steps(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "." })
}

// step watches one link, directory or file.
func (w *watch) step(path string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &st); err != nil {
		return err
	}
	if !slices.Contains(told, int64(st.Type)) { //nolint:unconvert // another width elsewhere
		w.lookEvery(interval)
		return nil
	}
	// What is mounted there is another file system's, which the next step meets; inotify would ask it, and all wait.
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Fstatfs(fd, &st); err != nil || !slices.Contains(told, int64(st.Type)) { //nolint:unconvert // as above
		return err
	}
	stop, err := events.watch(path, w.tell)
	if err != nil {
		return err
	}
	w.stops = append(w.stops, stop)
	return nil
}

// process watches what is below /proc/NAME, where procfs tells of nothing.
func (w *watch) process(name string, rest []string) error {
	pid, err := strconv.Atoi(name)
	if err != nil { // self, or another that is no process
		w.lookEvery(interval)
		return nil //nolint:nilerr // there is no failure
	}
	exited, stop := Process{PID: pid}.exits()
	if exited == nil {
		return fmt.Errorf("no descriptor of process %d", pid)
	}
	done := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(over)
		select {
		case <-exited:
			w.tell()
		case <-done:
		}
	}()
	w.stops = append(w.stops, func() {
		close(done)
		<-over
		stop()
	})
	if len(rest) == 2 && rest[0] == "ns" && rest[1] == "net" {
		w.lookEvery(rareInterval)
	} else {
		w.lookEvery(interval)
	}
	return nil
}

// mounts watches a table of mounts. One file of it wakes: it is always readable, and what comes anew is an edge, as
// is its beginning. Another one is asked whether there was anything: whoever asks a file about its urgent events, as the
// poller does, takes the answer from all who ask after him.
func (w *watch) mounts(table string) error {
	var fds [2]int
	for i := range fds {
		fd, err := unix.Open(table, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			if i > 0 {
				unix.Close(fds[0])
			}
			return fmt.Errorf("%s: %w", table, err)
		}
		fds[i] = fd
	}
	file := os.NewFile(uintptr(fds[0]), table)
	w.stops = append(w.stops, func() { unix.Close(fds[1]) }) // the last thing that is stopped
	wakes, err := file.SyscallConn()
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", table, err), file.Close())
	}
	asked := []unix.PollFd{{Fd: int32(fds[1]), Events: unix.POLLPRI}}
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = wakes.Read(func(uintptr) bool { // an error is stop's
			if n, err := unix.Poll(asked, 0); err != nil || n > 0 {
				w.tell()
			}
			return false
		})
	}()
	w.stops = append(w.stops, func() {
		file.Close()
		<-over
	})
	return nil
}
