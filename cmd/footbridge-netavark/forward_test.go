package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
	"github.com/footbridge-net/footbridge/internal/netavark"
)

// helperVariable makes the test binary the port forwarder: its value is the folder of the
// socket, and the error that the daemon has for it.
const helperVariable = "FOOTBRIDGE_NETAVARK_TEST_FORWARDER"

func TestMain(m *testing.M) {
	if refusal, ok := os.LookupEnv(helperVariable); ok {
		d := newFake()
		d.containers["c-a"] = &fakeContainer{labels: map[string]string{netavark.LabelContainer: "a"}}
		if refusal != "" {
			d.fails["publish"] = errors.New(refusal)
		}
		p := &program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv,
			connect: func(context.Context, plugin.Options) (daemon, error) { return d, nil }}
		os.Exit(p.forward(context.Background()))
	}
	os.Exit(m.Run())
}

// startForwarder starts it as podman does, and returns what it printed when it has ended.
func startForwarder(t *testing.T, refusal string, conf netavark.PortConfig) (ready *os.File, exit *os.File, ended <-chan string) {
	t.Helper()
	input, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	exitR, exitW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	readyR, readyW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	proc, err := os.StartProcess("/proc/self/exe", []string{forwarderName}, &os.ProcAttr{
		Env: []string{helperVariable + "=" + refusal}, Files: []*os.File{inR, outW, os.Stderr, exitR, readyW},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{inR, outW, exitR, readyW} {
		f.Close()
	}
	if _, err := inW.Write(input); err != nil {
		t.Fatal(err)
	}
	inW.Close()
	said := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(outR)
		state, err := proc.Wait()
		if err != nil || state.ExitCode() != 0 {
			b = append(b, " failed"...)
		}
		said <- string(b)
	}()
	t.Cleanup(func() { exitW.Close(); _ = proc.Kill() })
	_ = readyR.SetReadDeadline(time.Now().Add(20 * time.Second))
	return readyR, exitW, said
}

func portConfig(dir string) netavark.PortConfig {
	return netavark.PortConfig{
		Mappings: []netavark.PortMapping{{HostPort: 8000, ContainerPort: 80, Range: 1, Protocol: "tcp"}},
		ExitFD:   3, ReadyFD: 4, TmpDir: dir, ContainerID: "a", RootlessCNI: true,
	}
}

// ask is podman's message after a change of networks.
func ask(t *testing.T, path, message string) string {
	t.Helper()
	conn, err := net.Dial("unixpacket", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, message); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestThePortForwarder(t *testing.T) {
	dir := t.TempDir()
	conf := portConfig(dir)
	ready, exit, ended := startForwarder(t, "", conf)
	b := make([]byte, 2)
	if n, err := ready.Read(b); n != 1 || b[0] != '1' || err != nil {
		t.Fatalf("%q, %v", b[:n], err)
	}
	if n, err := ready.Read(b); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("the descriptor was not closed: %q, %v", b[:n], err)
	}
	if got := ask(t, conf.Socket(), `"10.0.0.2"`+"\n"); got != "OK" {
		t.Errorf("after a change: %q", got)
	}
	if got := ask(t, conf.Socket(), `{`); !strings.Contains(got, "not a JSON string") {
		t.Errorf("a message that is none: %q", got)
	}
	exit.Close()
	if said := <-ended; said != "" {
		t.Errorf("it ended with %q", said)
	}
	if _, err := os.Stat(conf.Socket()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its socket is still there: %v", err)
	}
}

func TestThePortForwarderIsRefused(t *testing.T) {
	conf := portConfig(t.TempDir())
	ready, _, ended := startForwarder(t, "the port is taken", conf)
	if said := <-ended; said != "the port is taken\n failed" {
		t.Errorf("it ended with %q", said)
	}
	if b, err := io.ReadAll(ready); len(b) > 0 || err != nil {
		t.Errorf("it said that it was ready: %q, %v", b, err)
	}
}

// The next forwarder of a container may be there before the last one has gone.
func TestTheSocketOfTheNextForwarderStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("long", 20), strings.Repeat("x", 64))
	_, first, err := listenPacket(path)
	if err != nil {
		t.Fatal(err)
	}
	_, second, err := listenPacket(path)
	if err != nil {
		t.Fatal(err)
	}
	first()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the first has removed the second's: %v", err)
	}
	second()
	if _, err := os.Stat(path); err == nil {
		t.Error("the second has left its own")
	}
}

func TestPodmansOwnForwarderIsFound(t *testing.T) {
	ours, podmans := t.TempDir(), t.TempDir()
	if err := os.Symlink("/proc/self/exe", filepath.Join(ours, forwarderName)); err != nil {
		t.Fatal(err)
	}
	if _, err := ownForwarder([]string{ours}); err == nil {
		t.Error("it would start itself, again and again")
	}
	want := filepath.Join(podmans, forwarderName)
	if err := os.WriteFile(want, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := ownForwarder([]string{"/nowhere", ours, podmans}); got != want || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	f, err := again([]byte("input"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); !bytes.Equal(b, []byte("input")) || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}
