package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Runtimes that call footbridge as a hook, for bundles of the user's own.

func init() { parts = append(parts, oci) }

// ociRuntimes are the runtimes that every cell of ociCells is there for.
var ociRuntimes = []string{"runc", "crun"}

var oci = part{
	name:     "oci",
	packages: []string{"runc", "crun", "jq"},
	programs: []program{
		{name: "runc", version: []string{"runc", "--version"}},
		{name: "crun", version: []string{"crun", "--version"}},
		{name: "jq", optional: true},
		{name: "podman", version: []string{"podman", "--version"}, optional: true},
	},
	ids:   true,
	setup: func(s *stage) error { s.delegate(); return nil },
	cells: ociCells(),
}

// ociCells are the cells of the part.
func ociCells() []cell {
	cells := []cell{
		{feature: "docs/runc.md does what it shows", needs: []string{"runc", "crun", "jq"}, run: func(s *stage) error { return s.page("runc.md", "") }},
		{feature: "docs/integrations.md does what it shows", needs: []string{"crun", "jq"}, run: func(s *stage) error { return s.page("integrations.md", "runc and crun") }},
		{feature: "podman calls it, with its folder of hooks", needs: []string{"podman"}, run: ociPodman},
	}
	for _, f := range []struct {
		feature string
		run     func(*bundles) error
	}{
		{"two containers reach each other by name, and are reached", ociReach},
		{"addresses, aliases, names and lines of files by annotations", ociAnnotations},
		{"several networks, and a container that comes back", ociAgain},
		{"what cannot be is refused with a sentence, and leaves nothing", ociRefused},
		{"a killed container leaves nothing", ociKilled},
		{"a daemon that is killed between create and start", ociRestarted},
		{"files where there is no place, or somebody else's", ociFiles},
	} {
		for _, runtime := range ociRuntimes {
			cells = append(cells, cell{feature: runtime + ": " + f.feature, needs: []string{runtime}, run: func(s *stage) error {
				ociReset(s)
				return f.run(&bundles{s: s, runtime: runtime})
			}})
		}
	}
	return cells
}

// bundles are the bundles of one cell, and the containers made of them.
type bundles struct {
	s       *stage
	runtime string
}

// spec is what one container of a cell is to be.
type spec struct {
	args        []string          // default: a web server that says the container's name
	annotations map[string]string // after com.footbridge.
	change      func(config map[string]any)
	files       func(root string)
}

// stderrFile is where crun writes what hooks say: by itself it throws that away.
func (b *bundles) stderrFile() string { return filepath.Join(b.dir(), "hooks.log") }

func (b *bundles) dir() string { return filepath.Join(b.s.home, "bundles", b.runtime) }

// make makes a bundle.
func (b *bundles) make(name string, w spec) {
	s, dir := b.s, filepath.Join(b.dir(), name)
	root := filepath.Join(dir, "rootfs")
	// A root folder is made once, but for what changes it.
	if _, err := os.Stat(root); err != nil || w.files != nil {
		s.user.sh(fmt.Sprintf(`rm -rf %[1]s; mkdir -p %[2]s/bin %[2]s/etc %[2]s/proc %[2]s/dev %[2]s/sys %[2]s/www
			cp "$(command -v busybox)" %[2]s/bin/busybox; echo hello from %[3]s >%[2]s/www/index.html
			for name in sh sleep cat httpd wget ip ping; do ln -s busybox %[2]s/bin/$name; done`, dir, root, name))
	}
	if w.files != nil {
		w.files(root)
	}
	s.user.in(dir).sh("rm -f config.json; " + b.runtime + " spec --rootless")
	path := filepath.Join(dir, "config.json")
	config := map[string]any{}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &config)
	}
	if err == nil {
		err = json.Unmarshal([]byte(s.user.look("footbridge", "oci-hook", "--print", "config").Out), &config)
	}
	if err != nil {
		s.fail("the bundle of %s: %w", name, err)
	}
	process := config["process"].(map[string]any)
	process["terminal"] = false
	process["args"] = w.args
	if w.args == nil {
		process["args"] = []string{"httpd", "-f", "-p", "80", "-h", "/www"}
	}
	capabilities := process["capabilities"].(map[string]any)
	for name, set := range capabilities {
		capabilities[name] = append(set.([]any), "CAP_NET_RAW") // for ping
	}
	config["hostname"] = name
	b.setNetwork(config, true)
	annotations := map[string]string{"run.oci.hooks.stderr": b.stderrFile()}
	for key, value := range w.annotations {
		annotations["com.footbridge."+key] = value
	}
	config["annotations"] = annotations
	if w.change != nil {
		w.change(config)
	}
	text, err = json.MarshalIndent(config, "", "  ")
	if err != nil {
		s.fail("the bundle of %s: %w", name, err)
	}
	s.write(path, string(text), 0o644)
}

