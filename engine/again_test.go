package engine

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

func TestContainerRestart(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	id := e.testRun(t, spec{name: "c"})
	first := w.process(e, "c")
	if err := e.ContainerRestart(ctx, "c", api.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if in := e.testInspect(t, "c"); in.ID != id || !in.State.Running || w.process(e, "c") == first {
		t.Errorf("after a restart: %+v", in.State)
	}
	e.testStop(t, "c")
	if err := e.ContainerRestart(ctx, "c", api.StopOptions{}); err != nil || !e.testInspect(t, "c").State.Running {
		t.Errorf("restart of a stopped one: %v", err)
	}
	e.testRun(t, spec{name: "once", rm: true})
	if err := e.ContainerRestart(ctx, "once", api.StopOptions{}); !errdefs.IsConflict(err) || !e.testInspect(t, "once").State.Running {
		t.Errorf("restart of one with --rm: %v", err)
	}
}

func TestContainerRename(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	id := e.testRun(t, spec{name: "old"})
	e.testRun(t, spec{name: "taken"})
	if err := e.ContainerRename(ctx, "old", "new"); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("while it runs: %v", err)
	}
	e.testStop(t, "old")
	for name, is := range map[string]func(error) bool{"taken": errdefs.IsConflict, "old": errdefs.IsInvalidArgument, "a b": errdefs.IsInvalidArgument} {
		if err := e.ContainerRename(ctx, "old", name); !is(err) {
			t.Errorf("to %q: %v", name, err)
		}
	}
	if err := e.ContainerRename(ctx, "old", "new"); err != nil {
		t.Fatal(err)
	}
	if in := e.testInspect(t, "new"); in.ID != id || in.Name != "/new" {
		t.Errorf("renamed: %s %s", in.ID, in.Name)
	}
	if _, err := e.ContainerInspect(ctx, "old"); !errdefs.IsNotFound(err) {
		t.Errorf("by the old name: %v", err)
	}
}

func TestContainersPrune(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	e.testRun(t, spec{name: "runs"})
	ended := e.testRun(t, spec{name: "ended"})
	e.testStop(t, "ended")
	if report, err := e.ContainersPrune(ctx, api.Filters{"until": {"1h": true}}); err != nil || len(report.ContainersDeleted) != 0 {
		t.Errorf("of an hour ago: %+v, %v", report, err)
	}
	if report, err := e.ContainersPrune(ctx, nil); err != nil || !slices.Equal(report.ContainersDeleted, []string{ended}) {
		t.Errorf("pruned %+v, %v", report, err)
	}
	e.testInspect(t, "runs")
}

func TestParsePS(t *testing.T) {
	out := "UID   PID  PPID CMD\nme     10     1 sleep  100 s\nme     11     1 other\nme\n"
	top, err := parsePS(out, []int{10})
	if err != nil || len(top.Processes) != 1 || strings.Join(top.Processes[0], "|") != "me|10|1|sleep 100 s" {
		t.Errorf("%+v, %v", top, err)
	}
	if _, err := parsePS("CMD\nsleep\n", []int{10}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("without PID: %v", err)
	}
}

// What would be a false promise is refused, and what Docker's command line
// always sends is taken.
func TestRestrictions(t *testing.T) {
	e := newWorld(t).engine()
	for name, ask := range map[string]func(*container.HostConfig){
		"--read-only":        func(h *container.HostConfig) { h.ReadonlyRootfs = true },
		"--memory":           func(h *container.HostConfig) { h.Memory = 1 << 20 },
		"--cpus":             func(h *container.HostConfig) { h.NanoCPUs = 1e9 },
		"--pids-limit":       func(h *container.HostConfig) { h.PidsLimit = ptr(int64(5)) },
		"--device":           func(h *container.HostConfig) { h.Devices = []container.DeviceMapping{{}} },
		"--ulimit":           func(h *container.HostConfig) { h.Ulimits = []*container.Ulimit{{}} },
		"--oom-score-adj":    func(h *container.HostConfig) { h.OomScoreAdj = 5 },
		"--group-add":        func(h *container.HostConfig) { h.GroupAdd = []string{"audio"} },
		"--isolation":        func(h *container.HostConfig) { h.Isolation = "hyperv" },
		"no-new-privileges":  func(h *container.HostConfig) { h.SecurityOpt = []string{"no-new-privileges"} },
		"seccomp=p.json":     func(h *container.HostConfig) { h.SecurityOpt = []string{"seccomp=p.json"} },
		"--log-driver":       func(h *container.HostConfig) { h.LogConfig.Type = "journald" },
		"volumes and mounts": func(h *container.HostConfig) { h.Tmpfs = map[string]string{"/x": ""} },
	} {
		if _, err := e.testCreate(spec{host: ask}); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := e.testCreate(spec{cfg: func(c *container.Config) { c.Healthcheck = &container.HealthConfig{Test: []string{"CMD", "true"}} }})
	if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "--health-cmd") {
		t.Errorf("--health-cmd: %v", err)
	}
	res, err := e.ContainerCreate(context.Background(), "c", container.CreateRequest{
		Config: &container.Config{Cmd: []string{"true"}},
		HostConfig: &container.HostConfig{
			RestartPolicy: container.RestartPolicy{Name: "no"}, ShmSize: 64 << 20, SecurityOpt: []string{"seccomp=unconfined", "no-new-privileges:false"},
			Resources: container.Resources{MemorySwappiness: ptr(int64(-1)), OomKillDisable: ptr(false), PidsLimit: ptr(int64(0))},
		},
	})
	if err != nil || len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "/dev/shm") {
		t.Errorf("harmless ones: %v, %v", res.Warnings, err)
	}
}

