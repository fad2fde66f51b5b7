package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/footbridge-net/footbridge/tests/world"
)

func init() { parts = append(parts, dockerCLI) }

// Docker's own command line speaks to footbridge's socket instead of dockerd's. What it prints beside dockerd's is what
// tests/conformance compares; here is what a user types, with each of Docker's commands that this machine has.
var dockerCLI = part{
	name:     "docker",
	packages: []string{"docker.io"},
	programs: []program{
		{name: "docker", version: []string{"docker", "--version"}},
		{name: "docker", version: []string{"/usr/bin/docker", "--version"}, optional: true},
	},
	cells: []cell{
		{feature: "version, info, DOCKER_HOST and contexts", run: eachDocker(dockerEndpoint)},
		{feature: "API versions, the oldest to the newest", run: eachDocker(dockerVersions)},
		{feature: "network ls, create, inspect, connect, disconnect, rm, prune", run: eachDocker(dockerNetworks)},
		{feature: "run, ps, inspect and port, with formats and filters", run: eachDocker(dockerLists)},
		{feature: "exec, in a terminal and with exit codes", run: eachDocker(dockerExec)},
		{feature: "logs, attach, wait, top, kill, stop, restart, rename, rm", run: eachDocker(dockerLife)},
		{feature: "events", run: eachDocker(dockerEvents)},
		{feature: "a published port, and names", run: eachDocker(dockerTraffic)},
		{feature: "what is not there is refused with a sentence", run: eachDocker(dockerAbsent)},
		{feature: "Docker's Go library", run: dockerLibrary},
		{feature: "docs/integrations.md does what it shows", run: func(s *stage) error {
			return s.page("integrations.md", "Docker's command and libraries")
		}},
	},
}

// dockerCommands are Docker's commands of this machine, each once: a newer one may stand before Debian's.
var dockerCommands = []string{"/usr/local/bin/docker", "/usr/bin/docker"}

// eachDocker is a cell that runs once with each of Docker's commands, from nothing.
func eachDocker(run func(d command) error) func(*stage) error {
	return func(s *stage) error {
		some := false
		for _, path := range dockerCommands {
			if s.user.look("test", "-x", path).Code != 0 {
				continue
			}
			some = true
			s.footbridge("network", "ls") // by which the daemon runs
			d := command{s, path, s.user.with("DOCKER_HOST=unix://"+world.RuntimeDir+"/footbridge/footbridge.sock", "DOCKER_CONFIG="+s.folder("docker-config"))}
			d.removeAll()
			d.run("network", "prune", "-f")
			if err := run(d); err != nil {
				return fmt.Errorf("%s (%s): %w", path, d.run("--version"), err)
			}
		}
		if !some {
			return leftOut("docker is in neither of %s", strings.Join(dockerCommands, ", "))
		}
		return nil
	}
}

func dockerEndpoint(d command) error {
	d.s.mustHold(d.run("version"), "Server: footbridge", "minimum version 1.24")
	d.s.mustHold(d.run("info"), "Swarm: inactive", "rootless", "Network: bridge host null", "Storage Driver: host")
	d.s.mustHold(d.run("info", "-f", "{{json .}}"), `"LocalNodeState":"inactive"`)
	host := "unix://" + world.RuntimeDir + "/footbridge/footbridge.sock"
	// A variable that is set, and be it to nothing, is in front of contexts.
	d.user = d.s.user.with("DOCKER_CONFIG=" + d.s.folder("docker-config"))
	d.user.look(d.path, "context", "rm", "-f", "bridge-of-mine")
	d.run("context", "create", "bridge-of-mine", "--docker", "host="+host)
	d.s.mustHold(d.run("--context", "bridge-of-mine", "network", "ls"), "bridge", "host", "none")
	d.run("context", "use", "bridge-of-mine")
	d.s.mustHold(d.run("network", "ls"), "bridge", "host", "none")
	d.run("context", "use", "default")
	d.s.mustHold(d.run("-H", host, "network", "ls"), "bridge", "host", "none")
	d.run("context", "rm", "bridge-of-mine")
	return nil
}