// setNetwork gives the container a network namespace, or none.
func (b *bundles) setNetwork(config map[string]any, own bool) {
	linux := config["linux"].(map[string]any)
	all := slices.DeleteFunc(linux["namespaces"].([]any), func(ns any) bool { return ns.(map[string]any)["type"] == "network" })
	if own {
		all = append(all, map[string]any{"type": "network"})
	}
	linux["namespaces"] = all
}

// do runs the runtime, whose containers have nothing on standard input and output.
func (b *bundles) do(args ...string) result {
	return b.s.user.in(b.dir()).try(append([]string{"sh", "-c", `exec "$@" </dev/null >said 2>&1`, "sh", b.runtime}, args...)...)
}

// said is what the runtime, or its hook, said last.
func (b *bundles) said() string {
	var all []string
	for _, name := range []string{"said", "hooks.log"} {
		if text, err := os.ReadFile(filepath.Join(b.dir(), name)); err == nil {
			all = append(all, string(text))
		}
	}
	return strings.Join(all, "\n")
}

// run makes a container that runs.
func (b *bundles) run(name string, w spec) {
	b.make(name, w)
	if r := b.do("run", "--detach", "--bundle", name, name); r.Code != 0 {
		b.s.fail("%s run %s: exit status %d: %s", b.runtime, name, r.Code, lastLine(b.said()))
	}
}

// exec runs a command in a container.
func (b *bundles) exec(name string, args ...string) string {
	return b.s.user.run(append([]string{b.runtime, "exec", name}, args...)...)
}

// delete ends a container as its user would.
func (b *bundles) delete(name string) {
	b.s.user.run(b.runtime, "delete", "--force", name)
}

// ociReset removes what another cell has left that has failed, and waits until that is so.
func ociReset(s *stage) {
	s.user.sh(`for runtime in runc crun; do for id in $($runtime list -q 2>/dev/null); do $runtime delete --force "$id"; done; done
		all=$(footbridge ps -aq); [ -z "$all" ] || footbridge rm -f $all; footbridge network prune -f`)
}

// nothingLeft fails the cell unless footbridge knows no container and the user has no usher.
func (b *bundles) nothingLeft() {
	b.s.wait("nothing to be left", func() error {
		if left := b.s.user.look("footbridge", "ps", "-aq").All(); left != "" {
			return fmt.Errorf("containers %s", left)
		}
		if left := b.s.user.look("sh", "-c", `grep -l ^footbridge-usher /proc/[0-9]*/cmdline 2>/dev/null; ls "$XDG_RUNTIME_DIR"/footbridge | grep ^u-`).Out; left != "" {
			return fmt.Errorf("ushers %s", left)
		}
		return nil
	})
}

