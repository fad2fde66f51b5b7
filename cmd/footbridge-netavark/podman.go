package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// podmanDirs are where podman's own helper programs are, in podman's order.
var podmanDirs = []string{"/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman"}

// podmansOwn becomes podman's own port forwarder, which reads the same input. It returns
// only with an error.
func podmansOwn(input []byte) error {
	program, err := ownForwarder(podmanDirs)
	if err != nil {
		return err
	}
	stdin, err := again(input)
	if err != nil {
		return fmt.Errorf("start podman's own %s: %w", program, err)
	}
	if err := unix.Dup3(int(stdin.Fd()), 0, 0); err != nil {
		return fmt.Errorf("start podman's own %s: %w", program, err)
	}
	err = unix.Exec(program, []string{forwarderName}, os.Environ())
	return fmt.Errorf("start podman's own %s: %w", program, err)
}

// ownForwarder finds podman's.
func ownForwarder(dirs []string) (string, error) {
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return "", err
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, forwarderName)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && !os.SameFile(st, self) {
			return path, nil
		}
	}
	return "", errors.New("the container is on no network of footbridge's, and podman's own rootlessport is in none of the folders where it is installed")
}

// again is a file that holds b and is read from its beginning.
func again(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(forwarderName, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), forwarderName)
	if _, err = f.Write(b); err == nil {
		_, err = f.Seek(0, 0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
