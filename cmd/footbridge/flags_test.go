package main

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/network"
)

func TestParseAttachment(t *testing.T) {
	for text, want := range map[string]string{
		"net1":                               "net1",
		"name=net1":                          "net1",
		"net1,alias=db,alias=sql":            "net1 aliases=[db sql]",
		"name=net1,ip=10.0.0.5":              "net1 ip=10.0.0.5",
		"net1,ip6=2001:db8::5":               "net1 ip6=2001:db8::5",
		"net1,mac-address=02:42::1":          "error",
		"net1,mac-address=02:42:ac:11:00:09": "net1 mac=02:42:ac:11:00:09",
		"net1,ALIAS=db":                      "net1 aliases=[db]",
		`net1,"driver-opt=a=b"`:              "net1 opts=map[a:b]",
		`net1,"driver-opt=a=b=1,c=2"`:        "net1 opts=map[a:b=1,c=2]",
		"net1,interface_name=lan":            "net1 opts=map[com.docker.network.endpoint.ifname:lan]",
		"net1:ip=10.0.0.5,alias=db,alias=x":  "net1 aliases=[db x] ip=10.0.0.5",
		"net1:ip=10.0.0.5,ip=2001:db8::5":    "net1 ip=10.0.0.5 ip6=2001:db8::5",
		"net1:mac=02:42:ac:11:00:09":         "net1 mac=02:42:ac:11:00:09",
		"net1:interface_name=lan":            "net1 opts=map[com.docker.network.endpoint.ifname:lan]",
		"net1:":                              "error",
		"net1:db":                            "error",
		"net1:host_interface_name=veth7":     "error",
		"name=net1,mac=02:42:ac:11:00:09":    "net1 mac=02:42:ac:11:00:09",
		"net1,gw-priority=-3":                "net1 priority=-3",
		"container:web":                      "container:web",
		"ns:/run/a,b=c":                      "ns:/run/a,b=c",
		"":                                   "default",
		"name=":                              "error",
		"net1,db":                            "error",
		"net1,ip=10.0.0":                     "error",
		"net1,ip=::1":                        "error",
		"net1,ip6=10.0.0.1":                  "error",
		"net1,foo=bar":                       "error",
		"net1,gw-priority=x":                 "error",
		`net1,"alias`:                        "error",
	} {
		a, err := parseAttachment(text)
		got := describe(a)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q is %s (%v), want %s", text, got, err, want)
		}
	}
}

func describe(a attachment) string {
	s := a.name
	for _, part := range []struct {
		key string
		val any
		set bool
	}{
		{"aliases", a.aliases, len(a.aliases) > 0},
		{"ip", a.ip, a.ip.IsValid()},
		{"ip6", a.ip6, a.ip6.IsValid()},
		{"mac", a.mac, len(a.mac) > 0},
		{"opts", a.driverOpts, len(a.driverOpts) > 0},
		{"priority", a.gwPriority, a.gwPriority != 0},
	} {
		if part.set {
			s += fmt.Sprintf(" %s=%v", part.key, part.val)
		}
	}
	return s
}

