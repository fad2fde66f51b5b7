package store

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An event is what a process did to files on disk, in the order in which the
// kernel was asked.
type event struct {
	op   string // write, truncate, sync, rename, mark
	file string // path at that time; of a rename the old one
	off  int64
	data []byte // of a write
	size int64  // of a truncate
}

// syscallInfo is struct ptrace_syscall_info of linux/ptrace.h.
type syscallInfo struct {
	op    uint8
	_     [3]uint8
	arch  uint32
	ip    uint64
	sp    uint64
	first uint64 // number at the entry, result at the exit
	args  [6]uint64
	_     [8]uint8
}

const (
	infoEntry = 1
	infoExit  = 2
)

// record runs this test binary with an environment variable and returns what it
// did to files below dir. What it writes to descriptor 3 are marks.
func recordFileEvents(t *testing.T, variable, dir string) []event {
	t.Helper()
	runtime.LockOSThread() // tracing belongs to the thread
	defer runtime.UnlockOSThread()
	marks, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer marks.Close()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), variable+"="+dir)
	cmd.ExtraFiles = []*os.File{marks}
	var out strings.Builder
	log, err := os.CreateTemp(t.TempDir(), "output")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tr := tracer{dir: dir, inside: map[int]*event{}}
	status, err := tr.run(cmd.Process.Pid)
	if text, rerr := os.ReadFile(log.Name()); rerr == nil {
		out.Write(text)
	}
	if err != nil || status != 0 {
		t.Fatalf("the recorded process: status %d, %v: %s", status, err, out.String())
	}
	return tr.events
}

type tracer struct {
	dir    string
	inside map[int]*event // by thread: what it has asked for
	events []event
}

// run follows the process and its threads to their end.
func (tr *tracer) run(pid int) (status int, err error) {
	var ws unix.WaitStatus
	if _, err := unix.Wait4(pid, &ws, unix.WALL, nil); err != nil {
		return 0, err
	}
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(pid, options); err != nil {
		return 0, fmt.Errorf("trace: %w", err)
	}
	if err := unix.PtraceSyscall(pid, 0); err != nil {
		return 0, err
	}
	for {
		tid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, err
		}
		if ws.Exited() || ws.Signaled() {
			if tid == pid {
				return int(ws), nil
			}
			continue
		}
		deliver := 0
		switch sig := ws.StopSignal(); {
		case sig == unix.SIGTRAP|0x80:
			if err := tr.syscall(tid); err != nil {
				return 0, err
			}
		case sig == unix.SIGTRAP, sig == unix.SIGSTOP: // a new thread, on either side
		default:
			deliver = int(sig)
		}
		if err := unix.PtraceSyscall(tid, deliver); err != nil && err != unix.ESRCH {
			return 0, err
		}
	}
}

func (tr *tracer) syscall(tid int) error {
	var info syscallInfo
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 {
		return fmt.Errorf("what thread %d does: %w", tid, errno)
	}
	switch info.op {
	case infoEntry:
		ev, err := tr.entry(tid, info.first, info.args)
		if err != nil {
			return err
		}
		tr.inside[tid] = ev
	case infoExit:
		ev := tr.inside[tid]
		delete(tr.inside, tid)
		if result := int64(info.first); ev != nil && result >= 0 {
			if ev.op == "write" && result < int64(len(ev.data)) {
				ev.data = ev.data[:result]
			}
			tr.events = append(tr.events, *ev)
		}
	}
	return nil
}

// entry returns what a system call is about to do to a file below dir, or nil.
func (tr *tracer) entry(tid int, number uint64, args [6]uint64) (*event, error) {
	ev := &event{}
	switch number {
	case unix.SYS_PWRITE64:
		ev.op, ev.off = "write", int64(args[3])
	case unix.SYS_WRITE:
		ev.op, ev.off = "write", -1
	case unix.SYS_FTRUNCATE:
		ev.op, ev.size = "truncate", int64(args[1])
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		ev.op = "sync"
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		name := make([]byte, unix.PathMax)
		n, err := unix.ProcessVMReadv(tid, []unix.Iovec{iovec(name)}, []unix.RemoteIovec{{Base: uintptr(args[1]), Len: len(name)}}, 0)
		if err != nil {
			return nil, err
		}
		old, _, _ := strings.Cut(string(name[:n]), "\x00")
		if !strings.HasPrefix(old, tr.dir+"/") {
			return nil, nil
		}
		return &event{op: "rename", file: old}, nil
	case unix.SYS_PWRITEV, unix.SYS_PWRITEV2, unix.SYS_MSYNC, unix.SYS_FALLOCATE, unix.SYS_SYNC_FILE_RANGE, unix.SYS_COPY_FILE_RANGE:
		return nil, fmt.Errorf("system call %d: the recording knows nothing of it", number)
	default:
		return nil, nil
	}
	if ev.op == "write" && args[0] == 3 {
		return &event{op: "mark"}, nil
	}
	file, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, args[0]))
	if err != nil || file != tr.dir && !strings.HasPrefix(file, tr.dir+"/") {
		return nil, nil //nolint:nilerr // what has no name is no file of the store's
	}
	ev.file = file
	if ev.op == "write" {
		ev.data = make([]byte, args[2])
		if len(ev.data) == 0 {
			return nil, nil
		}
		n, err := unix.ProcessVMReadv(tid, []unix.Iovec{iovec(ev.data)}, []unix.RemoteIovec{{Base: uintptr(args[1]), Len: len(ev.data)}}, 0)
		if err != nil || n != len(ev.data) {
			return nil, fmt.Errorf("what thread %d writes: %d of %d bytes: %w", tid, n, len(ev.data), err)
		}
	}
	return ev, nil
}

func iovec(b []byte) unix.Iovec {
	v := unix.Iovec{Base: &b[0]}
	v.SetLen(len(b))
	return v
}
