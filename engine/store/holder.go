package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Holder is the pid of a process of this user that has a lock (flock(2)) on the file at path; 0 where there is
// none, or none that may be looked at. One that is about to be gone is not found.
func Holder(path string) (pid int) {
	file, err := os.Stat(path)
	if err != nil {
		return 0
	}
	// The kernel's list of locks names no file by its path, and devices otherwise than stat(2) where a file system has several.
	open, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range open {
		// To look at others' files themselves may take for ever: their file system's server may not answer.
		if link, err := os.Readlink(fd); err != nil || filepath.Base(link) != filepath.Base(path) {
			continue
		}
		if st, err := os.Stat(fd); err != nil || !os.SameFile(st, file) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(fd)))); err == nil && locks(fd) {
			return pid
		}
	}
	return 0
}

// HeldBy finds the file of this name, whatever its folder, that a process has a lock (flock(2)) on; held is nil without
// one. path is what the kernel calls the file: there it was when the process opened it or moved with its folder, in the
// process's mount namespace, and it may be gone from there.
func HeldBy(pid int, name string) (path string, held os.FileInfo) {
	open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range open {
		link, err := os.Readlink(fd)
		path := strings.TrimSuffix(link, " (deleted)") // proc_pid_fd(5)
		if err != nil || filepath.Base(path) != name || !locks(fd) {
			continue
		}
		if st, err := os.Stat(fd); err == nil {
			return path, st
		}
	}
	return "", nil
}

// locks reports whether a lock was taken through a descriptor, /proc/PID/fd/N, or a duplicate of it.
func locks(fd string) bool {
	info, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(fd)), "fdinfo", filepath.Base(fd)))
	return err == nil && bytes.Contains(info, []byte("FLOCK"))
}
