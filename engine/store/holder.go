package store

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
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
		process := filepath.Dir(filepath.Dir(fd))
		// To look at others' files themselves may take for ever: their file system's server may not answer.
		if link, err := os.Readlink(fd); err != nil || filepath.Base(link) != filepath.Base(path) {
			continue
		}
		if st, err := os.Stat(fd); err != nil || !os.SameFile(st, file) {
			continue
		}
		info, err := os.ReadFile(filepath.Join(process, "fdinfo", filepath.Base(fd)))
		if err != nil || !bytes.Contains(info, []byte("FLOCK")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(process)); err == nil {
			return pid
		}
	}
	return 0
}
