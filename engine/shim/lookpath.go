package shim

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// defaultPath is searched when the environment has no PATH: Docker's.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// lookPath finds the file that a command's name means, in the PATH of its environment and its
// working directory, which is the current one. Errors are worded as Docker's.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if err := executable(name); err != nil {
			if err == unix.ENOENT || err == unix.ENOTDIR {
				return "", &StartError{Code: 127, Message: "exec: " + quote(name) + ": stat " + name + ": " + err.Error()}
			}
			return "", startError(err, "exec: %q: %v", name, err)
		}
		return name, nil
	}
	path := defaultPath
	for _, kv := range env { // the last one counts, as for getenv in a shell's child
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		if dir == "" {
			dir = "."
		}
		file := dir + "/" + name
		if executable(file) == nil {
			return file, nil
		}
	}
	return "", &StartError{Code: 127, Message: "exec: " + quote(name) + ": executable file not found in $PATH"}
}

// executable says why a file cannot be executed by the calling process.
func executable(file string) error {
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return unix.EISDIR
	}
	if err := unix.Faccessat(unix.AT_FDCWD, file, unix.X_OK, unix.AT_EACCESS); err != nil {
		return err
	}
	return nil
}

func quote(s string) string { return `"` + s + `"` }
