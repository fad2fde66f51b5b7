package engine

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
)

func TestSysctlsOfAnEndpoint(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net", EnableIPv6: ptr(true)})
	with := func(list string) map[string]*network.EndpointSettings {
		return map[string]*network.EndpointSettings{"net": {DriverOpts: map[string]string{optSysctls: list}}}
	}
	e.testRun(t, spec{name: "c", mode: "net", nets: with("net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.ifname.hop_limit=33")})
	want := map[string]string{"net.ipv4.conf.IFNAME.log_martians": "1", "net.ipv6.conf.IFNAME.hop_limit": "33"}
	if got := w.links()["net: c eth0"].Sysctls; !maps.Equal(got, want) {
		t.Errorf("sysctls %v, want %v", got, want)
	}
	// Without IPv6 on the interface there is no address for it.
	e.testRun(t, spec{name: "four", mode: "net", nets: with("net.ipv6.conf.IFNAME.disable_ipv6=1")})
	if s := e.testInspect(t, "four").NetworkSettings.Networks["net"]; !s.IPAddress.IsValid() || s.GlobalIPv6Address.IsValid() {
		t.Errorf("addresses %v and %v", s.IPAddress, s.GlobalIPv6Address)
	}
	for list, text := range map[string]string{
		"net.ipv4.conf.eth0.log_martians=1":  "represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V'",
		"net.core.conf.IFNAME.x=1":           "'X' must be 'ipv4', 'ipv6' or 'mpls'",
		"kernel.ipv4.conf.IFNAME.x=1":        "unrecognised network interface sysctl",
		"net.ipv4.conf.IFNAME=1":             "unrecognised network interface sysctl",
		"":                                   "unrecognised network interface sysctl",
		"net.ipv4.conf.IFNAME.log_martians":  "it is net.X.Y.IFNAME.Z=V",
		"net.ipv4.conf.IFNAME.log_martians=": "it is net.X.Y.IFNAME.Z=V",
		"net.ipv4.conf.IFNAME.../../x=1":     "it is net.X.Y.IFNAME.Z=V",
		"net.ipv4.conf.IFNAME.x=1\n2":        "it is net.X.Y.IFNAME.Z=V",
		"net.ipv4.conf.IFNAME.x=1,net.ipv4.conf.IFNAME.y=" + strings.Repeat("1", 300): "it is net.X.Y.IFNAME.Z=V",
	} {
		if _, err := e.testCreate(spec{name: "bad", mode: "net", nets: with(list)}); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), text) {
			t.Errorf("%.60q: %v, want %q", list, err, text)
		}
	}
}

func FuzzSysctls(f *testing.F) {
	f.Add("net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.neigh.ifname.x=2")
	f.Add("net.mpls.conf.IFNAME.input=1")
	f.Add("net.ipv4.conf.IFNAME.a/b=1")
	f.Fuzz(func(t *testing.T, list string) {
		got, err := parseSysctls(map[string]string{optSysctls: list})
		if err != nil {
			return
		}
		for k, v := range got {
			parts := strings.Split(k, ".")
			if len(parts) != 5 || parts[0] != "net" || parts[3] != "IFNAME" || strings.ContainsAny(k, "/ \n\x00") || !printable(v) || v == "" {
				t.Errorf("%q gives %q=%q", list, k, v)
			}
		}
	})
}

func TestInterfacesAreNamedOnce(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	for _, n := range []string{"a", "b", "c"} {
		e.testNetwork(t, network.CreateRequest{Name: n})
	}
	named := func(name string) *network.EndpointSettings {
		return &network.EndpointSettings{DriverOpts: map[string]string{optIfname: name}}
	}
	// One asks for what the other would have been given.
	e.testRun(t, spec{name: "one", mode: "a", nets: map[string]*network.EndpointSettings{"b": named("eth0"), "c": nil}})
	if got, want := slices.Sorted(maps.Keys(w.links())), []string{"a: one eth1", "b: one eth0", "c: one eth2"}; !slices.Equal(got, want) {
		t.Errorf("interfaces %q, want %q", got, want)
	}
	_, err := e.testCreate(spec{name: "two", mode: "a", nets: map[string]*network.EndpointSettings{"a": named("lan"), "b": named("lan")}})
	if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), `"lan"`) {
		t.Errorf("two of a name: %v", err)
	}
	e.testRun(t, spec{name: "three", mode: "a"})
	if err := connectTo(e, "b", "three", named("eth0")); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "eth0") {
		t.Errorf("connect with a name that is taken: %v", err)
	}
	if got := len(e.testInspect(t, "three").NetworkSettings.Networks); got != 1 {
		t.Errorf("after a refused connect there are %d networks", got)
	}
}
