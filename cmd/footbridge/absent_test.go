package main

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/spf13/pflag"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/internal/absent"
)

func TestAbsentFlagsAreRefusedAsByTheAPI(t *testing.T) {
	w := newWorld(t)
	for args, want := range map[string]string{
		"-v /a:/b":                               "footbridge: --volume: " + absent.Mounts,
		"--mount type=tmpfs,target=/x":           "footbridge: --mount: " + absent.Mounts,
		"--tmpfs /x":                             absent.Mounts,
		"-m 512m":                                absent.MemoryLimits,
		"--memory=512m --cpus 0.5":               absent.MemoryLimits, // the first that was asked for
		"--cpus=0.5":                             absent.CPULimits,
		"--restart always":                       `restart policy "always" is not available`,
		"--read-only":                            absent.ReadOnlyRoot,
		"--ulimit nofile=5":                      absent.ResourceLimits,
		"--device /dev/x --gpus all":             absent.Devices,
		"--entrypoint sh":                        absent.Entrypoint,
		"--pull always":                          `--pull: pull policy "always" is not available`,
		"--platform linux/pdp11":                 `--platform: platform "linux/pdp11" is not available`,
		"-a stdout":                              absent.Attach,
		"--security-opt no-new-privileges":       `security option "no-new-privileges"`,
		"--pid host":                             `PID mode "host"`,
		"--health-cmd true":                      absent.HealthChecks,
		"--memory 0 --pids-limit 5":              absent.ProcessLimit,
		"--log-driver none --log-opt x=y":        absent.LogDrivers,
		"--read-only=maybe":                      `invalid argument "maybe"`,
		"--name x --oom-score-adj 5 -e A=b":      absent.OOMScore,
		"--isolation default --cgroupns=private": absent.CgroupNS,
	} {
		for _, command := range []string{"run", "create", "container run"} {
			w.expect(t, exitUsage, append(strings.Fields(command+" "+args), "true")...)
			if said := w.err.String(); !strings.Contains(said, want) || w.out.Len() > 0 {
				t.Errorf("%s %s: said %q, want %q", command, args, said, want)
			}
		}
	}
	w.expect(t, 0, "run", "--help")
	if help := w.out.String(); strings.Contains(help, "--memory") || strings.Contains(help, "--volume") {
		t.Errorf("the help offers what is not there: %s", help)
	}
	if _, err := os.Stat(w.getenv("XDG_RUNTIME_DIR")); err == nil {
		t.Error("a refused command has started a daemon")
	}
}

// creator is a daemon's engine that makes containers that do not start.
type creator struct {
	api.Backend
	asked []container.CreateRequest
	start error
}

func (*creator) Ping(context.Context) error { return nil }

func (p *creator) ContainerCreate(_ context.Context, _ string, req container.CreateRequest) (container.CreateResponse, error) {
	p.asked = append(p.asked, req)
	return container.CreateResponse{ID: "1"}, nil
}

func (p *creator) ContainerStart(context.Context, string) error { return p.start }

func (*creator) ContainerRemove(context.Context, string, api.RemoveOptions) error { return nil }

func TestWhatIsSoAnyhowMayBeAskedFor(t *testing.T) {
	w := newWorld(t)
	p := &creator{}
	w.serveBackend(t, p)
	w.expect(t, 0, strings.Fields("create --init --no-healthcheck --restart no --read-only=false --security-opt seccomp=unconfined "+
		"-q --pull missing --pull never --platform linux --disable-content-trust --log-driver json-file --memory 0 --memory-swap -1 --ipc private --cgroupns host --isolation default --annotation a=b true")...)
	if len(p.asked) != 1 || p.asked[0].HostConfig.Annotations["a"] != "b" {
		t.Errorf("asked for %+v", p.asked)
	}
}

func TestAnImageInPlaceOfTheCommandIsExplained(t *testing.T) {
	w := newWorld(t)
	p := &creator{start: api.Errorf(api.ErrCommandNotFound, `failed to create task: exec: "alpine": executable file not found in $PATH: unknown`)}
	w.serveBackend(t, p)
	const hint = "footbridge has no images"
	w.expect(t, exitNotFound, "run", "-d", "alpine", "sh")
	said := w.err.String()
	if docker := strings.Index(said, `exec: "alpine": executable file not found in $PATH`); docker < 0 || strings.Index(said, hint) < docker ||
		!strings.Contains(said, `"alpine", is the command`) {
		t.Errorf("said %q", said)
	}
	for _, path := range []string{"/no/such", "./no-such"} {
		w.expect(t, exitNotFound, "run", "-d", path)
		if strings.Contains(w.err.String(), hint) {
			t.Errorf("%s: said %q", path, w.err.String())
		}
	}
	p.start = api.Errorf(api.ErrCommandNotFound, `failed to create task: chdir to cwd ("/nope") set by the working directory option failed: no such file or directory`)
	w.expect(t, exitNotFound, "run", "-w", "/nope", "-d", "pwd")
	if strings.Contains(w.err.String(), hint) {
		t.Errorf("a folder that is not there: said %q", w.err.String())
	}
	p.start = api.Errorf(errdefs.ErrInvalidArgument, "no")
	w.expect(t, exitUsage, "run", "-d", "alpine")
	if strings.Contains(w.err.String(), hint) {
		t.Errorf("another error: said %q", w.err.String())
	}
}

