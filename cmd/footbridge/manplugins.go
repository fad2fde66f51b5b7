package main

import (
	"strings"

	"github.com/footbridge-net/footbridge/internal/buildinfo"
)

// pluginPage describes a program that runtimes start. It has no flags, and no help to make a page from.
type pluginPage struct {
	name, short string
	synopsis    []string // its calls
	text        string
	lists       []pluginList
	see         []string // other pages
}

// pluginList is a section of words and what they mean.
type pluginList struct {
	title string
	items [][2]string
}

// addPluginPages adds the pages of the programs beside this one.
func addPluginPages(pages map[string]string, build buildinfo.Info) {
	for _, plugin := range pluginPages {
		pages[plugin.name+"."+manSection] = plugin.render(build)
	}
}

func (g pluginPage) render(build buildinfo.Info) string {
	var p page
	p.head(g.name, g.short, build)
	p.section("SYNOPSIS")
	p.line("%s", strings.Join(bold(g.synopsis), "\n.br\n"))
	p.section("DESCRIPTION")
	p.prose(g.text)
	for _, list := range g.lists {
		p.section(list.title)
		for _, item := range list.items {
			p.item(`\fB`+roff(item[0])+`\fR`, item[1])
		}
	}
	p.section("SEE ALSO")
	for _, name := range g.see {
		p.line(`\fB%s\fR(%s),`, roff(name), manSection)
	}
	p.line("%s", roff(homepage))
	return p.String()
}

func bold(calls []string) (out []string) {
	for _, call := range calls {
		out = append(out, `\fB`+roff(call)+`\fR`)
	}
	return out
}

var pluginPages = []pluginPage{
	{
		name: "footbridge-cni", short: "Give containers of CNI runtimes footbridge's networks",
		synopsis: []string{"CNI_COMMAND=ADD|DEL|CHECK|GC|STATUS|VERSION footbridge-cni <CONFIGURATION"},
		text: `footbridge-cni is a plugin of the Container Network Interface, versions 0.3.1 to 1.1.0. Runtimes
(podman 4, containerd, nerdctl, cnitool) start it, with the network's configuration on its input.

The network has the configuration's name, and is made by the first ADD; it stays until
"footbridge network rm". The container is called cni- and the runtime's id. The user's daemon is
started if none runs, where that can be.

It is in lib/cni below the prefix of the installation: name that folder to the runtime (CNI_PATH,
cni_plugin_dirs), or link to it from the runtime's own.

What is not known in a configuration is refused. A request that fails leaves nothing of the
container behind. A configuration:

  {"cniVersion": "1.1.0", "name": "lab", "plugins": [
    {"type": "footbridge-cni", "subnets": [{"subnet": "10.91.0.0/24"}],
     "capabilities": {"portMappings": true, "aliases": true}}]}`,
		lists: []pluginList{
			{"CONFIGURATION", [][2]string{
				{"subnets", "A list of objects with subnet, gateway and range, of either family. What is left out is chosen."},
				{"ipv6, internal, mtu, options", "As of footbridge-network-create(1)."},
				{"gatewayPriority", "Whose default route a container on several networks has: that of the highest."},
				{"dns", "nameservers are whom the gateway asks for names of the outside. The rest is passed on."},
				{"capabilities, runtimeConfig", "portMappings, ips, mac, aliases and dns."},
				{"args", "cni with ips and mac."},
				{"ipMasq", "true, as it is anyhow."},
				{"ipam", "Nothing: footbridge gives the addresses."},
				{"cniVersion, name, type, prevResult, cni.dev/valid-attachments, cni.dev/attachments", "As the specification has them."},
			}},
			{"ENVIRONMENT", [][2]string{
				{"CNI_COMMAND, CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH", "As the specification has them. The interface has the name CNI_IFNAME."},
				{"CNI_ARGS", "KEY=VALUE;KEY=VALUE of IP, MAC and K8S_POD_NAME, which is one more name on the network. Of the rest what Kubernetes sets is left alone, and other keys are refused, but with IgnoreUnknown=1."},
				{"XDG_RUNTIME_DIR", "Where the daemon's socket is: see footbridge(1)."},
			}},
			{"ERROR CODES", [][2]string{
				{"50", "STATUS: no ADD can be served."},
				{"100", "The daemon has refused it: a port that is taken, a namespace that is not yours."},
				{"101", "The daemon is of another version."},
				{"others", "As the specification has them."},
			}},
		},
		see: []string{"footbridge", "footbridge-network-create"},
	},
	{
		name: "footbridge-netavark", short: "Give containers of podman footbridge's networks",
		synopsis: []string{"footbridge create <NETWORK", "footbridge setup NETNS <CONTAINER", "footbridge teardown NETNS <CONTAINER", "footbridge info", "rootlessport <PORTS"},
		text: `footbridge-netavark is a driver plugin of netavark, podman's program for networks. podman starts it
for networks that were made so:

  $ podman network create --driver footbridge front

There it has the name footbridge, in lib/netavark below the prefix of the installation. If podman does
not look there, it is told by netavark_plugin_dirs in containers.conf(5). podman keeps the networks and
gives the addresses; a network is one of footbridge's while a container is on it.

Called rootlessport, it is podman's port forwarder, by which ports are published with their clients'
addresses. Under that name it is in lib/footbridge/podman, which is to be the first of
helper_binaries_dir. Containers on podman's own networks get podman's own forwarder.

Inside podman's user namespace no daemon can be started: it, or the socket that starts it
("systemctl --user enable --now footbridge.socket"), must be there before.`,
		lists: []pluginList{
			{"COMMANDS", [][2]string{
				{"create", "Complete a network's definition, and refuse what footbridge has not."},
				{"setup NETNS", "Put a container's network namespace on a network."},
				{"teardown NETNS", "Take it off."},
				{"info", "Print the versions of the program and of the interface to netavark."},
			}},
			{"ENVIRONMENT", [][2]string{
				{"_CONTAINERS_USERNS_CONFIGURED", "podman's sign that it starts a port forwarder afterwards: setup leaves the ports to that."},
				{"XDG_RUNTIME_DIR", "Where the daemon's socket is: see footbridge(1)."},
			}},
			{"EXIT STATUS", [][2]string{
				{"0", "Done."},
				{"1", "Not done, and why is printed."},
			}},
		},
		see: []string{"footbridge", "footbridge-network-create", "footbridge-publish"},
	},
}