func TestInspectSaysWhatHolds(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testRun(t, spec{name: "c"})
	e.testRun(t, spec{name: "named", cfg: func(c *container.Config) { c.Image = "debian" }})
	in := e.testInspect(t, "c")
	h := in.HostConfig
	if in.Config.Image != "host" || h.RestartPolicy.Name != "no" || h.LogConfig.Type != "json-file" || h.IpcMode != "private" ||
		h.NetworkMode != "bridge" || h.DNS == nil || h.DNSOptions == nil || h.DNSSearch == nil || in.Config.Env == nil {
		t.Errorf("config %+v, host %+v", in.Config, h)
	}
	for image, want := range map[string]string{"host": "/c", "debian": "/named"} {
		list, err := e.ContainerList(context.Background(), api.ListOptions{Filters: api.Filters{"ancestor": {image: true}}})
		if err != nil || len(list) != 1 || list[0].Names[0] != want || list[0].Image != image {
			t.Errorf("ancestor=%s: %+v, %v", image, list, err)
		}
	}
	info, err := e.Info(context.Background())
	if err != nil || info.MemTotal <= 0 || len(info.ID) != 64 || info.Architecture == "amd64" {
		t.Errorf("info %+v, %v", info, err)
	}
}

func TestNetworkOptionsAndSubnets(t *testing.T) {
	e := newWorld(t).engine()
	ctx := context.Background()
	_, err := e.NetworkCreate(ctx, network.CreateRequest{Name: "n", Options: map[string]string{"foo": "bar"}})
	for _, known := range []string{optMTU, optHostBinding4, optICC, optGatewayMode4, limitPrefix} {
		if err == nil || !strings.Contains(err.Error(), known) {
			t.Errorf("unknown option: %v, want %s named", err, known)
		}
	}
	res, err := e.NetworkCreate(ctx, network.CreateRequest{Name: "n", Options: map[string]string{optBridgeName: "br0"}})
	if err != nil || !strings.Contains(res.Warning, "discarded") {
		t.Errorf("name of the bridge: %+v, %v", res, err)
	}
	for _, text := range []string{"fe80::/64", "169.254.0.0/16"} {
		if _, err := e.NetworkCreate(ctx, network.CreateRequest{Name: "m", IPAM: subnet(text)}); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "link-local") {
			t.Errorf("--subnet %s: %v", text, err)
		}
	}
}

// An exec whose container ends before it is started has ended with it.
func TestExecThatComesTooLate(t *testing.T) {
	e := newWorld(t).engine()
	ctx := context.Background()
	e.testRun(t, spec{name: "c"})
	x, err := e.ExecCreate(ctx, "c", container.ExecCreateRequest{Cmd: []string{"say"}, AttachStdout: true})
	if err != nil {
		t.Fatal(err)
	}
	e.testStop(t, "c")
	if _, err := e.ExecStart(ctx, x.ID, container.ExecStartRequest{}); !errdefs.IsConflict(err) {
		t.Errorf("start: %v", err)
	}
	if in, err := e.ExecInspect(ctx, x.ID); err != nil || in.Running || in.ExitCode == nil || *in.ExitCode != 137 {
		t.Errorf("inspect: %+v, %v", in, err)
	}
}