func dockerVersions(d command) error {
	for _, v := range []string{"1.24", "1.30", "1.40", "1.41", "1.43", "1.44", "1.48", "1.50", "1.52", "1.56"} {
		old := d
		old.user = d.user.with("DOCKER_API_VERSION=" + v)
		old.run("network", "create", "n")
		old.run("run", "-d", "--name", "c1", "--network", "n", "busybox", "sleep", "1000")
		old.s.mustHold(old.run("ps"), "c1", "Up ")
		old.is("n", "inspect", "-f", "{{range $k, $v := .NetworkSettings.Networks}}{{$k}}{{end}}", "c1")
		old.is("c1", "network", "inspect", "-f", "{{range .Containers}}{{.Name}}{{end}}", "n")
		old.ends(7, "exec", "c1", "sh", "-c", "exit 7")
		old.run("rm", "-f", "c1")
		old.run("network", "rm", "n")
	}
	for v, phrase := range map[string]string{"1.23": "too old", "1.57": "too new"} {
		odd := d
		odd.user = d.user.with("DOCKER_API_VERSION=" + v)
		if said := odd.refuse("network", "ls"); !strings.Contains(said, phrase) || strings.Contains(said, `{"message"`) {
			return fmt.Errorf("version %s: %s", v, said)
		}
	}
	return nil
}

func dockerNetworks(d command) error {
	s := d.s
	id := d.run("network", "create", "--subnet", "10.80.0.0/24", "--ipv6", "--subnet", "fd80::/64", "--label", "mine=yes", "n")
	d.run("network", "create", "--internal", "m")
	d.is(id[:12]+" n bridge mine=yes", "network", "ls", "--filter", "label=mine", "--format", "{{.ID}} {{.Name}} {{.Driver}} {{.Labels}}")
	d.is(id, "network", "ls", "-q", "--no-trunc", "--filter", "name=^n$")
	d.is("n 10.80.0.0/24 fd80::/64 true", "network", "inspect", "-f", "{{.Name}} {{(index .IPAM.Config 0).Subnet}} {{(index .IPAM.Config 1).Subnet}} {{.EnableIPv6}}", id[:6])
	d.run("create", "--name", "c1", "busybox", "sleep", "1000")
	d.run("network", "connect", "--ip", "10.80.0.77", "--ip6", "fd80::77", "--alias", "web", "n", "c1")
	d.run("start", "c1")
	d.run("network", "connect", "m", "c1")
	d.is("10.80.0.77 fd80::77", "inspect", "-f", "{{.NetworkSettings.Networks.n.IPAddress}} {{.NetworkSettings.Networks.n.GlobalIPv6Address}}", "c1")
	s.mustHold(d.run("exec", "c1", "ip", "addr"), "eth0", "eth1", "eth2", "10.80.0.77/24", "fd80::77/64")
	d.run("network", "disconnect", "m", "c1")
	s.mustHold(d.refuse("network", "disconnect", "m", "c1"), "is not connected to network m")
	s.mustHold(d.refuse("network", "connect", "n", "c1"), "already exists in network n")
	s.mustHold(d.refuse("network", "rm", "n"), "has active endpoints", "c1")
	s.mustHold(d.refuse("network", "rm", "bridge"), "bridge")
	s.mustHold(d.refuse("network", "create", "n"), "already exists")
	s.mustHold(d.refuse("network", "create", "-d", "overlay", "o"), "overlay", "footbridge has the driver bridge")
	s.mustHold(d.refuse("network", "create", "--subnet", "10.80.0.0/25", "o"), "overlaps", "network n")
	s.mustHold(d.refuse("network", "inspect", "nobody"), "nobody") // which the older one says in its own words
	s.mustHold(d.refuse("network", "ls", "--filter", "nonsense=1"), "nonsense")
	d.run("network", "disconnect", "-f", "n", "c1")
	s.mustHold(d.run("network", "prune", "-f"), "Deleted Networks:", "n", "m")
	d.run("network", "create", "a")
	d.run("network", "create", "b")
	d.is("a\nb", "network", "rm", "a", "b")
	return nil
}

