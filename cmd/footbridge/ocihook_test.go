package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/internal/ocihook"
)

// networked is a configuration with a network namespace.
func networked(t testing.TB) ocihook.Config {
	var c ocihook.Config
	if err := json.Unmarshal([]byte(`{"hostname":"box","linux":{"namespaces":[{"type":"network"}]}}`), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// annotated is a state of this process with annotations of footbridge's.
func annotated(annotations map[string]string) ocihook.State {
	s := ocihook.State{ID: "web", PID: os.Getpid(), Bundle: "/b", Annotations: map[string]string{}}
	for key, value := range annotations {
		s.Annotations[ocihook.Prefix+key] = value
	}
	return s
}

func TestAnnotationsSayWhatFlagsSay(t *testing.T) {
	_, err := hookRequest(annotated(map[string]string{
		"network": "n,alias=one m", "ip": "10.0.0.7", "mac-address": "02:00:00:00:00:07", "network-alias": "two",
		"publish": "8000:80 53:53/udp", "expose": "81-82", "publish-all": "true", "dns": "1.1.1.1 9.9.9.9", "label.of": "a bundle",
		"add-host": "db:192.0.2.7", "dns-search": "example.org", "dns-option": "timeout:3",
	}), networked(t))
	if err == nil {
		t.Error("aliases of two kinds are no conflict") // as with attach
	}
	req, err := hookRequest(annotated(map[string]string{
		"network": "n m,alias=one", "ip": "10.0.0.7", "mac-address": "02:00:00:00:00:07", "network-alias": "two three,four",
		"publish": "8000:80 53:53/udp", "expose": "81-82", "publish-all": "true", "dns": "1.1.1.1 9.9.9.9", "label.of": "a bundle",
		"add-host": "db:192.0.2.7", "dns-search": "example.org", "dns-option": "timeout:3",
	}), networked(t))
	if err != nil {
		t.Fatal(err)
	}
	n, m := req.NetworkingConfig.EndpointsConfig["n"], req.NetworkingConfig.EndpointsConfig["m"]
	for what, c := range map[string]struct{ got, want any }{
		"name":    {req.Name + " " + req.Config.Hostname, "web box"},
		"process": {req.PID, os.Getpid()},
		"mode":    {string(req.HostConfig.NetworkMode), "n"},
		"address": {n.IPAMConfig.IPv4Address, netip.MustParseAddr("10.0.0.7")},
		"mac":     {n.MacAddress.String(), "02:00:00:00:00:07"},
		"aliases": {fmt.Sprint(n.Aliases, m.Aliases), "[two three four] [one]"},
		"ports":   {len(req.Config.ExposedPorts), 4},
		"bound":   {len(req.HostConfig.PortBindings), 2},
		"all":     {req.HostConfig.PublishAllPorts, true},
		"servers": {fmt.Sprint(req.HostConfig.DNS), "[1.1.1.1 9.9.9.9]"},
		"files":   {fmt.Sprint(req.HostConfig.ExtraHosts, req.HostConfig.DNSSearch, req.HostConfig.DNSOptions), "[db:192.0.2.7] [example.org] [timeout:3]"},
		"labels": {req.Config.Labels, map[string]string{"of": "a bundle", labelHookID: "web", labelHookBundle: "/b",
			labelHookPID: strconv.Itoa(os.Getpid())}},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %v, want %v", what, c.got, c.want)
		}
	}
	if req.PIDStart == 0 {
		t.Error("the process may be another one by the time")
	}

	req, err = hookRequest(annotated(map[string]string{"name": "other", "hostname": "there"}), networked(t))
	if err != nil || req.Name != "other" || req.Config.Hostname != "there" || string(req.HostConfig.NetworkMode) != "default" {
		t.Errorf("%+v, %v", req, err)
	}
	for id, want := range map[string]string{"web-1": "web-1", strings.Repeat("0a", 32): "", "a": "", "a b": "", "-a": "", "ü": ""} {
		s := annotated(nil)
		s.ID = id
		if req, err := hookRequest(s, networked(t)); err != nil || req.Name != want {
			t.Errorf("container %q is called %q, want %q: %v", id, req.Name, want, err)
		}
	}
}

func TestBadAnnotationsAreRefusedByTheirName(t *testing.T) {
	for name, value := range map[string]string{
		"network": "n,ip=x", "add-host": "x", "dns": "x", "dns-search": "a b/", "publish-all": "x", "label. ": "x", "label.com.footbridge.oci.id": "x", "exit-fd": "3", "pid": "1",
	} {
		_, err := hookRequest(annotated(map[string]string{name: value}), networked(t))
		if err == nil || !strings.Contains(err.Error(), "annotation "+ocihook.Prefix+name) || strings.Contains(err.Error(), "--") {
			t.Errorf("%s %s: %v", name, value, err)
		}
	}
	for name, c := range map[string]struct{ value, want string }{
		"ip": {"10.0.0", "IP address is not correctly formatted: 10.0.0"}, "publish": {"x", "invalid containerPort"}, "mac-address": {"x", "not a valid mac address"},
		"expose": {"x", "invalid range format"},
	} {
		if _, err := hookRequest(annotated(map[string]string{name: c.value}), networked(t)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v", name, c.value, err)
		}
	}
	if _, err := hookRequest(annotated(nil), ocihook.Config{}); err == nil || !strings.Contains(err.Error(), "no network namespace of its own") {
		t.Errorf("no namespace: %v", err)
	}
	s := annotated(nil)
	s.PID = 0
	if _, err := hookRequest(s, networked(t)); err == nil || !strings.Contains(err.Error(), "no process") {
		t.Errorf("no process: %v", err)
	}
}

// Whatever the annotations: a request for networks and nothing else, or an error.
func FuzzHookRequest(f *testing.F) {
	for _, name := range ocihook.Names() {
		f.Add("web", name, "n,ip=10.0.0.1 8000:80/udp a:1.2.3.4 true ")
	}
	f.Add("\x00", "label.x", "\n")
	f.Fuzz(func(t *testing.T, id, name, value string) {
		s := annotated(map[string]string{name: value})
		s.ID = id
		req, err := hookRequest(s, networked(t))
		if err != nil {
			return
		}
		if req.PID != os.Getpid() || req.NetNS != "" || req.Holder != nil || req.Config.Labels[labelHookID] != id || len(req.Config.Cmd) > 0 || req.HostConfig.Privileged {
			t.Errorf("%q %q %q: %+v", id, name, value, req)
		}
	})
}

// hookBackend is a daemon that attaches whatever it is asked to.
type hookBackend struct {
	*fakeBackend
	mu       sync.Mutex
	attached []api.NamespaceRequest
	detached []string
	asked    []api.ListOptions
}

func (b *hookBackend) NamespaceAttach(_ context.Context, req api.NamespaceRequest) (container.CreateResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.attached = append(b.attached, req)
	return container.CreateResponse{ID: fakeID}, nil
}

func (b *hookBackend) NamespaceDetach(_ context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.detached = append(b.detached, name)
	return nil
}

func (b *hookBackend) ContainerList(_ context.Context, o api.ListOptions) ([]container.Summary, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, o)
	return b.summaries, nil
}

