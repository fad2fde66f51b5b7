// Package startup lets go of what only the start of a process has needed.
//
//	/proc/self/smaps           of the program's file, never written
//	 5581c0000000-... r-xp  ---------------------------------------.
//	 5581c0a00000-... r--p  ------- madvise(MADV_DONTNEED) -------> not resident
//	 c000000000-...   rw-p  (heap: stays)                           until used again
//
// A large program touches a large part of itself once, when its packages are initialised and its parts are
// made, and the kernel maps sixteen pages for each that is touched: half of what a small daemon
// has resident. What is used later comes back from the page cache, a fault for
// sixteen pages.
//
// # Concurrency
//
// Over may be called at any time from anywhere; others do not notice but for the faults.
package startup

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Over takes the pages of the program's file out of what this process has resident. It needs /proc.
func Over() error {
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("startup: %w", err)
	}
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("startup: %w", err)
	}
	for _, r := range untouched(string(text), program) {
		if _, _, e := unix.RawSyscall(unix.SYS_MADVISE, r.begin, r.end-r.begin, unix.MADV_DONTNEED); e != 0 {
			return fmt.Errorf("startup: madvise: %w", e)
		}
	}
	return nil
}

// region is a part of the address space.
type region struct{ begin, end uintptr }

// untouched finds the mappings of a file that are private, not writable, and have no page of their own: a dynamic linker
// writes into some before it makes them read-only. The text is that of /proc/PID/smaps: for each mapping
// "begin-end rwxp offset device inode path", and lines such as "Anonymous: 0 kB", see proc(5).
func untouched(smaps, file string) []region {
	var all []region
	var candidate region
	for line := range strings.Lines(smaps) {
		f := strings.Fields(line)
		if len(f) >= 5 && strings.Contains(f[0], "-") {
			candidate = region{}
			if len(f) > 5 && len(f[1]) == 4 && f[1][1] == '-' && f[1][3] == 'p' && strings.Join(f[5:], " ") == file {
				candidate = addresses(f[0])
			}
		}
		if len(f) == 3 && f[0] == "Anonymous:" && f[1] == "0" && candidate.end > candidate.begin {
			all = append(all, candidate)
		}
	}
	return all
}

// addresses reads "begin-end"; none where that is something else.
func addresses(text string) region {
	first, last, _ := strings.Cut(text, "-")
	begin, err := strconv.ParseUint(first, 16, 64)
	if err != nil {
		return region{}
	}
	end, err := strconv.ParseUint(last, 16, 64)
	if err != nil {
		return region{}
	}
	return region{uintptr(begin), uintptr(end)}
}