func dockerLists(d command) error {
	s := d.s
	d.run("network", "create", "n")
	d.run("run", "-d", "--name", "c1", "--network", "n", "--label", "tier=web", "-p", "18080:80", "-p", "127.0.0.1:18081:81/udp", "busybox", "sleep", "1000")
	d.ends(3, "run", "--name", "c2", "busybox", "sh", "-c", "exit 3")
	d.ends(127, "run", "--name", "c3", "busybox", "no-such-command")
	d.ends(126, "run", "--name", "c4", "busybox", "/etc/passwd")
	d.is("c1 running", "ps", "--filter", "network=n", "--format", "{{.Names}} {{.State}}")
	d.is("c1", "ps", "--filter", "label=tier=web", "--format", "{{.Names}}")
	d.is("c2", "ps", "-a", "--filter", "status=exited", "--filter", "exited=3", "--format", "{{.Names}}")
	s.mustHold(d.run("ps", "-a", "--no-trunc"), "c1", "c2", "0.0.0.0:18080->80/tcp", "127.0.0.1:18081->81/udp", "Exited (3)")
	s.mustHold(d.run("ps", "-as"), "0B")
	if d.run("ps", "-lq") == d.run("ps", "-q") {
		return errors.New("the last one that was made is not the one that runs")
	}
	s.mustHold(d.run("port", "c1"), "80/tcp -> 0.0.0.0:18080", "81/udp -> 127.0.0.1:18081")
	d.is("127.0.0.1:18081", "port", "c1", "81/udp")
	s.mustHold(d.refuse("port", "c1", "82"), "82")
	d.is("/c1 running tier=web", "inspect", "-f", `{{.Name}} {{.State.Status}} {{range $k, $v := .Config.Labels}}{{$k}}={{$v}}{{end}}`, "c1")
	d.is("n", "inspect", "-f", "{{.Name}}", "n")
	d.is("c1", "inspect", "--type", "network", "-f", "{{range .Containers}}{{.Name}}{{end}}", "n")
	s.mustHold(strings.ToLower(d.refuse("inspect", "nobody")), "no such object: nobody")
	s.mustHold(d.run("container", "ls", "-a"), "c1", "c4")
	s.mustHold(d.run("container", "prune", "-f"), "Deleted Containers:")
	return nil
}

func dockerExec(d command) error {
	s := d.s
	d.run("run", "-d", "--name", "c1", "busybox", "sleep", "1000")
	d.is("b /tmp", "exec", "-e", "A=b", "-w", "/tmp", "c1", "sh", "-c", "echo $A $PWD")
	if r := d.user.reading("through the pipe").try(d.path, "exec", "-i", "c1", "cat"); r.Out != "through the pipe" {
		return fmt.Errorf("exec -i: %s", r.All())
	}
	d.ends(7, "exec", "c1", "sh", "-c", "exit 7")
	d.ends(127, "exec", "c1", "no-such-command")
	d.ends(126, "exec", "c1", "/etc")
	d.ends(130, "exec", "c1", "sh", "-c", "kill -INT $$")
	s.mustHold(d.ends(1, "exec", "nobody", "true").All(), "No such container: nobody")
	d.run("exec", "-d", "c1", "touch", s.home+"/touched")
	s.wait("the command in the background", func() error {
		if r := s.user.look("rm", s.home+"/touched"); r.Code != 0 {
			return errors.New(r.All())
		}
		return nil
	})
	s.mustHold(d.terminal("", "exec", "-it", "c1", "sh", "-c", "tty; test -t 0 && echo terminal"), "/dev/pts/", "terminal")
	s.mustHold(d.terminal("echo typed $((40+2))\nexit\n", "exec", "-it", "c1", "sh"), "typed 42")
	s.mustHold(d.terminal("", "run", "--rm", "-it", "busybox", "tty"), "/dev/pts/")
	if r := d.user.try("script", "-qec", d.path+" exec -it c1 sh -c 'exit 9'", "/dev/null"); r.Code != 9 {
		return fmt.Errorf("exec -it of exit 9: %d: %s", r.Code, r.All())
	}
	return nil
}

