package main

import (
	"fmt"
	"strings"
)

// containerd without root, in RootlessKit's namespaces: its client calls the plugin there.

var cniContainerdCells = []cell{
	{feature: "containerd: containers on a network, and gone again", needs: []string{"containerd", "rootlesskit", "jq"}, run: cniContainerd},
}

// cniContainerdScript runs inside RootlessKit's user and mount namespace, whose /etc and /opt are its own. The control
// group is beside the user's, and without limits: this machine may delegate no controllers.
const cniContainerdScript = `
rm -rf /etc/cni /opt/cni
mkdir -p /etc/cni/net.d /opt/cni/bin
cp "$HOME/.config/cni/net.d/40-pods.conflist" /etc/cni/net.d/
ln -s "$(command -v footbridge-cni)" /opt/cni/bin/
printf 'version = 2\nroot = "%s/root"\nstate = "%s/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "%s/socket"\n' "$PWD" "$PWD" "$PWD" >config.toml
containerd --config config.toml >log 2>&1 &
until ctr -a socket version >/dev/null 2>&1; do sleep 0.1; done
group=$(sed -n 's/^0:://p' /proc/self/cgroup)
spec() {
	ctr oci spec | jq --arg root "$1" --arg group "${group%/*}/$2" --arg command "$3" 'del(.linux.resources) | .linux.cgroupsPath = $group | .root = {path: $root} |
		.process.terminal = false | .process.env = ["PATH=/bin"] | .process.args = ["/bin/sh", "-c", $command]' >"$2.json"
}
spec "$1" server 'mkdir -p /w; echo sold >/w/index.html; exec httpd -f -p 80 -h /w'
ctr -a socket run --detach --config server.json --cni server
address=$(footbridge inspect -f '{{(index .NetworkSettings.Networks "pods").IPAddress}}' cni-default-server)
spec "$1" asks "ip addr show eth0; until wget -qO- http://$address/; do sleep 0.1; done"
ctr -a socket run --rm --config asks.json --cni asks
ctr -a socket task kill --signal 9 server
until ctr -a socket task ls | grep -q 'server.*STOPPED'; do sleep 0.1; done
ctr -a socket task rm server || true # its exit status is the task's
ctr -a socket container rm server
`

func cniContainerd(s *stage) error {
	s.footbridge("network", "ls") // from inside nobody can start the daemon
	root, dir := s.rootfs("containerd-rootfs"), s.folder("containerd")
	out := s.user.in(dir).run("rootlesskit", "--net=host", "--copy-up=/etc", "--copy-up=/opt", "--copy-up=/run", "sh", "-euc", cniContainerdScript, "sh", root)
	if !strings.Contains(out, "inet 10.78.0.") || !strings.HasSuffix(out, "sold") {
		return fmt.Errorf("a container says %s", out)
	}
	s.cniNothing()
	return nil
}
