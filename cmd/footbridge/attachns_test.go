package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

func TestAttachTellsNamespacesFromStreams(t *testing.T) {
	for line, want := range map[string]string{
		"":                                  "false",
		"web":                               "false",
		"--no-stdin web":                    "false",
		"--pid 7":                           "true",
		"--netns /x --userns /y -p 80 -P":   "true",
		"--pid 7 --name a --network n -h b": "true",
		"--name a":                          "say what to attach",
		"-p 80 web":                         "say what to attach",
		"--exit-fd 3":                       "say what to attach",
		"--pid 7 web":                       `container "web" and --pid or --netns`,
		"--pid 7 --no-stdin":                "conflicting options: --no-stdin",
		"--netns /x --sig-proxy=false":      "conflicting options: --sig-proxy",
		"--detach-keys a --pid 7":           "conflicting options: --detach-keys",
		"--pid 7 --netns /x":                "conflicting options: --pid and --netns",
		"--pid 7 --userns /y":               "--userns goes with --netns",
		"--userns /y":                       "say what to attach",
	} {
		cmd := attachCommand(&cli{})
		if err := cmd.ParseFlags(strings.Fields(line)); err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		// Another instance: the command's own is out of reach.
		var n namespaceFlags
		n.register(pflag.NewFlagSet("", pflag.ContinueOnError))
		chosen, err := n.chosen(cmd.Flags(), cmd.Flags().Args())
		got := fmt.Sprint(chosen)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) && !strings.Contains(got, want) || err == nil && got != want {
			t.Errorf("%q: %s, want %s", line, got, want)
		}
	}
}

func TestPathsOfNamespacesMeanTheSameToTheDaemon(t *testing.T) {
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	own := "/proc/" + strconv.Itoa(os.Getpid())
	for path, want := range map[string]string{
		"/run/netns/x":          "/run/netns/x",
		"x":                     filepath.Join(cwd, "x"),
		"../x":                  filepath.Join(filepath.Dir(cwd), "x"),
		"/proc/1/ns/net":        "/proc/1/ns/net",
		"/proc/self/ns/net":     own + "/ns/net",
		"/proc/thread-self/x":   own + "/x",
		"/proc/./self/fd/5":     own + "/fd/5",
		"/dev/fd/5":             own + "/fd/5",
		"/proc/selfish/ns/net":  "/proc/selfish/ns/net",
		"/x/../proc/self/fd/77": own + "/fd/77",
	} {
		if got, err := (&namespaceFlags{exitFD: 5}).path(path); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", path, got, err, want)
		}
		got, err := (&namespaceFlags{exitFD: noFD}).path(path)
		if strings.HasPrefix(want, own) != (err != nil) || err == nil && got != want {
			t.Errorf("%s without --exit-fd: %s, %v", path, got, err)
		}
	}
	if _, err := (&namespaceFlags{exitFD: 5}).path(""); err == nil {
		t.Error("an empty path is no error")
	}
}

func TestGivenDescriptorsAreLookedAt(t *testing.T) {
	inherit := func(f *os.File) int { // as this program would have it from its caller
		fd, err := unix.Dup(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		return fd // whoever it is given to closes it
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	plain, pipe := inherit(file), inherit(r)
	readOnly := inherit(r)
	defer unix.Close(readOnly)
	for _, c := range []struct {
		fd       int
		otherEnd bool
		want     string
	}{
		{-3, false, "a descriptor is 0 or more"},
		{9999, false, "no such descriptor"},
		{int(r.Fd()), false, "no such descriptor"}, // opened by this program
		{plain, true, "neither a pipe nor a socket"},
		{readOnly, false, "can only be read from"},
		{plain, false, ""},
		{pipe, true, ""},
	} {
		f, err := givenFD("--x-fd", c.fd, c.otherEnd)
		if err == nil {
			defer f.Close()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// The other end of whatever it is: closed by whoever has it, and not before.
func TestAHangupIsNoticed(t *testing.T) {
	pair := func(make func() (a, b int)) (ours, theirs *os.File) {
		a, b := make()
		return os.NewFile(uintptr(a), "ours"), os.NewFile(uintptr(b), "theirs")
	}
	pipe := func() (r, w int) {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		return fds[0], fds[1]
	}
	for name, ends := range map[string]func() (int, int){
		"reading end": pipe,
		"writing end": func() (int, int) { r, w := pipe(); return w, r },
		"stream": func() (int, int) {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			return fds[0], fds[1]
		},
		"packets": func() (int, int) {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			return fds[0], fds[1]
		},
	} {
		ours, theirs := pair(ends)
		closed := hangup(ours)
		if name != "writing end" {
			if _, err := theirs.WriteString("this means nothing"); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-closed:
			t.Errorf("%s: before the end", name)
		case <-time.After(20 * time.Millisecond):
		}
		theirs.Close()
		select {
		case <-closed:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: not noticed", name)
		}
		ours.Close()
	}
}
