package netavark

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/network"
)

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestANetworkIsAskedFor(t *testing.T) {
	n := Network{
		Name: "front", ID: "abc", Driver: "footbridge", Internal: true,
		Subnets: []Subnet{
			{Subnet: netip.MustParsePrefix("10.1.0.0/24"), Gateway: netip.MustParseAddr("10.1.0.1")},
			{Subnet: netip.MustParsePrefix("fd01::/64"), Gateway: netip.MustParseAddr("fd01::1")},
		},
		DNSServers: []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")},
		Labels:     map[string]string{"mine": "1"},
		Options:    map[string]string{"mtu": "1400", "isolate": "strict", "no_default_route": "false"},
	}
	req, err := n.Request()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"Name":"front","Driver":"bridge","EnableIPv4":true,"EnableIPv6":true,"IPAM":{"Driver":"","Options":null,"Config":[` +
		`{"Subnet":"10.1.0.0/24","Gateway":"10.1.0.1"},{"Subnet":"fd01::/64","Gateway":"fd01::1"}]},"Internal":true,`
	if got := asJSON(t, req); !strings.HasPrefix(strings.ReplaceAll(got, `"Scope":"",`, ""), want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := asJSON(t, req.Options); got != `{"com.footbridge.dns":"false","com.footbridge.dns.servers":"192.0.2.53;2001:db8::53","mtu":"1400"}` {
		t.Errorf("options %s", got)
	}
	if got := asJSON(t, req.Labels); got != `{"com.footbridge.podman.network":"abc","mine":"1"}` {
		t.Errorf("labels %s", got)
	}
	if len(n.Labels) != 1 || len(n.Options) != 3 {
		t.Error("podman's own maps were written to")
	}
	n.Subnets = nil
	if _, err := n.Request(); err == nil || !strings.Contains(err.Error(), "no subnet") {
		t.Errorf("a network of another driver: %v", err)
	}
}

func TestAnEndpointIsAskedFor(t *testing.T) {
	e := mustExec(t, setupInput)
	s, err := e.Endpoint()
	if err != nil {
		t.Fatal(err)
	}
	if s.IPAMConfig.IPv4Address.String() != "10.90.0.5" || s.IPAMConfig.IPv6Address.IsValid() || s.MacAddress.String() != "aa:bb:cc:dd:ee:00" ||
		strings.Join(s.Aliases, " ") != "752947ff91f9 www" || asJSON(t, s.DriverOpts) != `{"com.docker.network.endpoint.ifname":"eth0"}` {
		t.Errorf("%+v %+v", s, s.IPAMConfig)
	}
	e.Network.DNS = false
	if s, err := e.Endpoint(); err != nil || len(s.Aliases) != 0 {
		t.Errorf("aliases where there are no names: %v, %v", s, err)
	}
	e.Options.StaticIPs = append(e.Options.StaticIPs, netip.MustParseAddr("::ffff:10.90.0.6"))
	if _, err := e.Endpoint(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("two addresses of a family: %v", err)
	}
	e.Options.StaticIPs, e.Options.StaticMAC = nil, "x"
	if _, err := e.Endpoint(); !errors.Is(err, ErrInput) {
		t.Errorf("a MAC address that is none: %v", err)
	}
}

func TestPodmanIsTold(t *testing.T) {
	e := mustExec(t, setupInput)
	var mac network.HardwareAddr
	if err := mac.UnmarshalText([]byte("02:42:00:00:00:05")); err != nil {
		t.Fatal(err)
	}
	got := asJSON(t, e.Status(&network.EndpointSettings{
		MacAddress: mac, IPAddress: netip.MustParseAddr("10.90.0.5"), IPPrefixLen: 24, Gateway: netip.MustParseAddr("10.90.0.1"),
		GlobalIPv6Address: netip.MustParseAddr("fd01::5"), GlobalIPv6PrefixLen: 64,
	}, []netip.Addr{netip.MustParseAddr("10.90.0.1")}))
	const want = `{"interfaces":{"eth0":{"mac_address":"02:42:00:00:00:05","subnets":[{"ipnet":"10.90.0.5/24","gateway":"10.90.0.1"},{"ipnet":"fd01::5/64"}]}},` +
		`"dns_server_ips":["10.90.0.1"],"dns_search_domains":[]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// netavark's types want lists, not null.
	if got := asJSON(t, e.Status(&network.EndpointSettings{}, nil)); strings.Contains(got, "null") {
		t.Error(got)
	}
}

func TestPortsAreTranslated(t *testing.T) {
	for _, c := range []struct {
		given []PortMapping
		want  string // "" is ErrInput
	}{
		{nil, `{}`},
		{[]PortMapping{{HostPort: 8000, ContainerPort: 80, Range: 1, Protocol: "tcp"}}, `{"80/tcp":[{"HostIp":"","HostPort":"8000"}]}`},
		{[]PortMapping{{HostPort: 8000, ContainerPort: 80}}, `{"80/tcp":[{"HostIp":"","HostPort":"8000"}]}`},
		{[]PortMapping{{HostIP: "127.0.0.1", HostPort: 53, ContainerPort: 5353, Range: 2, Protocol: "tcp,udp"}},
			`{"5353/tcp":[{"HostIp":"127.0.0.1","HostPort":"53"}],"5353/udp":[{"HostIp":"127.0.0.1","HostPort":"53"}],"5354/tcp":[{"HostIp":"127.0.0.1","HostPort":"54"}],"5354/udp":[{"HostIp":"127.0.0.1","HostPort":"54"}]}`},
		{[]PortMapping{{HostIP: "::", HostPort: 65535, ContainerPort: 65535, Range: 1}}, `{"65535/tcp":[{"HostIp":"::","HostPort":"65535"}]}`},
		{[]PortMapping{{HostIP: "localhost", HostPort: 1, ContainerPort: 1}}, ""},
		{[]PortMapping{{HostPort: 65535, ContainerPort: 1, Range: 2}}, ""},
		{[]PortMapping{{HostPort: 1, ContainerPort: 65535, Range: 2}}, ""},
		{[]PortMapping{{HostPort: 0, ContainerPort: 1}}, ""},
		{[]PortMapping{{HostPort: 1, ContainerPort: 1, Protocol: "t/p"}}, ""},
		{[]PortMapping{{HostPort: 1, ContainerPort: 1, Range: 65535}, {HostPort: 1, ContainerPort: 1, Range: 65535}, {HostPort: 1, ContainerPort: 1, Range: 65535}}, ""},
	} {
		got, err := PortMap(c.given)
		if c.want == "" {
			if !errors.Is(err, ErrInput) {
				t.Errorf("%v: %v", c.given, err)
			}
		} else if text := asJSON(t, got); err != nil || text != c.want {
			t.Errorf("%v:\ngot  %s, %v\nwant %s", c.given, text, err, c.want)
		}
	}
}