func TestAbsentCommandsAreRefused(t *testing.T) {
	w := newWorld(t)
	for args, want := range map[string]string{
		"images":                 absent.Images,
		"pull alpine":            absent.Images,
		"image ls -q":            absent.Images,
		"build -t x --pull .":    absent.Build,
		"cp a:/x y":              absent.Files,
		"stats":                  absent.Cgroups,
		"container stats --help": absent.Cgroups,
		"container pause x":      absent.Pause,
		"diff x":                 absent.Changes,
		"volume ls":              absent.Volumes,
		"system prune -f":        absent.System,
		"info":                   absent.Info,
		"login -u x":             absent.Login,
		"compose up -d":          absent.Compose,
		"swarm init":             absent.Swarm,
	} {
		w.expect(t, exitFailure, strings.Fields(args)...)
		if said := w.err.String(); said != "footbridge: "+want+"\n" || w.out.Len() > 0 {
			t.Errorf("%s: said %q, want %q", args, said, want)
		}
	}
	for _, table := range []map[string][]string{absentCommands, absentOfContainers} {
		for _, names := range table {
			for _, name := range names {
				w.expect(t, exitFailure, name)
				if said := w.err.String(); strings.Contains(said, "unknown command") || strings.Contains(said, "Did you mean") {
					t.Errorf("%s: said %q", name, said)
				}
			}
		}
	}
	w.expect(t, 0, "--help")
	if help := w.out.String(); strings.Contains(help, "images") || strings.Contains(help, "pause") {
		t.Errorf("the help offers what is not there: %s", help)
	}
}

// TestAllOfDockersFlagsAreKnown asks the docker command, where there is one, for its flags.
func TestAllOfDockersFlagsAreKnown(t *testing.T) {
	known := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(runFlags).register(known)
	listed := strings.Fields("volume memory cpus restart read-only init entrypoint pull security-opt link-local-ip mount tmpfs ulimit device gpus privileged")
	if docker, err := exec.LookPath("docker"); err == nil {
		for _, command := range []string{"run", "create"} {
			out, err := exec.CommandContext(t.Context(), docker, command, "--help").Output()
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^ +(?:-., )?--([a-z0-9-]+)`).FindAllStringSubmatch(string(out), -1) {
				listed = append(listed, m[1])
			}
		}
	}
	own := strings.Fields("help cidfile detach detach-keys sig-proxy") // of run and create themselves
	for _, name := range listed {
		if known.Lookup(name) == nil && !strings.Contains(" "+strings.Join(own, " ")+" ", " "+name+" ") {
			t.Errorf("--%s is unknown: it is Docker's, so it is done or refused with a reason", name)
		}
	}
}

// oneNetwork is a daemon's engine with one network.
type oneNetwork struct {
	api.Backend
	err error
}

func (*oneNetwork) Ping(context.Context) error { return nil }

func (n *oneNetwork) NetworkInspect(_ context.Context, name string, _ api.NetworkInspectOptions) (network.Inspect, error) {
	if n.err == nil && name != "n" {
		return network.Inspect{}, api.Errorf(errdefs.ErrNotFound, "network %s not found", name)
	}
	return network.Inspect{}, n.err
}

func TestNetworkExists(t *testing.T) {
	w := newWorld(t)
	n := &oneNetwork{}
	w.serveBackend(t, n)
	for name, code := range map[string]int{"n": 0, "m": 1} {
		w.expect(t, code, "network", "exists", name)
		if w.out.Len() > 0 || w.err.Len() > 0 {
			t.Errorf("%s: printed %q, said %q", name, w.out.String(), w.err.String())
		}
	}
	n.err = api.Errorf(errdefs.ErrInternal, "the sky fell")
	w.expect(t, exitUsage, "network", "exists", "n")
	if !strings.Contains(w.err.String(), "the sky fell") {
		t.Errorf("said %q", w.err.String())
	}
}