func (b *hookBackend) ContainerInspect(context.Context, string) (container.InspectResponse, error) {
	return container.InspectResponse{ID: fakeID, ResolvConfPath: "/r", HostsPath: "/h"}, nil
}

// bundle makes a bundle whose container has a network namespace, and returns its state.
func (w *world) bundle(t *testing.T, pid int, config string) string {
	t.Helper()
	dir := filepath.Join(w.folder, "bundle")
	if err := os.MkdirAll(filepath.Join(dir, "rootfs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"id":"web","status":"creating","pid":%d,"bundle":%q,"annotations":{"com.footbridge.network":"n"}}`, pid, dir)
}

// hook runs a hook.
func (w *world) hook(t *testing.T, code int, state string, args ...string) {
	t.Helper()
	file := filepath.Join(w.folder, "oci-state")
	if err := os.WriteFile(file, []byte(state), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w.cli.stdin = f
	w.expect(t, code, append([]string{hookCommandName}, args...)...)
}

const plainBundle = `{"linux":{"namespaces":[{"type":"network"}]}}`

func TestPoststopDetachesWhatHasEnded(t *testing.T) {
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	state := `{"id":"web","status":"stopped","bundle":"/b"}`
	for range 2 { // without a daemon, again and again
		w.hook(t, 0, state, stagePoststop)
		w.hook(t, 0, state)
	}
	if _, err := os.Stat(filepath.Join(w.folder, "run")); !os.IsNotExist(err) {
		t.Errorf("it has made folders: %v", err)
	}
	b := &hookBackend{fakeBackend: &fakeBackend{}}
	b.summaries = []container.Summary{
		{ID: "ended", Labels: map[string]string{labelHookPID: strconv.Itoa(ended.Process.Pid)}},
		{ID: "lives", Labels: map[string]string{labelHookPID: strconv.Itoa(os.Getpid())}},
		{ID: "unknown"},
	}
	w.serveBackend(t, b)
	w.hook(t, 0, state, stagePoststop)
	if !slices.Equal(b.detached, []string{"ended", "unknown"}) {
		t.Errorf("detached %v", b.detached)
	}
	if want := []string{labelHookBundle + "=/b", labelHookID + "=web"}; len(b.asked) != 1 || !slices.Equal(b.asked[0].Filters.Values("label"), want) {
		t.Errorf("asked for %+v", b.asked)
	}
}

func TestTheHookAttachesTheNamespace(t *testing.T) {
	w := newWorld(t)
	b := &hookBackend{fakeBackend: &fakeBackend{}}
	w.serveBackend(t, b)
	state := w.bundle(t, os.Getpid(), plainBundle)
	for _, stage := range [][]string{{stageCreateRuntime}, {stagePrestart}, nil} {
		w.hook(t, 0, state, stage...)
	}
	if len(b.attached) != 3 || b.attached[0].Files {
		t.Fatalf("attached %+v", b.attached)
	}
	w.hook(t, exitFailure, w.bundle(t, os.Getpid(), `{}`), stageCreateRuntime)
	if text := w.err.String(); !strings.HasPrefix(text, "footbridge: container web: the container has no network namespace") {
		t.Errorf("said %q", text)
	}
	w.hook(t, exitFailure, w.bundle(t, 0, plainBundle), stageCreateRuntime)
	w.hook(t, exitFailure, strings.Replace(w.bundle(t, os.Getpid(), plainBundle), "com.footbridge.network", "com.footbridge.add-host", 1), stageCreateRuntime)
	w.hook(t, exitFailure, "{}", stageCreateRuntime)
	w.hook(t, exitFailure, state, "startContainer")
	w.hook(t, exitFailure, state, stageCreateContainer) // nobody waits for it
	if text := w.err.String(); !strings.Contains(text, "no createRuntime hook has prepared it") {
		t.Errorf("said %q", text)
	}
	if len(b.attached) != 3 {
		t.Errorf("attached %+v", b.attached[3:])
	}
}

// The usher serves a process below the container's, once, and is gone then; with its socket.
func TestTheUsherServesTheNextHook(t *testing.T) {
	w := newWorld(t)
	b := &hookBackend{fakeBackend: &fakeBackend{}}
	w.serveBackend(t, b)
	const config = `{"root":{"path":"rootfs"},"linux":{"namespaces":[{"type":"network"}]},"hooks":{"createContainer":[{"args":["footbridge","oci-hook"]}]}}`
	// Not below it: the test itself, but for the container of another process.
	other := exec.Command("sleep", "infinity")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = other.Process.Kill(), other.Wait() }()
	d, err := w.dirs()
	if err != nil {
		t.Fatal(err)
	}
	s := ocihook.State{ID: "web", Bundle: filepath.Join(w.folder, "bundle")}
	for _, c := range []struct {
		pid  int
		want string
	}{{other.Process.Pid, "does not answer"}, {os.Getpid(), "warning: the container has no mount namespace"}} {
		state := w.bundle(t, c.pid, config)
		w.hook(t, 0, state, stageCreateRuntime)
		next := exec.Command("/proc/self/exe", hookCommandName, stageCreateContainer)
		next.Env, next.Stdin = w.environ, strings.NewReader(state)
		text, err := next.CombinedOutput()
		if !strings.Contains(string(text), c.want) || (err == nil) != (c.pid == os.Getpid()) {
			t.Errorf("process %d: %v: %s", c.pid, err, text)
		}
		if c.pid != os.Getpid() { // it ends with the container's process
			if err := other.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = other.Wait()
		}
		for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			if _, err := os.Lstat(d.usher(s)); os.IsNotExist(err) {
				break
			}
			if time.Since(begin) > 20*time.Second {
				t.Fatal("waited 20 s for the usher to be gone")
			}
		}
	}
	if len(b.attached) != 2 || !b.attached[0].Files {
		t.Errorf("attached %+v", b.attached)
	}
	if dir, err := os.ReadDir(filepath.Join(s.Bundle, "rootfs", "etc")); err != nil || len(dir) != 2 {
		t.Errorf("no places were made: %v, %v", dir, err)
	}
}

func TestHooksArePrintedForThisProgram(t *testing.T) {
	w := newWorld(t)
	w.expect(t, 0, hookCommandName, "--print", "config")
	var bundle struct {
		Hooks map[string][]ocihook.Hook `json:"hooks"`
	}
	if err := json.Unmarshal(w.out.Bytes(), &bundle); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, stage := range []string{stageCreateRuntime, stageCreateContainer, stagePoststop} {
		h := bundle.Hooks[stage]
		if len(h) != 1 || h[0].Path != self || !slices.Equal(h[0].Args, []string{"footbridge", "oci-hook", stage}) || h[0].Timeout == 0 ||
			!slices.Contains(h[0].Env, "XDG_RUNTIME_DIR="+filepath.Join(w.folder, "run")) || slices.Contains(h[0].Env, asCommand+"=1") {
			t.Errorf("%s: %+v", stage, h)
		}
	}
	w.expect(t, 0, hookCommandName, "--print", "hooks.d")
	var file podmanHooks
	if err := json.Unmarshal(w.out.Bytes(), &file); err != nil || file.Version != "1.0.0" || len(file.Stages) != 3 || file.When.Annotations[`^com\.footbridge\.`] != ".*" {
		t.Errorf("%+v, %v", file, err)
	}
	w.expect(t, exitFailure, hookCommandName, "--print", "x")
	w.expect(t, exitFailure, hookCommandName, "--print", "config", stagePoststop)
}