func TestNetworking(t *testing.T) {
	list := func(specs ...string) []attachment {
		var l []attachment
		for _, s := range specs {
			a, err := parseAttachment(s)
			if err != nil {
				t.Fatal(err)
			}
			l = append(l, a)
		}
		return l
	}
	mode, config, err := networking(list("one", "two,alias=x"), simpleAttachment{ip: "10.0.0.2", aliases: []string{"db"}})
	if err != nil {
		t.Fatal(err)
	}
	if mode != "one" || len(config.EndpointsConfig) != 2 {
		t.Fatalf("mode %q, endpoints %v", mode, config.EndpointsConfig)
	}
	one, two := config.EndpointsConfig["one"], config.EndpointsConfig["two"]
	if one.IPAMConfig.IPv4Address != netip.MustParseAddr("10.0.0.2") || !slices.Equal(one.Aliases, []string{"db"}) {
		t.Errorf("the flags are not the first network's: %+v", one)
	}
	if two.IPAMConfig != nil || !slices.Equal(two.Aliases, []string{"x"}) {
		t.Errorf("second network: %+v", two)
	}

	mode, config, err = networking(nil, simpleAttachment{})
	if err != nil || mode != "default" || config.EndpointsConfig["default"] == nil {
		t.Errorf("without --network: %q %v %v", mode, config, err)
	}
	if mode, config, err = networking(list("container:web"), simpleAttachment{}); err != nil || mode != "container:web" || config != nil {
		t.Errorf("container mode: %q %v %v", mode, config, err)
	}
	for what, f := range map[string]func() error{
		"alias twice": func() error {
			_, _, err := networking(list("a,alias=x"), simpleAttachment{aliases: []string{"y"}})
			return err
		},
		"ip twice": func() error {
			_, _, err := networking(list("a,ip=10.0.0.1"), simpleAttachment{ip: "10.0.0.2"})
			return err
		},
		"host and ip": func() error {
			_, _, err := networking(list("host"), simpleAttachment{ip: "10.0.0.2"})
			return err
		},
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), "conflicting options") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestParsePublish(t *testing.T) {
	for _, test := range []struct {
		publish, expose []string
		want            string // container ports and bindings, or "error: text"
	}{
		{publish: []string{"80"}, want: "80/tcp=[:]"},
		{publish: []string{"8000:80"}, want: "80/tcp=[:8000]"},
		{publish: []string{"8000:80", "8000:80"}, want: "80/tcp=[:8000]"},
		{publish: []string{"127.0.0.1:8000:80/udp"}, want: "80/udp=[127.0.0.1:8000]"},
		{publish: []string{"[::1]:8000:80"}, want: "80/tcp=[::1:8000]"},
		{publish: []string{"127.0.0.1::80"}, want: "80/tcp=[127.0.0.1:]"},
		{publish: []string{"8000-8001:80-81"}, want: "80/tcp=[:8000] 81/tcp=[:8001]"},
		{publish: []string{"8000-8010:80"}, want: "80/tcp=[:8000-8010]"},
		{publish: []string{"53:53/UDP"}, want: "53/udp=[:53]"},
		{publish: []string{"target=80,published=8000"}, want: "80/tcp=[:8000]"},
		{publish: []string{"target=53,published=5353,protocol=udp,mode=host,host_ip=::1"}, want: "53/udp=[::1:5353]"},
		{publish: []string{"target=80,host_ip=127.0.0.1"}, want: "80/tcp=[127.0.0.1:]"},
		{publish: []string{"target=80"}, want: "80/tcp=[:]"},
		{expose: []string{"80", "90-91/udp"}, want: "80/tcp=[] 90/udp=[] 91/udp=[]"},
		{publish: []string{"published=8000"}, want: "error: target"},
		{publish: []string{"target=80,mode=x"}, want: "error: publish mode"},
		{publish: []string{"target=80,x=y"}, want: "error: invalid publish field"},
		{publish: []string{"target=80,protocol=icmp"}, want: "error: invalid protocol"},
		{publish: []string{"8000:80-81"}, want: "error: invalid ranges"},
		{publish: []string{"80:0"}, want: "error: invalid containerPort: 0"},
		{publish: []string{"70000:80"}, want: "error: invalid hostPort: 70000: ports are 1-65535"},
		{publish: []string{"80:65536-65537"}, want: "error: invalid containerPort: 65536-65537: ports are 1-65535"},
		{publish: []string{"9102-9100:80"}, want: "error: invalid hostPort: 9102-9100: a range begins with its lower port: 9100-9102"},
		{publish: []string{"127.0.0.1:80"}, want: "error: invalid hostPort: 127.0.0.1: an address is followed by a host port, which may be empty: -p 127.0.0.1::80"},
		{publish: []string{"x"}, want: "error: publish ports as [[ip:][host-port]:]container-port[/tcp|udp]"},
		{publish: []string{"80/icmp"}, want: "error: invalid proto"},
		{publish: []string{"nope:80:80"}, want: "error: invalid IP address"},
		{publish: []string{""}, want: "error: no port specified"},
		{expose: []string{"0"}, want: "error: --expose"},
		{expose: []string{"80/x"}, want: "error: --expose"},
		{expose: []string{"9-8"}, want: "error: --expose"},
	} {
		exposed, bindings, err := parsePublish(test.publish, test.expose)
		if text, ok := strings.CutPrefix(test.want, "error: "); ok {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%q %q: %v, want %q in it", test.publish, test.expose, err, text)
			}
			continue
		}
		var parts []string
		for port := range maps.Keys(exposed) {
			var hosts []string
			for _, b := range bindings[port] {
				host := ""
				if b.HostIP.IsValid() {
					host = b.HostIP.String()
				}
				hosts = append(hosts, host+":"+b.HostPort)
			}
			parts = append(parts, fmt.Sprintf("%s=%v", port, hosts))
		}
		slices.Sort(parts)
		if got := strings.Join(parts, " "); err != nil || got != test.want {
			t.Errorf("%q %q: %s (%v), want %s", test.publish, test.expose, got, err, test.want)
		}
	}
}

