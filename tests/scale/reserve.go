package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A reserve is memory that the machine has touched and gives back a little at a time, so that starts which come one after
// the other all get such memory. A virtual machine's first touch of a page is a fault of the whole machine, ten times as
// dear as clearing it, and what is free for some seconds may be its host's again: whoever starts first would get what others have
// just left, and whoever starts last what nobody has touched. What a start takes is bounded by itself.

// Reserve makes one and tells what a page took: the first time, of memory of whatever history, and when it had just been given back.
func (a *Actor) Reserve(bytes int, page *[2]time.Duration) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("map %d bytes: %w", bytes, err)
	}
	a.reserve = b
	_ = unix.Madvise(b, unix.MADV_NOHUGEPAGE) // a kernel without them refuses
	page[0] = touch(b)
	part := b[:len(b)/8]
	if err := unix.Madvise(part, unix.MADV_DONTNEED); err != nil {
		return fmt.Errorf("give memory back: %w", err)
	}
	page[1] = touch(part)
	return nil
}

// touch writes to each page and returns the time of one.
func touch(b []byte) time.Duration {
	const size = 4096
	begin := time.Now()
	for i := 0; i < len(b); i += size {
		b[i] = 1
	}
	return time.Since(begin) / time.Duration(max(1, len(b)/size))
}

// Spend gives a part of the reserve back to the machine, as long as there is some, and tells what is left.
func (a *Actor) Spend(bytes int, left *int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	part := a.reserve[:min(bytes, len(a.reserve))]
	a.reserve = a.reserve[len(part):]
	*left = len(a.reserve)
	if len(part) == 0 {
		return nil
	}
	return unix.Madvise(part, unix.MADV_DONTNEED)
}