func ociReach(b *bundles) error {
	s := b.s
	s.footbridge("network", "create", "--ipv6", "n")
	b.run("web", spec{annotations: map[string]string{"network": "n", "publish": "8000:80 127.0.0.1:8001:80"}})
	b.run("asker", spec{args: []string{"sleep", "1000"}, annotations: map[string]string{"network": "n"}})
	b.exec("asker", "ping", "-c", "1", "-W", "5", "web")
	b.exec("web", "ping", "-c", "1", "-W", "5", "asker")
	for _, question := range []struct {
		who  place
		args []string
	}{
		{s.user, []string{b.runtime, "exec", "asker", "wget", "-qO-", "http://web/"}},
		{s.user, []string{"curl", "-sS", "--max-time", "5", "http://127.0.0.1:8001/"}},
		{s.client, []string{"curl", "-sS", "--max-time", "5", "http://" + s.addr("HOST4") + ":8000/"}},
		{s.client, []string{"curl", "-sS", "--max-time", "5", "http://[" + s.addr("HOST6") + "]:8000/"}},
	} {
		if out := question.who.run(question.args...); out != "hello from web" {
			return fmt.Errorf("%s: %q", strings.Join(question.args, " "), out)
		}
	}
	if out := b.exec("asker", "wget", "-qO-", "http://"+s.addr("WEB4")+"/"); out != "hello from the internet" {
		return fmt.Errorf("the internet said %q", out)
	}
	b.delete("web")
	b.delete("asker")
	if left := s.footbridge("ps", "-aq"); left != "" {
		return fmt.Errorf("after %s delete there are %s", b.runtime, left)
	}
	b.nothingLeft()
	return nil
}

func ociAnnotations(b *bundles) error {
	s := b.s
	s.footbridge("network", "create", "--subnet", "10.60.0.0/24", "n")
	b.run("box", spec{annotations: map[string]string{
		"network": "n", "name": "renamed", "hostname": "box-host", "network-alias": "crate case", "ip": "10.60.0.77", "mac-address": "02:00:00:00:00:77",
		"add-host": "elsewhere:192.0.2.7", "dns-search": "example.org", "dns-option": "timeout:3 attempts:2", "label.of": "an OCI bundle", "expose": "80", "publish-all": "true",
	}})
	if out := s.footbridge("inspect", "-f", `{{.Name}} {{.Config.Labels.of}} {{.NetworkSettings.Networks.n.MacAddress}}`, "renamed"); out != "/renamed an OCI bundle 02:00:00:00:00:77" {
		return fmt.Errorf("inspect says %q", out)
	}
	b.run("asker", spec{args: []string{"sleep", "1000"}, annotations: map[string]string{"network": "n"}})
	for _, name := range []string{"renamed", "box-host", "crate", "case"} {
		if out := b.exec("asker", "wget", "-qO-", "http://"+name+"/"); out != "hello from box" {
			return fmt.Errorf("%s: %q", name, out)
		}
	}
	files := b.exec("box", "cat", "/etc/hosts", "/etc/resolv.conf")
	for _, want := range []string{"10.60.0.77\tbox-host", "192.0.2.7\telsewhere", "nameserver 10.60.0.1", "search example.org", "options timeout:3 attempts:2"} {
		if !strings.Contains(files, want) {
			return fmt.Errorf("%q is not in the files:\n%s", want, files)
		}
	}
	port := s.footbridge("port", "renamed", "80/tcp")
	port, _, _ = strings.Cut(port, "\n")
	if out := s.user.run("curl", "-sS", "--max-time", "5", "http://127.0.0.1"+port[strings.LastIndexByte(port, ':'):]); out != "hello from box" {
		return fmt.Errorf("port %s: %q", port, out)
	}
	return nil
}

