package shim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

func FuzzReadMessage(f *testing.F) {
	for _, v := range []any{
		request{Op: opExecCreate, Exec: &ExecSpec{Args: []string{"true"}}},
		initAnswer{Op: initExited, ID: 1, Code: 300, Error: &wireError{Kind: "start", Code: 127, Message: "x\x1b[2J"}},
	} {
		b, err := appendMessage(nil, maxRequest, v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, '{', '}'})
	f.Fuzz(func(t *testing.T, b []byte) {
		var a initAnswer
		r := bytes.NewReader(b)
		if err := readMessage(r, maxAnswer, &a); err != nil {
			if used := len(b) - r.Len(); used > 4+maxAnswer {
				t.Fatalf("%d bytes read for a message that was refused", used)
			}
			return
		}
		if a.Error != nil {
			if text := fromWire(a.Error).Error(); strings.ContainsAny(text, "\x1b\n\r\x00") {
				t.Fatalf("control characters in %q", text)
			}
		}
		// What was read can be written and read again the same.
		again, err := appendMessage(nil, 8*maxAnswer, a)
		if err != nil {
			t.Fatal(err)
		}
		var c initAnswer
		if err := readMessage(bytes.NewReader(again), 8*maxAnswer, &c); err != nil || c.Op != a.Op || c.ID != a.ID || c.Code != a.Code {
			t.Fatalf("%+v became %+v, %v", a, c, err)
		}
		var req request
		_ = readMessage(bytes.NewReader(b), maxRequest, &req)
	})
}