func dockerLife(d command) error {
	s := d.s
	d.run("run", "-d", "--name", "c1", "busybox", "sh", "-c", "echo first; echo second >&2; trap 'exit 5' TERM; while :; do sleep 0.1; done")
	s.wait("the container's words", func() error {
		if r := d.user.try(d.path, "logs", "c1"); r.Out != "first" || r.Err != "second" {
			return errors.New(r.All())
		}
		return nil
	})
	s.mustHold(d.run("logs", "-t", "--since", "1h", "--tail", "5", "c1"), "Z first")
	s.mustHold(d.run("top", "c1"), "UID", "sleep")
	s.mustHold(d.run("top", "c1", "-o", "pid,comm"), "COMMAND")
	s.mustHold(d.refuse("rename", "c1", "c9"), "stop it first")
	s.mustHold(d.refuse("rm", "c1"), "container is running")
	waiting := d.user.start(d.path, "wait", "c1")
	following := d.user.start(d.path, "logs", "-f", "c1")
	following.expect("first")
	d.is("c1", "stop", "c1")
	if r := waiting.wait(); r.Out != "5" || r.Code != 0 {
		return fmt.Errorf("wait: %s", r.All())
	}
	if r := following.wait(); r.Code != 0 {
		return fmt.Errorf("logs -f: %s", r.All())
	}
	d.run("rename", "c1", "c9")
	d.is("c9", "start", "c9")
	d.is("c9", "restart", "-t", "0", "c9")
	d.is("c9", "kill", "-s", "KILL", "c9")
	d.is("137", "wait", "c9")
	s.mustHold(d.refuse("kill", "c9"), "is not running")
	d.is("c9", "rm", "c9")
	s.mustHold(d.refuse("rm", "c9"), "No such container: c9")

	d.run("create", "-i", "--name", "c2", "busybox", "cat")
	if r := d.user.reading("there and back").try(d.path, "start", "-ai", "c2"); r.Out != "there and back" {
		return fmt.Errorf("start -ai: %s", r.All())
	}
	d.run("run", "-d", "--name", "c3", "busybox", "sh", "-c", "while :; do echo tick; sleep 0.1; done")
	attached := d.user.start(d.path, "attach", "--no-stdin", "--sig-proxy=false", "c3")
	attached.expect("tick")
	attached.stop() // by force, which is none of the container's business
	d.is("true", "inspect", "-f", "{{.State.Running}}", "c3")
	d.run("rm", "-f", "c2", "c3")
	return nil
}

func dockerEvents(d command) error {
	s := d.s
	all := d.user.start(d.path, "events", "--format", "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}")
	some := d.user.start(d.path, "events", "--filter", "type=container", "--filter", "event=start", "--format", "{{.Actor.Attributes.name}} {{.Actor.Attributes.image}}")
	// The subscriptions stand when something is told.
	s.wait("the first event", func() error {
		d.run("run", "--rm", "--name", "c0", "busybox", "true")
		if !strings.Contains(all.said(), "start c0") || !strings.Contains(some.said(), "c0 busybox") {
			return errors.New(all.said() + some.said())
		}
		return nil
	})
	d.run("network", "create", "n")
	d.run("run", "-d", "--name", "c1", "--network", "n", "busybox", "sleep", "1000")
	d.run("exec", "c1", "true")
	d.run("rm", "-f", "c1")
	d.run("network", "rm", "n")
	for _, want := range []string{"network create n", "container create c1", "network connect n", "container start c1", "container exec_start: true c1",
		"container exec_die c1", "container kill c1", "container die c1", "network disconnect n", "container destroy c1", "network destroy n"} {
		all.expect(want)
	}
	some.expect("c1 busybox")
	if text := some.said(); strings.Contains(text, "exec") || strings.Contains(text, "destroy") {
		return fmt.Errorf("the filter let through %s", text)
	}
	s.mustHold(d.run("events", "--since", "1h", "--until", "1s", "--filter", "network=n"), "network create")
	return nil
}