func ociAgain(b *bundles) error {
	s := b.s
	s.footbridge("network", "create", "--subnet", "10.60.0.0/24", "n")
	s.footbridge("network", "create", "--subnet", "10.61.0.0/24", "m")
	for range 3 { // the same id, name, addresses and ports each time
		b.run("web", spec{annotations: map[string]string{"network": "n,ip=10.60.0.7,alias=one m,ip=10.61.0.7,alias=two", "publish": "8000:80"}})
		if out := b.exec("web", "ip", "-o", "-4", "addr"); !strings.Contains(out, "10.60.0.7/24") || !strings.Contains(out, "10.61.0.7/24") {
			return fmt.Errorf("its addresses: %s", out)
		}
		if out := s.user.run("curl", "-sS", "--max-time", "5", "http://127.0.0.1:8000/"); out != "hello from web" {
			return fmt.Errorf("the port said %q", out)
		}
		// Hosts follow the networks.
		s.footbridge("network", "disconnect", "m", "web")
		if out := b.exec("web", "cat", "/etc/hosts"); strings.Contains(out, "10.61.0.7") || !strings.Contains(out, "10.60.0.7\tweb") {
			return fmt.Errorf("its hosts file: %s", out)
		}
		b.delete("web")
	}
	b.nothingLeft()
	return nil
}

func ociRefused(b *bundles) error {
	s := b.s
	s.footbridge("network", "create", "--subnet", "10.60.0.0/24", "n")
	b.run("taken", spec{annotations: map[string]string{"network": "n,ip=10.60.0.9", "publish": "8000:80"}})
	noNetwork := func(config map[string]any) { b.setNetwork(config, false) }
	noShow := func(config map[string]any) { delete(config["hooks"].(map[string]any), "createContainer") }
	for _, c := range []struct {
		annotations map[string]string
		change      func(map[string]any)
		want        string
	}{
		{map[string]string{"network": "nothing"}, nil, "network nothing not found"},
		{map[string]string{"network": "n", "publish": "8000:80"}, nil, "port is already allocated"},
		{map[string]string{"network": "n", "ip": "10.60.0.9"}, nil, "Address already in use"},
		{map[string]string{"network": "n", "ip": "10.99.0.9"}, nil, "no configured subnet"},
		{map[string]string{"network": "n", "ip": "10.60.0"}, nil, "IP address is not correctly formatted: 10.60.0"},
		{map[string]string{"network": "n,ip=10.60.0.10", "ip": "10.60.0.11"}, nil, "conflicting options"},
		{map[string]string{"network": "n n"}, nil, "specified multiple times"},
		{map[string]string{"network": "host"}, nil, "network mode host"},
		{map[string]string{"network": "n", "name": "taken"}, nil, "already in use"},
		{map[string]string{"networks": "n"}, nil, "annotation com.footbridge.networks is not known"},
		{map[string]string{"network": " "}, nil, "annotation com.footbridge.network is empty"},
		{map[string]string{"network": "n", "publish": "80:x"}, nil, "invalid containerPort: x"},
		{map[string]string{"network": "n", "publish-all": "perhaps"}, nil, "annotation com.footbridge.publish-all"},
		{map[string]string{"network": "n"}, noNetwork, "no network namespace of its own"},
		{map[string]string{"network": "n", "add-host": "a:192.0.2.1"}, noShow, "createContainer hook"},
	} {
		b.make("bad", spec{annotations: c.annotations, change: c.change})
		s.user.sh("rm -f " + b.stderrFile())
		if r := b.do("run", "--detach", "--bundle", "bad", "bad"); r.Code == 0 {
			return fmt.Errorf("%v was not refused", c.annotations)
		}
		if said := b.said(); !strings.Contains(said, c.want) || !strings.Contains(said, "footbridge: container bad: ") {
			return fmt.Errorf("%v: no %q in what was said: %s", c.annotations, c.want, said)
		}
		s.user.look(b.runtime, "delete", "--force", "bad") // some runtimes keep what could not be made
		if left := s.footbridge("ps", "-a", "--format", "{{.Names}}"); left != "taken" {
			return fmt.Errorf("%v: there are %q", c.annotations, left)
		}
	}
	// What is no state of a container, and a stage that there is not.
	for _, text := range []string{"", "{", `{"id":"x"}`, `{"id":"","pid":1,"bundle":"/x"}`, `[]`, `{"id":"x","pid":-1,"bundle":"/x"}`, `{"id":"x","pid":1,"bundle":"x"}`} {
		if said := s.user.reading(text).refuse("footbridge", "oci-hook", "createRuntime"); !strings.HasPrefix(said, "footbridge: standard input is not the state of a container") {
			return fmt.Errorf("%q: %s", text, said)
		}
	}
	if said := s.user.reading("{}").refuse("footbridge", "oci-hook", "poststart"); !strings.Contains(said, `nothing to do at stage "poststart"`) {
		return fmt.Errorf("poststart: %s", said)
	}
	b.delete("taken")
	b.nothingLeft()
	return nil
}