func TestReadMessageLimits(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing", nil, io.EOF},
		{"half a length", []byte{0, 0}, io.ErrUnexpectedEOF},
		{"empty", []byte{0, 0, 0, 0}, errFrame},
		{"too long", []byte{0, 1, 0, 1, '{'}, errFrame},
		{"cut short", []byte{0, 0, 0, 9, '{'}, io.ErrUnexpectedEOF},
		{"no JSON", []byte{0, 0, 0, 2, '}', '{'}, errFrame},
		{"wrong JSON", []byte{0, 0, 0, 2, '[', ']'}, errFrame},
	} {
		var a initAnswer
		if err := readMessage(bytes.NewReader(c.b), maxAnswer, &a); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestMessageFiles(t *testing.T) {
	ours, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	peer, err := fileConn(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	r, w, err := pipe(true, true)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	big := request{Op: strings.Repeat("x", maxRequest/2)} // several reads and writes of a socket
	sent := make(chan error, 1)
	go func() { sent <- writeMessage(ours, maxRequest, big, w, r) }()
	var got request
	files, err := readMessageFiles(peer, maxRequest, &got)
	if err != nil || len(files) != 2 || got.Op != big.Op {
		t.Fatalf("%d files, %d bytes, %v", len(files), len(got.Op), err)
	}
	defer closeFiles(files)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := files[0].WriteString("x"); err != nil {
		t.Error(err)
	}
	// Who does not ask for files gets none, and none stays open anywhere.
	if err := writeMessage(ours, maxRequest, request{Op: "a"}, r); err != nil {
		t.Fatal(err)
	}
	if err := readMessage(peer, maxRequest, &got); err != nil || got.Op != "a" {
		t.Errorf("%+v, %v", got, err)
	}
	// More files than a message may carry end the connection.
	if err := writeMessage(ours, maxRequest, request{Op: "b"}, r, r, r, r, r, r, r, r); err != nil {
		t.Fatal(err)
	}
	extra, err := readMessageFiles(peer, maxRequest, &got)
	closeFiles(extra)
	if !errors.Is(err, errFrame) {
		t.Errorf("too many files: %v", err)
	}
}

// TestHostilePID1 gives a shim a pid 1 that says what no pid 1 says.
func TestHostilePID1(t *testing.T) {
	exits, err := appendMessage(nil, maxAnswer, initAnswer{Op: initExited, ID: 0, Code: 0})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"garbage", []byte("\xff\xff\xff\xffgarbage")},
		{"an endless message", append([]byte{0, 0, 0xff, 0xff}, bytes.Repeat([]byte(" "), 1<<16)...)},
		{"unknown processes", append([]byte{0, 0, 0, 26}, `{"op":"exited","id":99999}0000`[:26]...)},
		{"the command's end, which is not a message's to tell", append(exits, 0, 0, 0, 0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command("sleep", "1000")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
			if err != nil {
				t.Fatal(err)
			}
			pidfd := os.NewFile(uintptr(fd), "pidfd")
			defer pidfd.Close()
			ours, theirs, err := socketPair()
			if err != nil {
				t.Fatal(err)
			}
			peer, err := fileConn(theirs)
			if err != nil {
				t.Fatal(err)
			}
			command, err := newProcess(0, false, false, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			s := &server{
				init:  &initProcess{pid: cmd.Process.Pid, pidfd: pidfd, conn: ours},
				procs: map[int]*process{0: command}, drains: map[int]func(){0: command.run()},
				ready: make(chan error, 1), read: make(chan struct{}),
			}
			go func() {
				peer.Write(c.b)
				peer.Close()
			}()
			s.readInit()
			if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(interface{ Signaled() bool }).Signaled() != true {
				t.Errorf("pid 1 was let live: %v", err)
			}
			select {
			case <-command.ended:
				t.Error("the command ended by a message")
			default:
			}
			command.end(Exit{}, s.drains[0])
		})
	}
}

func TestErrorsOverTheWire(t *testing.T) {
	for _, sentinel := range kinds {
		err := fromWire(toWire(errors.Join(errors.New("x"), sentinel)))
		if !errors.Is(err, sentinel) {
			t.Errorf("%v arrived as %v", sentinel, err)
		}
	}
	if err := fromWire(toWire(&StartError{Code: 126, Message: "m"})); !errors.Is(err, ErrPermission) || errors.Is(err, ErrNotFound) || err.Error() != "m" {
		t.Errorf("%v", err)
	}
	if err := fromWire(&wireError{Kind: "start", Code: -5, Message: "a\x1b[1mb\u202ec" + strings.Repeat("x", 5000)}); len(err.Error()) > 2100 || strings.ContainsAny(err.Error(), "\x1b\u202e") || err.(*StartError).Code != 128 {
		t.Errorf("%q", err)
	}
	if toWire(nil) != nil || fromWire(nil) != nil {
		t.Error("nil is an error")
	}
}

func TestLogRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := openLog(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	l.maxSize = 1000
	l.now = func() time.Time { return time.Date(2024, 1, 2, 3, 4, 5, 600, time.FixedZone("", 3600)) }
	const entry = `{"log":"0123456789\n","stream":"stderr","time":"2024-01-02T02:04:05.0000006Z"}` + "\n"
	for range 5 * 1000 / len(entry) {
		l.write(1, []byte("0123456789\n"))
	}
	l.close()
	var all string
	for _, suffix := range []string{".2", ".1", ""} {
		b, err := os.ReadFile(path + suffix)
		if err != nil || len(b) == 0 || len(b) > 1000 {
			t.Fatalf("log%s: %d bytes, %v", suffix, len(b), err)
		}
		all += string(b)
	}
	if strings.ReplaceAll(all, entry, "") != "" {
		t.Errorf("entries: %q", all)
	}
	if _, err := os.Stat(path + ".3"); err == nil {
		t.Error("more files than wanted")
	}
	// A log that is there already is continued.
	if l, err = openLog(path, nil); err != nil {
		t.Fatal(err)
	}
	before := l.size
	l.write(0, []byte("more\n"))
	l.close()
	if b, _ := os.ReadFile(path); int64(len(b)) != l.size || l.size <= before {
		t.Errorf("%d bytes, %d before", l.size, before)
	}
}

func TestLogPartialLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := openLog(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	l.write(0, []byte("a"))
	l.write(1, []byte("err\n"))
	l.write(0, []byte("b\nc"))
	l.write(0, bytes.Repeat([]byte("x"), 2*maxLine))
	l.write(0, []byte("\nend"))
	l.end(0)
	l.end(1)
	l.close()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(b)) {
		var e struct{ Log, Stream string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Stream+" "+e.Log)
	}
	want := []string{"stderr err\n", "stdout ab\n", "stdout c" + strings.Repeat("x", maxLine-1), "stdout " + strings.Repeat("x", maxLine), "stdout x\n", "stdout end"}
	if !slices.Equal(got, want) {
		t.Errorf("got %.300q", got)
	}
}