func FuzzParsePublish(f *testing.F) {
	for _, seed := range []string{"80", "[::1]:8000-8001:80-81/udp", "target=80,published=1", "::1:1:1", "0.0.0.0::1/tcp"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		if len(spec) > 1000 {
			return
		}
		exposed, bindings, err := parsePublish([]string{spec}, nil)
		if err != nil {
			return
		}
		for port := range bindings {
			if _, ok := exposed[port]; !ok || port.Num() == 0 {
				t.Errorf("%q publishes %v and exposes %v", spec, bindings, exposed)
			}
		}
	})
}

func FuzzParseAttachment(f *testing.F) {
	for _, seed := range []string{"a", "name=a,alias=b", "a,ip=10.0.0.1,ip6=::1", "ns:/x", `a,"driver-opt=k=v"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if a, err := parseAttachment(text); err == nil && a.name == "" {
			t.Errorf("%q names no network and is no error", text)
		}
	})
}

func TestEnv(t *testing.T) {
	caller := []string{"PATH=/bin", "HOME=/home/u", "SECRET=x", "LANG=C", "LC_ALL=C.UTF-8", "TERM=vt100", "USER=u", "EMPTY="}
	lookup := (&cli{environ: caller}).lookupEnv
	got := mergeEnv(baseEnv(caller, false), resolveEnv([]string{"A=1", "SECRET", "NOT_SET", "HOME=/", "A=2", "EMPTY"}, lookup))
	want := []string{"HOME=/", "LANG=C", "LC_ALL=C.UTF-8", "PATH=/bin", "USER=u", "A=2", "SECRET=x", "EMPTY="}
	if !slices.Equal(got, want) {
		t.Errorf("environment\n%q, want\n%q", got, want)
	}
	if got := baseEnv(caller, true); !slices.Contains(got, "TERM=vt100") {
		t.Errorf("on a terminal: %q", got)
	}
	if got := baseEnv(nil, true); !slices.Equal(got, []string{"PATH=" + defaultPath, "TERM=xterm"}) {
		t.Errorf("from nothing: %q", got)
	}
}

func TestReadEnvFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "env")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("\xef\xbb\xbfA=1\n# comment\n\n  B = 2\nC\nD=x # y\n")
	if _, err := readEnvFile(path); err == nil || !strings.Contains(err.Error(), "whitespace") {
		t.Errorf("a name with a blank: %v", err)
	}
	write("\xef\xbb\xbfA=1\n# comment\n\n  B=2\nC\nD=x # y\n")
	got, err := readEnvFile(path)
	if want := []string{"A=1", "B=2", "C", "D=x # y"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q (%v), want %q", got, err, want)
	}
	write("=x\n")
	if _, err := readEnvFile(path); err == nil {
		t.Error("a line without a name is no error")
	}
	write("A=\xff\n")
	if _, err := readEnvFile(path); err == nil {
		t.Error("bytes that are no text are no error")
	}
}

func TestAddHostAndSearch(t *testing.T) {
	for text, want := range map[string]string{
		"a:10.0.0.1": "a:10.0.0.1", "a=10.0.0.1": "a:10.0.0.1", "a:::1": "a:::1", "a=[::1]": "a:::1", "a:host-gateway": "a:host-gateway",
	} {
		if got, err := checkAddHost(text); err != nil || got != want {
			t.Errorf("%q is %q (%v), want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"a", ":1.2.3.4", "a:b", "a:"} {
		if got, err := checkAddHost(text); err == nil {
			t.Errorf("%q is %q, want an error", text, got)
		}
	}
	for _, text := range []string{".", "example.com", "a_b.c", "x."} {
		if _, err := checkDNSSearch(text); err != nil {
			t.Error(err)
		}
	}
	for _, text := range []string{"", "a b", "-a", "a..b", strings.Repeat("a", 64)} {
		if _, err := checkDNSSearch(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestIPAMFlags(t *testing.T) {
	i := ipamFlags{
		subnets:  []string{"10.5.0.0/16", "2001:db8:1::/64"},
		ranges:   []string{"10.5.1.0/24", "2001:db8:1::a-2001:db8:1::ff"},
		gateways: []string{"2001:db8:1::1", "10.5.0.254"},
		aux:      listFlag{values: []string{"printer=10.5.0.9"}},
	}
	list, ranges, err := i.config()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ranges, []string{"2001:db8:1::a-2001:db8:1::ff"}) {
		t.Errorf("ranges that are no prefixes: %v", ranges)
	}
	want := network.IPAMConfig{
		Subnet: netip.MustParsePrefix("10.5.0.0/16"), IPRange: netip.MustParsePrefix("10.5.1.0/24"), Gateway: netip.MustParseAddr("10.5.0.254"),
	}
	got := list[0]
	if got.Subnet != want.Subnet || got.IPRange != want.IPRange || got.Gateway != want.Gateway || got.AuxAddress["printer"].String() != "10.5.0.9" {
		t.Errorf("first subnet %+v, want %+v", got, want)
	}
	if list[1].Gateway.String() != "2001:db8:1::1" {
		t.Errorf("second subnet %+v", list[1])
	}
}

func TestNetworkCreateRequest(t *testing.T) {
	for args, want := range map[string]string{
		"--disable-dns --dns 192.0.2.1,2001:db8::1": "map[com.footbridge.dns:false com.footbridge.dns.servers:192.0.2.1;2001:db8::1]",
		"--subnet 10.5.0.0/24 --subnet fd00::/64 --ip-range 10.5.0.3-10.5.0.9 --ip-range fd00::1-fd00::f -o mtu=1400": "map[com.footbridge.ip-range:10.5.0.3-10.5.0.9;fd00::1-fd00::f mtu:1400]",
		"--disable-dns -o com.footbridge.dns=true":                     "conflicting options",
		"--subnet 10.5.0.0/24 --ip-range 10.5.0.3-10.6.0.9":            "no matching subnet for range 10.5.0.3-10.6.0.9",
		"--subnet 10.5.0.0/24 --ip-range 10.5.0.3-":                    "invalid ip-range 10.5.0.3-",
		"--ip-range 10.5.0.3-10.5.0.9":                                 "every ip-range or gateway must have a corresponding subnet",
		"--subnet 10.5.0.0/24 --gateway 10.6.0.1":                      "no matching subnet for gateway 10.6.0.1",
		"--subnet 10.5.0.0/24 --gateway 10.5.0.1 --gateway 10.5.0.2":   "every ip-range or gateway must have",
		"--subnet 10.5.0.0/24 --subnet 10.5.0.0/25":                    "multiple overlapping subnet configuration is not supported",
		"--subnet 10.5.0.0/24 --aux-address a=10.6.0.1":                "no matching subnet for aux-address 10.6.0.1",
		"--subnet 10.5.0.0/24 --aux-address a=10.5.0.1 -o x":           "map[x:]",
		"--subnet 10.5.0.0/24 --subnet fd00::/64 --ip-range fd00::/63": "no matching subnet for range fd00::/63",
	} {
		o := networkCreateOptions{options: listFlag{check: checkOption}, labels: listFlag{check: checkLabel}}
		f := o.flags()
		got := ""
		err := f.Parse(strings.Fields(args))
		if err == nil {
			req, rerr := o.request("n", f)
			got, err = fmt.Sprint(req.Options), rerr
		}
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
}