func ociKilled(b *bundles) error {
	s := b.s
	s.footbridge("network", "create", "n")
	b.run("web", spec{annotations: map[string]string{"network": "n", "publish": "8000:80"}})
	pid := s.footbridge("inspect", "-f", "{{.State.Pid}}", "web")
	var number int
	if _, err := fmt.Sscan(pid, &number); err != nil {
		return fmt.Errorf("the process %q: %w", pid, err)
	}
	s.user.run("kill", fmt.Sprintf("-%d", syscall.SIGKILL), pid)
	b.nothingLeft() // although nobody has called poststop
	if r := s.user.try("curl", "-sS", "--max-time", "2", "http://127.0.0.1:8000/"); r.Code == 0 {
		return fmt.Errorf("the port still says %q", r.Out)
	}
	s.footbridge("network", "rm", "n")
	s.footbridge("daemon", "stop")
	// poststop again and again, with no daemon: it does no harm, and starts none.
	state := fmt.Sprintf(`{"ociVersion":"1.0.2","id":"web","status":"stopped","bundle":%q}`, filepath.Join(b.dir(), "web"))
	for _, stage := range [][]string{{"poststop"}, {"poststop"}, nil} {
		s.user.reading(state).run(append([]string{"footbridge", "oci-hook"}, stage...)...)
	}
	if r := s.user.try("footbridge", "daemon", "status"); r.Code != 3 {
		return fmt.Errorf("a daemon was started: %s", r.All())
	}
	b.delete("web")
	return nil
}

func ociRestarted(b *bundles) error {
	s := b.s
	s.footbridge("network", "create", "n")
	b.make("web", spec{annotations: map[string]string{"network": "n", "publish": "8000:80"}})
	if r := b.do("create", "--bundle", "web", "web"); r.Code != 0 {
		return fmt.Errorf("create: %s", lastLine(b.said()))
	}
	s.user.sh(`kill -9 $(cat "$XDG_RUNTIME_DIR/footbridge/daemon.lock")`)
	s.footbridge("ps")
	s.user.run(b.runtime, "start", "web")
	s.user.served("http://127.0.0.1:8000/", "hello from web")
	b.delete("web")
	b.nothingLeft()
	return nil
}