func dockerTraffic(d command) error {
	s := d.s
	d.run("network", "create", "n")
	d.run("run", "-d", "--name", "web", "--network", "n", "--network-alias", "www", "-p", "8000:80", "busybox", "busybox", "httpd", "-f", "-p", "80", "-h", "/etc")
	d.run("run", "--rm", "--network", "n", "busybox", "timeout", "10", "busybox", "wget", "-q", "-O", "/dev/null", "http://www/passwd")
	s.client.served("http://"+s.addr("HOST4")+":8000/passwd", "")
	s.mustHold(d.run("run", "--rm", "--network", "n", "busybox", "timeout", "10", "busybox", "wget", "-q", "-O", "-", "http://web.example.test/peer"), s.addr("UPLINK4"))
	s.mustHold(d.refuse("run", "--name", "second", "-p", "8000:80", "busybox", "true"), "port is already allocated", "web")
	d.run("rm", "-f", "second", "web")
	return nil
}

// absentOfDocker is what the command asks for that footbridge has not, and what the answer names.
var absentOfDocker = map[string]string{
	"pull x":                      "images are not supported",
	"push x":                      "images are not supported",
	"image inspect x":             "images are not supported",
	"rmi x":                       "images are not supported",
	"tag x y":                     "images are not supported",
	"history x":                   "images are not supported",
	"save x":                      "images are not supported",
	"load":                        "images are not supported",
	"search x":                    "images are not supported",
	"commit c1":                   "images are not supported",
	"build .":                     "building images is not supported",
	"volume create v":             "volumes are not supported",
	"volume inspect v":            "volumes are not supported",
	"swarm init":                  "swarm mode is not supported",
	"node ls":                     "swarm mode is not supported",
	"service ls":                  "swarm mode is not supported",
	"secret ls":                   "swarm mode is not supported",
	"config ls":                   "swarm mode is not supported",
	"plugin ls":                   "plugins are not supported",
	"stats --no-stream c1":        "statistics (update, stats) are not supported",
	"update -m 16m c1":            "resource limits and statistics",
	"pause c1":                    "pausing containers (pause, unpause) is not supported",
	"unpause c1":                  "pausing containers (pause, unpause) is not supported",
	"diff c1":                     "listing changed files (diff) is not supported",
	"cp c1:/etc/passwd -":         "copying files (cp, export) is not supported",
	"export -o /tmp/c1.tar c1":    "copying files (cp, export) is not supported",
	"system df":                   "disk usage (system df) is not supported",
	"run -v /tmp:/mnt busybox ls": "",
	"run -m 16m busybox true":     "",
}

func dockerAbsent(d command) error {
	d.s.write("Dockerfile", "FROM scratch\n", 0o644)
	d.run("run", "-d", "--name", "c1", "busybox", "sleep", "1000")
	for line, phrase := range absentOfDocker {
		said := d.refuse(strings.Fields(line)...)
		_, what, found := strings.Cut(said, "supported by footbridge: ")
		if phrase != "" && (!strings.Contains(said, phrase) || !found || !strings.Contains(what, ";")) {
			return fmt.Errorf("docker %s: %s; want %q, why, and what to do", line, said, phrase)
		}
	}
	// Of what there is none, it says so.
	d.is("", "images", "-q")
	d.is("", "volume", "ls", "-q")
	d.s.mustHold(d.run("system", "prune", "-a", "-f", "--volumes"), "reclaimed space: 0B")
	d.s.mustHold(d.run("ps"), "c1")
	return nil
}
