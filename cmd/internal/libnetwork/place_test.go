package libnetwork

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/engine/foreign"
)

// environment is a runtime folder of the user's and nothing else.
func environment(dir string) func(string) string {
	return func(key string) string {
		if key == "XDG_RUNTIME_DIR" {
			return dir
		}
		return ""
	}
}

func TestDockerdIsFound(t *testing.T) {
	write := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	own := fmt.Sprint(os.Getpid())
	for _, tt := range []struct {
		name   string
		files  map[string]string
		option PlaceOptions
		fails  string
	}{
		{name: "by RootlessKit's folder", files: map[string]string{"dockerd-rootless/child_pid": own}},
		{name: "by another folder of RootlessKit's", files: map[string]string{"elsewhere/child_pid": own + "\n"}, option: PlaceOptions{StateDir: "elsewhere"}},
		{name: "by dockerd's own file", files: map[string]string{"docker.pid": own}},
		{name: "by its number", option: PlaceOptions{PID: os.Getpid()}},
		{name: "by nothing", fails: "dockerd without root was not found"},
		{name: "by a file with something else", files: map[string]string{"docker.pid": "nobody"}, fails: "holds no number"},
		{name: "by a number of nobody", option: PlaceOptions{PID: 1 << 29}, fails: "no such process"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for path, text := range tt.files {
				write(t, filepath.Join(dir, path), text)
			}
			tt.option.Getenv = environment(dir)
			if tt.option.StateDir != "" {
				tt.option.StateDir = filepath.Join(dir, tt.option.StateDir)
			}
			p, err := FindPlace(tt.option)
			switch {
			case tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)):
				t.Errorf("%v; want %q", err, tt.fails)
			case tt.fails == "" && err != nil:
				t.Error(err)
			case tt.fails == "" && (p.Process.PID != os.Getpid() || p.network() != "/proc/"+own+"/ns/net"):
				t.Errorf("found %+v with the network %s", p, p.network())
			}
		})
	}
}

func TestTheSocketIsWhereDockerdSeesIt(t *testing.T) {
	self, err := foreign.Find(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	p := Place{Process: self}
	path := filepath.Join(t.TempDir(), "plugins", "footbridge.sock")
	l, err := p.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", st, err)
	}
	if _, err := p.Listen(path); err == nil || !strings.Contains(err.Error(), "another program listens") {
		t.Errorf("a second one: %v", err)
	}
	_, s, _ := newDriver(t)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	r, err := client.Post("http://plugin/Plugin.Activate", mediaType, nil)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", r, err)
	}
	r.Body.Close()
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
	// One that a killed plugin has left is no obstacle; anything else is.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	if l, err = p.Listen(path); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Listen(path); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file is there: %v", err)
	}
	if _, err := p.Listen("footbridge.sock"); err == nil || !strings.Contains(err.Error(), "absolute") {
		t.Errorf("a relative path: %v", err)
	}
}

func TestTheEndOfDockerdIsNoticed(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	process, err := foreign.Find(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- Place{Process: process}.Await(ctx) }()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err := <-ended; !errors.Is(err, foreign.ErrGone) {
		t.Errorf("it ended with %v, want ErrGone", err)
	}
	if err := (Place{Process: process}).Await(ctx); !errors.Is(err, foreign.ErrGone) {
		t.Errorf("asked afterwards: %v, want ErrGone", err)
	}
}
