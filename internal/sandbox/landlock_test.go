package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

// reach is something outside of a process that Landlock closes from a version on.
type reach struct {
	name  string
	since int // ABI version; 0: it stays open
	errno unix.Errno
	try   func(folder string) error
}

var reaches = []reach{
	{"read a file", 1, unix.EACCES, func(folder string) error { _, err := os.ReadFile(filepath.Join(folder, "file")); return err }},
	{"list a folder", 1, unix.EACCES, func(folder string) error { _, err := os.ReadDir(folder); return err }},
	{"read /proc", 1, unix.EACCES, func(string) error { _, err := os.ReadFile("/proc/self/status"); return err }},
	{"make a file", 1, unix.EACCES, func(folder string) error {
		name := filepath.Join(folder, fmt.Sprint("new", unix.Gettid()))
		return errors.Join(os.Mkdir(name, 0o700), os.Remove(name))
	}},
	{"cut a file", 3, unix.EACCES, func(folder string) error { return os.Truncate(filepath.Join(folder, "file"), 1) }},
	{"bind a TCP port", abiTCP, unix.EACCES, func(string) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 77, 0, 77}, Port: 47193}) // nobody's
	}},
	{"bind a TCP port of the kernel's choice", 0, 0, func(string) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}},
	{"an abstract socket", abiScopes, unix.EPERM, func(folder string) error { return dialUnix("@" + folder) }},
	{"signal another process", abiScopes, unix.EPERM, func(string) error { return unix.Kill(os.Getppid(), 0) }},
	{"a unix socket by its path", newestLandlock, unix.EACCES, func(folder string) error { return dialUnix(filepath.Join(folder, "socket")) }},
	{"connect by TCP", 0, 0, func(string) error { return dialTCPTo(os.Getenv("TEST_TCP")) }},
	{"bind a UDP port", 0, 0, func(string) error {
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err == nil {
			c.Close()
		}
		return err
	}},
	{"signal itself", 0, 0, func(string) error { return unix.Tgkill(os.Getpid(), os.Getpid(), 0) }},
}

func dialUnix(name string) error {
	c, err := net.Dial("unix", name)
	if err == nil {
		c.Close()
	}
	return err
}

func dialTCPTo(address string) error {
	c, err := net.Dial("tcp", address)
	if err == nil {
		c.Close()
	}
	return err
}

// restricted is what landlockRole reports.
type restricted struct {
	ABI    int
	Notes  []string
	Before map[string]string // name of a reach -> error
	After  []map[string]string
}

// landlockRole tries all reaches before, and then on two threads.
func landlockRole(args []string) error {
	folder := args[0]
	all := func() map[string]string {
		results := make(map[string]string)
		for _, r := range reaches {
			err := r.try(folder)
			var errno unix.Errno
			switch {
			case err == nil:
				results[r.name] = ""
			case errors.As(err, &errno):
				results[r.name] = unix.ErrnoName(errno)
			default:
				results[r.name] = err.Error()
			}
		}
		return results
	}
	thread := elsewhere()
	if err := errors.Join(dropCapabilities(), noNewPrivs()); err != nil {
		return err
	}
	r := restricted{Before: all()}
	r.ABI, r.Notes = landlockAll()
	for _, th := range []chan<- func(){nil, thread} {
		on(th, func() { r.After = append(r.After, all()) })
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func TestLandlockClosesWhatItKnows(t *testing.T) {
	for _, ordinary := range []bool{false, true} {
		t.Run(fmt.Sprintf("ordinary user %v", ordinary), func(t *testing.T) {
			folder, err := os.MkdirTemp("", "sandbox")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(folder)
			if err := os.WriteFile(filepath.Join(folder, "file"), []byte("secret"), 0o666); err != nil {
				t.Fatal(err)
			}
			if ordinary && os.Getuid() == 0 {
				if err := errors.Join(os.Chown(folder, nobody, nobody), os.Chown(filepath.Join(folder, "file"), nobody, nobody)); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range []string{"@" + folder, filepath.Join(folder, "socket")} {
				l, err := net.Listen("unix", name)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
			}
			if err := os.Chmod(filepath.Join(folder, "socket"), 0o666); err != nil {
				t.Fatal(err)
			}
			tcp, _ := echoServers(t)
			cmd := child(t, ordinary, "landlock", folder)
			cmd.Env = append(cmd.Env, "TEST_TCP="+tcp)
			out, ws := run(t, cmd)
			var got restricted
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Fatalf("it ended with %v and said %q", ws, out)
			}
			checkRestricted(t, got, ordinary && os.Getuid() == 0)
		})
	}
}

// checkRestricted compares with the kernel's version. A stranger may not signal the
// test's process anyway.
func checkRestricted(t *testing.T, got restricted, stranger bool) {
	abi, err := landlockABI()
	if got.ABI != abi {
		t.Errorf("ABI %d is in force, of %d (%v)", got.ABI, abi, got.Notes)
	}
	if err != nil && len(got.Notes) == 0 {
		t.Error("no note says that there is no Landlock")
	}
	if !reflect.DeepEqual(got.Notes, lacking(abi)) && err == nil {
		t.Errorf("ABI %d notes %q", abi, got.Notes)
	}
	for _, r := range reaches {
		if before := got.Before[r.name]; before != "" && !(stranger && before == "EPERM") {
			t.Errorf("%s: %s even before", r.name, before)
		}
		want := got.Before[r.name]
		if r.since != 0 && r.since <= abi {
			want = unix.ErrnoName(r.errno)
		}
		for i, after := range got.After {
			if after[r.name] != want {
				t.Errorf("%s, thread %d: %q, want %q", r.name, i, after[r.name], want)
			}
		}
	}
}

func TestLandlockVersionsThatDoNotWorkAreNotUsed(t *testing.T) {
	for _, c := range []struct {
		version, fixed int
		err            error
		want           int
	}{
		{1, 0, unix.EINVAL, 1},
		{5, 0, unix.EINVAL, 5},
		{6, 0, unix.EINVAL, 5}, // before errata could be asked for
		{6, 1, nil, 5},
		{6, 3, nil, 6},
		{7, 2, nil, 7},
		{9, 2, nil, 9},
		{12, 2, nil, 9},
	} {
		if got := knownABI(c.version, func() (int, error) { return c.fixed, c.err }); got != c.want {
			t.Errorf("version %d with %b fixed: %d, want %d", c.version, c.fixed, got, c.want)
		}
	}
	for abi, notes := range map[int]int{1: 2, 3: 2, 4: 1, 5: 1, 6: 0, 9: 0} {
		if got := lacking(abi); len(got) != notes {
			t.Errorf("ABI %d: %q", abi, got)
		}
	}
}