func ociFiles(b *bundles) error {
	s := b.s
	s.footbridge("network", "create", "--subnet", "10.60.0.0/24", "n")
	annotations := map[string]string{"network": "n"}
	own := s.write("own-hosts", "192.0.2.9 own\n", 0o644)
	for name, c := range map[string]struct {
		files  func(root string)
		change func(map[string]any)
		want   map[string]string // in which file, "" for: it is not there
	}{
		"without": {func(root string) { s.user.run("rmdir", root+"/etc") }, nil, map[string]string{"/etc/resolv.conf": "10.60.0.1", "/etc/hosts": "without"}},
		"linked": {func(root string) {
			s.user.sh("ln -s ../run/resolve/stub.conf " + root + "/etc/resolv.conf; mkdir -p " + root + "/run/resolve; ln -s /../../../../../../../etc/passwd " + root + "/etc/hosts")
		}, nil, map[string]string{"/run/resolve/stub.conf": "10.60.0.1", "/etc/passwd": "linked"}},
		"own": {nil, func(config map[string]any) {
			config["mounts"] = append(config["mounts"].([]any), map[string]any{"destination": "/etc/hosts", "type": "bind", "source": own, "options": []string{"bind", "ro"}})
		}, map[string]string{"/etc/resolv.conf": "10.60.0.1", "/etc/hosts": "192.0.2.9 own"}},
		"a-pipe": {func(root string) { s.user.run("mkfifo", root+"/etc/hosts") }, nil, map[string]string{"/etc/hosts": "a-pipe"}},
		"a-file": {func(root string) { s.user.sh("rmdir " + root + "/etc; echo >" + root + "/etc") }, nil, nil},
		"astray": {func(root string) { s.user.run("ln", "-s", "/nowhere/resolv.conf", root+"/etc/resolv.conf") }, nil, map[string]string{"/etc/hosts": "astray"}},
	} {
		b.run(name, spec{args: []string{"sleep", "1000"}, annotations: maps.Clone(annotations), files: c.files, change: c.change})
		for file, want := range c.want {
			if out := b.exec(name, "cat", file); !strings.Contains(out, want) {
				return fmt.Errorf("%s: no %q in %s: %s", name, want, file, out)
			}
		}
		b.delete(name)
	}
	// Root of the container's namespaces may write there all the same, unless the runtime has made it read-only by then.
	b.run("sealed", spec{args: []string{"sleep", "1000"}, annotations: annotations, files: func(root string) { s.user.run("chmod", "555", root+"/etc") }})
	shown := s.user.try(b.runtime, "exec", "sealed", "cat", "/etc/hosts").Code == 0
	if said := b.said(); shown == strings.Contains(said, "has no place") {
		return fmt.Errorf("the files are there: %v, and the hook said: %s", shown, said)
	}
	b.delete("sealed")
	if out := s.root.run("cat", "/etc/passwd"); strings.Contains(out, "linked") {
		return fmt.Errorf("the machine's own file was written: %s", out)
	}
	return nil
}

func ociPodman(s *stage) error {
	ociReset(s)
	s.footbridge("network", "create", "n")
	hooks := s.folder("hooks.d")
	s.write(filepath.Join(hooks, "footbridge.json"), s.footbridge("oci-hook", "--print", "hooks.d"), 0o644)
	image := s.folder("image")
	s.user.sh(fmt.Sprintf(`mkdir -p %[1]s/bin %[1]s/etc %[1]s/www; cp "$(command -v busybox)" %[1]s/bin/; for a in sh sleep httpd wget cat ip; do ln -s busybox %[1]s/bin/$a; done
		echo hello from podman >%[1]s/www/index.html; tar -C %[1]s -c . | podman --storage-driver vfs import - busybox >import.log 2>&1`, image))
	podman := []string{"podman", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--hooks-dir", hooks}
	run := append(podman, "run", "--rm", "--network", "none", "--no-hosts", "--annotation", "com.footbridge.network=n")
	web := s.user.start(append(run, "--name", "web", "--annotation", "com.footbridge.name=web", "--annotation", "com.footbridge.publish=8000:80", "busybox", "httpd", "-f", "-p", "80", "-h", "/www")...)
	s.wait("podman's web server by its port", func() error {
		if web.done() {
			s.fail("podman ended: %s", web.said())
		}
		if r := s.client.try("curl", "-sS", "--max-time", "2", "http://"+s.addr("HOST4")+":8000/"); r.Out != "hello from podman" {
			return fmt.Errorf("%s", r.All())
		}
		return nil
	})
	s.user.run(append(run, "busybox", "cat", "/etc/resolv.conf", "/proc/self/mountinfo")...)
	if out := s.user.run(append(run, "busybox", "wget", "-qO-", "http://web/")...); out != "hello from podman" {
		return fmt.Errorf("by its name: %q", out)
	}
	if said := s.user.refuse(append(run, "--annotation", "com.footbridge.publish=8000:80", "busybox", "true")...); !strings.Contains(said, "hook") {
		return fmt.Errorf("the refusal says %q", said)
	}
	s.user.run(append(podman, "stop", "-t", "0", "web")...)
	web.wait()
	(&bundles{s: s, runtime: "podman"}).nothingLeft()
	return nil
}