func TestLogIsNoSymlink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.Symlink("/dev/null", path); err != nil {
		t.Fatal(err)
	}
	if _, err := openLog(path, nil); !errors.Is(err, unix.ELOOP) {
		t.Errorf("%v", err)
	}
}

func TestAliases(t *testing.T) {
	mounts := parseMounts(`22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 8:1 /home/u /data rw - ext4 /dev/sda1 rw
24 22 0:30 / /run/user/1000 rw - tmpfs tmpfs rw
25 22 0:30 /footbridge/x /mnt/with\040space rw - tmpfs tmpfs rw
26 22 0:31 / /other rw - tmpfs tmpfs rw
27 22 0:30 / /again rw - tmpfs tmpfs rw
`)
	for path, want := range map[string][]string{
		"/home/u/.local":                {"/data/.local"},
		"/data/.local":                  {"/home/u/.local"},
		"/run/user/1000/footbridge":     {"/again/footbridge"},
		"/run/user/1000/footbridge/x/y": {"/mnt/with space/y", "/again/footbridge/x/y"},
		"/other":                        nil,
		"/etc":                          nil,
		"/home/user":                    nil,
	} {
		if got := aliases(mounts, path); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestAutoMapping(t *testing.T) {
	got := strings.Join(autoMapping(1000, []user.SubID{{SubID: 100000, Count: 65536}, {SubID: 0, Count: 5}, {SubID: 300000, Count: 10}}).args(), " ")
	if want := "0 1000 1 1 100000 65536 65537 300000 10"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSysctlPath(t *testing.T) {
	for name, want := range map[string]string{
		"net.ipv4.ip_forward":               "/proc/sys/net/ipv4/ip_forward",
		"net/ipv4/conf/eth0.5/accept_local": "/proc/sys/net/ipv4/conf/eth0.5/accept_local",
		"":                                  "", "../kernel": "", "net/../../etc": "", "net/": "", "/net": "", "a..b": "",
	} {
		got, err := sysctlPath(name)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v, want %q", name, got, err, want)
		}
	}
}

func TestRemedies(t *testing.T) {
	settings := func(kv ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(kv); i += 2 {
				if kv[i] == name {
					return kv[i+1]
				}
			}
			return ""
		}
	}
	for _, c := range []struct {
		err    error
		sysctl func(string) string
		want   string
	}{
		{unix.ENOSPC, settings("user.max_user_namespaces", "0"), "sysctl -w user.max_user_namespaces="},
		{unix.ENOSPC, settings("user.max_net_namespaces", "0"), "sysctl -w user.max_net_namespaces="},
		{unix.ENOSPC, settings("user.max_user_namespaces", "7"), "(now 7)"},
		{unix.EPERM, settings("kernel.unprivileged_userns_clone", "0"), "sysctl -w kernel.unprivileged_userns_clone=1"},
		{unix.EPERM, settings("kernel.apparmor_restrict_unprivileged_userns", "1"), "kernel.apparmor_restrict_unprivileged_userns=0"},
		{unix.EPERM, settings(), "security policy"},
		{unix.EUSERS, settings(), "nested too deep"},
		{unix.EINVAL, settings(), "CONFIG_USER_NS"},
	} {
		if got := remedyFor(c.err, c.sysctl); !strings.Contains(got, c.want) {
			t.Errorf("%v: %q, want %q in it", c.err, got, c.want)
		}
	}
}

func TestOwnProcessesMayAsk(t *testing.T) {
	ours, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer theirs.Close()
	if !peerAllowed(ours) {
		t.Error("the user's own process is refused")
	}
}

func TestOutputIsWholeThoughOthersHoldThePipe(t *testing.T) {
	p, err := newProcess(1, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := pipe(true, true)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	o := p.outputs[0]
	o.attach(&sink{w: w, patience: time.Minute})
	const size = 50000 // less than a pipe holds
	if _, err := p.theirs[1].Write(bytes.Repeat([]byte("x"), size)); err != nil {
		t.Fatal(err)
	}
	o.stop() // the process ended; its end of the pipe is still open, in p.theirs
	o.pump()
	o.close()
	if b, err := io.ReadAll(r); err != nil || len(b) != size {
		t.Errorf("%d of %d bytes, %v", len(b), size, err)
	}
	p.close()
}
