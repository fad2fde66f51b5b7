package nsexec

import (
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// keptFiles are the descriptors with which the child goes on. Their numbers are taken once, early, and kept: the child
// copies what is below the highest of them and nothing else, so that a daemon of 1,000 containers and 7,000
// descriptors pays no more for it than one of none, unless it has been started with them by a service manager. A child that gets a copy of them all costs it 1.4 ms there, most of which
// it takes to close them again when it becomes the new program.
type keptFiles struct {
	exe, null                int // always these
	socket, stderr, failures int // lent by the caller for one child; /dev/null in between
	above                    int // the first number that no child needs
}

// firstKept is above everything that the child arranges (0 to 3), so that no dup3 of it overwrites a descriptor that a
// later step needs.
const firstKept = 10

// kept takes the numbers.
var kept = sync.OnceValues(func() (*keptFiles, error) {
	k := new(keptFiles)
	// What is running stays right when its file is replaced or removed.
	for _, f := range []struct {
		path    string
		flags   int
		numbers []*int
	}{
		{"/proc/self/exe", unix.O_PATH, []*int{&k.exe}},
		{os.DevNull, unix.O_RDWR, []*int{&k.null, &k.socket, &k.stderr, &k.failures}},
	} {
		fd, err := unix.Open(f.path, f.flags|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("nsexec: open %s: %w", f.path, err)
		}
		defer unix.Close(fd)
		for _, number := range f.numbers {
			if *number, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstKept); err != nil {
				return nil, fmt.Errorf("nsexec: duplicate a descriptor: %w", err)
			}
			k.above = max(k.above, *number+1)
		}
	}
	return k, nil
})

// Prepare takes the descriptors that Start needs, while low numbers are free. Without it the first Start does.
func Prepare() error {
	_, err := kept()
	return err
}

// lend puts the caller's files where the child takes them, until the returned function is called. The caller
// holds syscall.ForkLock: there is one child at a time.
func (k *keptFiles) lend(socket, stderr *os.File, failures int) (giveBack func(), err error) {
	giveBack = func() {
		for _, to := range []int{k.socket, k.stderr, k.failures} {
			_ = unix.Dup3(k.null, to, unix.O_CLOEXEC)
		}
	}
	for _, l := range []struct{ from, to int }{
		{int(socket.Fd()), k.socket}, {int(stderr.Fd()), k.stderr}, {failures, k.failures},
	} {
		if err := unix.Dup3(l.from, l.to, unix.O_CLOEXEC); err != nil {
			giveBack()
			return nil, fmt.Errorf("nsexec: lend descriptor %d: %w", l.from, err)
		}
	}
	runtime.KeepAlive(socket)
	runtime.KeepAlive(stderr)
	return giveBack, nil
}
