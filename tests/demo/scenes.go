package main

// scenes is the story that the demonstration tells.
var scenes = []scene{
	{"doctor", "this machine has what footbridge needs", []step{
		user("footbridge doctor", ""),
	}},
	{"S1", "a fresh install has the networks bridge, host and none", []step{
		user("footbridge network ls", `bridge +bridge +local`),
	}},
	{"S2", "the default network: 172.17.0.0/16, gateway 172.17.0.1, no containers", []step{
		user("footbridge network inspect -f '{{json .IPAM.Config}} {{json .Containers}}' bridge", `172\.17\.0\.0/16.*172\.17\.0\.1.* \{\}`),
	}},
	{"S3", "run -d attaches to it; inspect shows the endpoint", []step{
		user("footbridge run -d --name c1 sleep infinity", `^[0-9a-f]{64}$`),
		user("footbridge network inspect -f '{{range .Containers}}{{.Name}} {{.IPv4Address}} {{.MacAddress}}{{end}}' bridge",
			`^c1 172\.17\.0\.2/16 02:42:ac:11:00:02$`),
	}},
	{"S4", "the MAC is made from the address: 02:42 and its four bytes", []step{
		user("footbridge exec c1 cat /sys/class/net/eth0/address", `^02:42:ac:11:00:02$`),
	}},
	{"S5", "inside: lo and eth0, an address, a default route, processes of its own", []step{
		user("footbridge exec c1 ip -brief addr show up", `eth0.* 172\.17\.0\.2/16`),
		user("footbridge exec c1 ip route", `^default via 172\.17\.0\.1 dev eth0`),
		user("footbridge exec c1 ps -e -o pid,user,args", `1 .*sleep infinity|footbridge`),
	}},
	{"S6", "a new network takes the next subnet, in both families if asked", []step{
		user("footbridge network create --ipv6 my_bridge", `^[0-9a-f]{64}$`),
		user("footbridge network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{end}}' my_bridge", `172\.18\.0\.0/16 fd`),
	}},
	{"S7", "containers on it get consecutive addresses", []step{
		user("footbridge run -d --name c2 --network my_bridge sleep infinity", `^[0-9a-f]{64}$`),
		user("footbridge run -d --name c3 --network my_bridge sleep infinity", `^[0-9a-f]{64}$`),
		user("footbridge run -d --network my_bridge sleep infinity", `^[0-9a-f]{64}$`),
		user("footbridge network inspect -f '{{range .Containers}}{{.Name}} {{.IPv4Address}} {{.IPv6Address}}{{println}}{{end}}' my_bridge",
			`c2 172\.18\.0\.2/16[^\n]*\n(.*\n)*c3 172\.18\.0\.3/16|c3 172\.18\.0\.3/16[^\n]*\n(.*\n)*c2 172\.18\.0\.2/16`),
	}},
	{"S8", "names resolve on a network of one's own, in both families", []step{
		user("footbridge exec c2 getent ahosts c3", `(?s)fd[0-9a-f:]+::3.*172\.18\.0\.3`),
		user("footbridge exec c2 ping -c1 c3", `1 received`),
	}},
	{"S9", "a container that was not named is reached by address", []step{
		user("footbridge exec c2 ping -c1 172.18.0.4", `1 received`),
	}},
	{"S10", "names stay in their network; the outside is known everywhere", []step{
		refused("footbridge exec c2 ping -c1 -W1 c1", `not known`),
		user("footbridge exec c2 dig +short web.example.test A web.example.test AAAA", `^198\.51\.100\.10$`),
	}},
	{"S11", "networks are kept apart: no ping by address either", []step{
		refused("footbridge exec c2 ping -c1 -W1 172.17.0.2", `0 received`),
		refused("footbridge exec c1 ping -c1 -W1 172.18.0.2", `0 received`),
	}},
	{"S12", "a published port leads inside, from here and from a remote machine", []step{
		user("footbridge run -d --name web --network my_bridge -p 8000:80 python3 -m http.server --bind :: -d /usr/share/common-licenses 80", `^[0-9a-f]{64}$`),
		user("footbridge port web", `80/tcp -> .*:8000`),
		soon(user("curl -sS http://127.0.0.1:8000/ | head -n 2", `(?i)html`)),
		remote("curl -sS http://$HOST4:8000/ | head -n 2", `(?i)html`),
		remote("curl -sS http://[$HOST6]:8000/ | head -n 2", `(?i)html`),
		soon(user("footbridge logs web", `192\.0\.2\.2 .*GET /`)),
	}},
	{"S20", "containers reach the outside: TCP, ping, both families", []step{
		user("footbridge exec c2 curl -sS http://web.example.test/", `hello from the internet`),
		user("footbridge exec c2 curl -sS http://[$WEB6]/", `hello from the internet`),
		user("footbridge exec c2 ping -c1 $WEB4", `1 received`),
		user("footbridge exec c2 ping -c1 $WEB6", `1 received`),
		refused("footbridge exec c2 curl -sS http://$WEB4:81/", `Failed to connect`),
	}},
	{"S13", "removing cleans up; a network in use refuses", []step{
		user("footbridge ps", `8000->80/tcp`),
		refused("footbridge network rm my_bridge", `active endpoints`),
		user("footbridge rm -f $(footbridge ps -aq)", ``),
		user("footbridge network rm my_bridge", `^my_bridge$`),
		user("footbridge daemon stop", ``),
		refused("curl -sS http://127.0.0.1:8000/", `connect`),
		refused("pgrep -a footbridge", `^$`),
	}},
}
