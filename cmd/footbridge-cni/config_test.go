package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
)

// codeOf is the specification's code of an error, 0 for none.
func codeOf(err error) uint {
	var e *types.Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return types.ErrInternal
	}
	return 0
}

func TestAConfigurationIsRead(t *testing.T) {
	c, err := readConfig([]byte(`{
		"cniVersion": "1.1.0", "name": "n", "type": "footbridge-cni", "ipam": {}, "ipMasq": true,
		"subnets": [{"subnet": "10.1.0.0/24", "gateway": "10.1.0.9", "range": "10.1.0.128/25"}, {"subnet": "fd01::/64"}],
		"ipv6": true, "internal": true, "mtu": 9000, "options": {"com.docker.network.bridge.enable_icc": "false"}, "gatewayPriority": 7,
		"dns": {"nameservers": ["192.0.2.53"], "domain": "example.test", "search": ["a.test"]},
		"capabilities": {"portMappings": true, "bandwidth": false},
		"args": {"cni": {"ips": ["10.1.0.7"], "labels": [{"key": "a", "value": "b"}]}, "others": {"x": 1}},
		"runtimeConfig": {
			"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "TCP", "hostIP": "127.0.0.1"}, {"hostPort": 53, "containerPort": 53, "protocol": "udp"}],
			"ips": ["10.1.0.7/24", "fd01::7"], "mac": "02:00:00:00:00:07", "aliases": ["web"],
			"dns": {"servers": ["192.0.2.54"], "searches": ["b.test"], "options": ["ndots:1"]}
		},
		"prevResult": {"cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "sandbox": "/run/netns/x"}], "ips": [{"address": "10.9.0.1/24", "interface": 0}]},
		"cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0", "more": 1}], "cni.dev/attachments": null
	}`))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(c.version, c.name, c.network.Subnets, *c.network.IPv6, c.network.Internal, c.network.MTU, c.priority, c.dns.Domain,
		c.caps.ip4, c.caps.ip6, c.caps.mac, c.caps.aliases, c.caps.nameserver, c.caps.search, c.caps.options, len(c.caps.ports), c.prev.Interfaces[0].Name, c.attachments)
	want := "1.1.0 n [{10.1.0.0/24 10.1.0.9 10.1.0.128/25} {fd01::/64 invalid IP invalid Prefix}] true true 9000 7 example.test 10.1.0.7 fd01::7 02:00:00:00:00:07 [web] [192.0.2.54] [b.test] [ndots:1] 2 eth0 [{a eth0}]"
	if strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if dns := c.overDNS([]string{"10.1.0.9"}); fmt.Sprint(dns) != "{[10.1.0.9] example.test [b.test] [ndots:1]}" {
		t.Errorf("containers are told %v", dns)
	}
	c, err = readConfig([]byte(`{"cniVersion": "0.4.0", "name": "n", "runtimeConfig": {"aliases": {"n": ["a", "b"]}, "mac": null}}`))
	if err != nil || fmt.Sprint(c.caps.aliases) != "[a b]" || c.prev != nil || c.attachments != nil {
		t.Errorf("podman's: %+v, %v", c, err)
	}
}

