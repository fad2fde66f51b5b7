// Package busybox makes the root file system of test containers out of the machine's own busybox, without a registry.
//
//	/usr/bin/busybox (Debian's busybox-static) --> tar: bin/busybox, bin/sh -> busybox, ..., etc/passwd, tmp/
//
// # Lifetime
//
// It is made once a process.
//
// # Concurrency
//
// Tree may be called from any goroutine.
package busybox

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
)

// IsStatic reports whether the machine has a busybox that needs no library, which a tree has not.
func IsStatic() bool {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return false
	}
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// Tree is a tar archive of busybox under its name, a link for each of its programs, and what programs of containers
// expect to be there. The caller may not change it.
var Tree = sync.OnceValues(func() ([]byte, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return nil, fmt.Errorf("%w (Debian's package busybox-static)", err)
	}
	if !IsStatic() {
		return nil, fmt.Errorf("%s needs libraries, which containers do not have: install Debian's package busybox-static in its place", path)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	applets, err := exec.Command(path, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("asking busybox for its programs: %w", err)
	}
	var tree bytes.Buffer
	t := tar.NewWriter(&tree)
	var problems []error
	for _, dir := range []string{"bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var"} {
		mode := int64(0o755)
		if dir == "tmp" {
			mode = 0o1777
		}
		problems = append(problems, t.WriteHeader(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: mode}))
	}
	file := func(name string, mode int64, text []byte) {
		problems = append(problems, t.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(text))}))
		_, err := t.Write(text)
		problems = append(problems, err)
	}
	file("bin/busybox", 0o755, program)
	for applet := range strings.FieldsSeq(string(applets)) {
		if applet != "busybox" {
			problems = append(problems, t.WriteHeader(&tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}))
		}
	}
	file("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"))
	file("etc/group", 0o644, []byte("root:x:0:\nnogroup:x:65534:\n"))
	problems = append(problems, t.Close())
	return tree.Bytes(), errors.Join(problems...)
})
