package foreign

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// events is the process's one inotify instance, of which a user has 128 by default.
var events notifier

// notifier shares an inotify instance among any number of watches. It is opened with the first and stays.
type notifier struct {
	mu      sync.Mutex
	file    *os.File
	watches map[int32][]*notified // by the kernel's number, one for each inode
}

type notified struct{ tell func() }

// watch has tell called when one of watchEvents befalls path, until stop is called. tell must not block.
func (n *notifier) watch(path string, tell func()) (stop func(), err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.file == nil {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			return nil, fmt.Errorf("inotify: %w", err)
		}
		n.file, n.watches = os.NewFile(uintptr(fd), "inotify"), make(map[int32][]*notified)
		go n.read(n.file)
	}
	wd, err := n.add(path)
	if err != nil {
		return nil, fmt.Errorf("inotify: %s: %w", path, err)
	}
	w := &notified{tell}
	n.watches[wd] = append(n.watches[wd], w)
	return func() { n.remove(wd, w) }, nil
}

// add begins to watch path; n.mu is held.
func (n *notifier) add(path string) (int32, error) {
	raw, err := n.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var wd int
	cerr := raw.Control(func(fd uintptr) { wd, err = unix.InotifyAddWatch(int(fd), path, watchEvents) })
	return int32(wd), errors.Join(cerr, err)
}

func (n *notifier) remove(wd int32, w *notified) {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := slices.DeleteFunc(n.watches[wd], func(o *notified) bool { return o == w })
	if len(all) > 0 {
		n.watches[wd] = all
		return
	}
	if _, there := n.watches[wd]; !there {
		return // the inode is gone, and its watch with it
	}
	delete(n.watches, wd)
	if raw, err := n.file.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(wd)) }) // or the inode went just now
	}
}

// read passes on what the kernel tells.
func (n *notifier) read(f *os.File) {
	b := make([]byte, 16<<10)
	for {
		got, err := f.Read(b)
		if err != nil {
			return // nobody closes it
		}
		n.mu.Lock()
		for rest := b[:got]; len(rest) >= unix.SizeofInotifyEvent; {
			// struct inotify_event: wd, mask, cookie, and the length of a name, which only those of a directory's
			// entries have.
			wd, mask := int32(binary.NativeEndian.Uint32(rest)), binary.NativeEndian.Uint32(rest[4:])
			name := binary.NativeEndian.Uint32(rest[12:])
			rest = rest[unix.SizeofInotifyEvent:]
			rest = rest[min(int(name), len(rest)):]
			n.event(wd, mask)
		}
		n.mu.Unlock()
	}
}

// event tells those whom it concerns; n.mu is held.
func (n *notifier) event(wd int32, mask uint32) {
	if mask&unix.IN_Q_OVERFLOW != 0 { // what was told is not known: all look
		for _, all := range n.watches {
			for _, w := range all {
				w.tell()
			}
		}
		return
	}
	for _, w := range n.watches[wd] {
		w.tell()
	}
	if mask&unix.IN_IGNORED != 0 {
		delete(n.watches, wd)
	}
}