func TestAWrongConfigurationIsRefused(t *testing.T) {
	for _, c := range []struct {
		more string
		code uint
		says string
	}{
		{`"bridge": "cni0"`, types.ErrUnsupportedField, `"bridge": "cni0"`},
		{`"isGateway": true`, types.ErrUnsupportedField, "known are"},
		{`"MTU": 1500`, types.ErrUnsupportedField, "MTU"},
		{`"ipam": {"type": "host-local"}`, types.ErrUnsupportedField, "leave ipam out"},
		{`"capabilities": {"bandwidth": true}`, types.ErrUnsupportedField, "capabilities.bandwidth"},
		{`"runtimeConfig": {"bandwidth": {"ingressRate": 1}}`, types.ErrUnsupportedField, "ingressRate"},
		{`"ipMasq": false`, types.ErrInvalidNetworkConfig, "internal"},
		{`"ipMasq": "no"`, types.ErrInvalidNetworkConfig, "ipMasq"},
		{`"subnets": ["10.0.0.0/8"]`, types.ErrInvalidNetworkConfig, "subnets"},
		{`"subnets": [{"subnet": "10.0.0.0"}]`, types.ErrInvalidNetworkConfig, "subnets"},
		{`"subnets": [{"subnet": "10.0.0.0/8", "rangeStart": "10.0.0.5"}]`, types.ErrInvalidNetworkConfig, "rangeStart"},
		{`"ipv6": "yes"`, types.ErrInvalidNetworkConfig, "ipv6"},
		{`"mtu": 1e9999`, types.ErrInvalidNetworkConfig, "mtu"},
		{`"options": {"a": 1}`, types.ErrInvalidNetworkConfig, "options"},
		{`"dns": {"servers": []}`, types.ErrInvalidNetworkConfig, "dns"},
		{`"runtimeConfig": []`, types.ErrInvalidNetworkConfig, "runtimeConfig"},
		{`"runtimeConfig": {"portMappings": [{"hostPort": 0, "containerPort": 80}]}`, types.ErrInvalidNetworkConfig, "hostPort 0"},
		{`"runtimeConfig": {"portMappings": [{"hostPort": 70000, "containerPort": 80}]}`, types.ErrInvalidNetworkConfig, "70000"},
		{`"runtimeConfig": {"portMappings": [{"hostPort": 1, "containerPort": 80, "protocol": "sctp"}]}`, types.ErrInvalidNetworkConfig, "sctp"},
		{`"runtimeConfig": {"portMappings": [{"hostPort": 1, "containerPort": 80, "hostIP": "localhost"}]}`, types.ErrInvalidNetworkConfig, "hostIP"},
		{`"runtimeConfig": {"ips": ["web"]}`, types.ErrInvalidNetworkConfig, "web"},
		{`"runtimeConfig": {"ips": ["fe80::1%eth0"]}`, types.ErrInvalidNetworkConfig, "fe80"},
		{`"runtimeConfig": {"ips": ["10.0.0.1", "10.0.0.2"]}`, types.ErrInvalidNetworkConfig, "one address a family"},
		{`"args": {"cni": {"ips": "10.0.0.1"}}`, types.ErrInvalidNetworkConfig, "cni.ips"},
		{`"runtimeConfig": {"mac": "02:00"}`, types.ErrInvalidNetworkConfig, "MAC"},
		{`"runtimeConfig": {"mac": "02:00:00:00:00:00:00:01"}`, types.ErrInvalidNetworkConfig, "MAC"},
		{`"runtimeConfig": {"aliases": 1}`, types.ErrInvalidNetworkConfig, "list of names"},
		{`"runtimeConfig": {"dns": {"servers": ["localhost"]}}`, types.ErrInvalidNetworkConfig, "localhost"},
		{`"prevResult": 7`, types.ErrInvalidNetworkConfig, "prevResult"},
		{`"prevResult": {"cniVersion": "7.0.0"}`, types.ErrInvalidNetworkConfig, "prevResult"},
		{`"cni.dev/valid-attachments": {}`, types.ErrInvalidNetworkConfig, "valid-attachments"},
	} {
		_, err := readConfig([]byte(`{"cniVersion": "1.1.0", "name": "n", ` + c.more + `}`))
		text, _ := json.Marshal(err)
		if codeOf(err) != c.code || !strings.Contains(strings.ReplaceAll(string(text), `\"`, `"`), c.says) {
			t.Errorf("%s: %s, want code %d about %q", c.more, text, c.code, c.says)
		}
	}
	for text, code := range map[string]uint{
		``: types.ErrDecodingFailure, `[]`: types.ErrDecodingFailure, `{"name": "n"`: types.ErrDecodingFailure,
		`{}`: types.ErrInvalidNetworkConfig, `{"name": ""}`: types.ErrInvalidNetworkConfig, `{"name": "host"}`: types.ErrInvalidNetworkConfig,
		`{"name": "bridge", "mtu": 1400}`: types.ErrInvalidNetworkConfig, `{"name": "bridge"}`: 0,
	} {
		if _, err := readConfig([]byte(text)); codeOf(err) != code {
			t.Errorf("%s: %v, want code %d", text, err, code)
		}
	}
}

func TestArgumentsAreRead(t *testing.T) {
	a, err := readArguments("IgnoreUnknown=1;IP=10.1.0.7/24,fd01::7;MAC=02:00:00:00:00:07;K8S_POD_NAME=web;WHAT=a=b;;")
	if got := fmt.Sprintf("%v %v %v %v", a.pod, a.caps.ip4, a.caps.ip6, a.caps.mac); err != nil || got != "web 10.1.0.7 fd01::7 02:00:00:00:00:07" {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := readArguments(""); err != nil {
		t.Error(err)
	}
	for text, says := range map[string]string{
		"WHAT=1": "WHAT", "IgnoreUnknown=0;WHAT=1": "WHAT", "IgnoreUnknown=maybe": "maybe", "IP": "KEY=VALUE", "=1": "KEY=VALUE",
		"IP=web": "web", "IP=10.0.0.1,10.0.0.2": "one address", "MAC=1": "MAC",
	} {
		if _, err := readArguments(text); codeOf(err) != types.ErrInvalidEnvironmentVariables || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want code 4 about %q", text, err, says)
		}
	}
}

// FuzzConfig: whatever a configuration and its arguments are, they are read or refused with
// a code of the specification, and what was read makes a request.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		`{"cniVersion": "1.1.0", "name": "n", "subnets": [{"subnet": "10.1.0.0/24", "gateway": "10.1.0.9"}], "mtu": 9000}`,
		`{"cniVersion": "0.3.1", "name": "n", "runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 80}], "ips": ["10.1.0.7/24"], "aliases": {"n": ["x"]}}}`,
		`{"cniVersion": "0.4.0", "name": "n", "prevResult": {"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.9.0.1/24"}]}}`,
		`{"cniVersion": "1.0.0", "name": "n", "args": {"cni": {"ips": ["10.1.0.7"], "mac": "02:00:00:00:00:07"}}, "ipam": null}`,
	} {
		f.Add([]byte(seed), "IgnoreUnknown=1;IP=10.1.0.7;MAC=02:00:00:00:00:07")
	}
	f.Fuzz(func(t *testing.T, stdin []byte, args string) {
		for _, err := range []error{errorOf(networkName(stdin)), errorOf(readArguments(args))} {
			if code := codeOf(err); err != nil && (code == 0 || code == types.ErrInternal) {
				t.Errorf("%v has code %d", err, code)
			}
		}
		c, err := readConfig(stdin)
		if err != nil {
			if code := codeOf(err); code == 0 || code == types.ErrInternal {
				t.Errorf("%v has code %d", err, code)
			}
			return
		}
		if c.name == "" {
			t.Error("a configuration without a name was taken")
		}
		more, err := readArguments(args)
		if err != nil {
			return
		}
		if e, err := c.endpoint("eth0", more); err == nil && e.DriverOpts[optIfname] != "eth0" {
			t.Errorf("the endpoint is %+v", e)
		}
		if _, err := json.Marshal(c.network); err != nil {
			t.Errorf("%+v: %v", c.network, err)
		}
	})
}

func errorOf[T any](_ T, err error) error { return err }
