package main

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/engine"
	"github.com/footbridge-net/footbridge/engine/ipam"
)

// allSettings has every key.
const allSettings = `
bip = "10.9.0.1/24"
bip6 = "fd00:9::1/64"
fixed-cidr = "10.9.0.128/25"
fixed-cidr-v6 = "fd00:9::/80"
ipv6 = true
mtu = 1400
icc = false
ip = "127.0.0.1"
default-network-names = true
dns = ["192.0.2.1", "2001:db8::1"]
dns-search = ["corp.example"]
dns-opts = ["timeout:1"]
host-gateway-ips = ["192.0.2.9"]
idle-timeout = "90s"
log-level = "debug"

[[default-address-pools]]
base = "10.200.0.0/16"
size = 24

[default-network-opts.bridge]
"com.docker.network.driver.mtu" = "1300"
`

// allFlags say the same, but for what has flags of its own.
var allFlags = []string{
	"--bip=10.9.0.1/24", "--bip6=fd00:9::1/64", "--fixed-cidr=10.9.0.128/25", "--fixed-cidr-v6=fd00:9::/80", "--ipv6", "--mtu=1400", "--icc=false",
	"--ip=127.0.0.1", "--default-network-names", "--dns=192.0.2.1", "--dns=2001:db8::1", "--dns-search=corp.example", "--dns-opt=timeout:1",
	"--host-gateway-ip=192.0.2.9", "--default-address-pool=base=10.200.0.0/16,size=24", "--default-network-opt=bridge=com.docker.network.driver.mtu=1300",
}

func TestSettingsOfFileAndFlags(t *testing.T) {
	addr := netip.MustParseAddr
	want := engine.Config{
		Pools: []ipam.Base{{Prefix: netip.MustParsePrefix("10.200.0.0/16"), Bits: 24}},
		Default: engine.DefaultNetwork{
			Subnet4: netip.MustParsePrefix("10.9.0.1/24"), Subnet6: netip.MustParsePrefix("fd00:9::1/64"),
			Range4: netip.MustParsePrefix("10.9.0.128/25"), Range6: netip.MustParsePrefix("fd00:9::/80"),
			IPv6: true, MTU: 1400, NoICC: true, Publish: addr("127.0.0.1"), Names: true,
		},
		NetworkOptions: map[string]map[string]string{"bridge": {"com.docker.network.driver.mtu": "1300"}},
		Resolvers:      engine.Resolvers{Servers: []netip.Addr{addr("192.0.2.1"), addr("2001:db8::1")}, Search: []string{"corp.example"}, Options: []string{"timeout:1"}},
		HostGateway:    []netip.Addr{addr("192.0.2.9")},
	}
	file, err := parseSettings([]byte(allSettings))
	if err != nil {
		t.Fatal(err)
	}
	if got := file.config(); !reflect.DeepEqual(got, want) {
		t.Errorf("the file: %+v\nwant %+v", got, want)
	}
	v := reflect.ValueOf(*file)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not in the test's file", settingsKeys()[i])
		}
	}
	if err := want.Check(); err != nil {
		t.Errorf("what it says: %v", err)
	}
	var o daemonOptions
	cmd := &cobra.Command{}
	o.settings.register(cmd.Flags())
	if err := cmd.ParseFlags(allFlags); err != nil {
		t.Fatal(err)
	}
	if got := o.settings.config(); !reflect.DeepEqual(got, want) {
		t.Errorf("the flags: %+v\nwant %+v", got, want)
	}
	err = o.settings.join(file)
	for _, key := range slices.DeleteFunc(settingsKeys(), func(k string) bool { return k == "idle-timeout" || k == "log-level" }) {
		if err == nil || !strings.Contains(err.Error(), key+": (from flag: ") {
			t.Errorf("both: %v, want %s named", err, key)
		}
	}
	var empty daemonSettings
	if err := empty.join(file); err != nil || !reflect.DeepEqual(empty.config(), want) {
		t.Errorf("the file alone: %v", err)
	}
}

func FuzzSettings(f *testing.F) {
	for _, seed := range []string{allSettings, "mtu = 'x'\n", "\r\nbip = 5", "[default-network-opts.bridge]\na = 5", "= 5", "idle-timeout = '1x'"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseSettings(text)
		switch {
		case err == nil:
			c := s.config()
			_ = c.Check()
		case strings.Contains(err.Error(), "Go struct") || strings.Contains(err.Error(), "daemonSettings"):
			t.Errorf("%q: %v", text, err)
		}
	})
}

func TestSettingsRefuse(t *testing.T) {
	for text, want := range map[string]string{
		"mtu = 1400\nmtus = 1": "unknown key mtus (line 2): known are default-address-pools, bip,",
		"[bridge]\nmtu = 1400": "unknown key bridge (line 1)",
		"[[default-address-pools]]\nbase='10.0.0.0/8'\nlength=8": "unknown key default-address-pools.length (line 3)",
		`mtu = "big"`:                                `line 1: mtu = "big": mtu must be a whole number, such as 1400`,
		`bip = "10.0.0.1"`:                           `line 1: bip = "10.0.0.1": bip must be an address with the subnet's length, such as "10.9.0.1/24"`,
		"[default-network-opts.bridge]\na = 5":       "line 2: a = 5: default-network-opts must be",
		"[[default-address-pools]]\nbase='10.0.0.0'": "line 2: base='10.0.0.0': default-address-pools.base must be",
		"mtu = 1\nmtu = 2":                           "mtu",
		`icc = "no"`:                                 "line 1",
		"bip = 'a'\nbip = 'b'":                       "line",
		"dns = '192.0.2.1'":                          "line 1",
		"= 5":                                        "line 1",
	} {
		_, err := parseSettings([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	// The decoder does not say which of the addresses it is.
	for key, text := range map[string]string{
		"bip": "bip = 5", "bip6": "bip6 = true", "ip": "ip = 1.5", "fixed-cidr": "fixed-cidr = 10.9", "fixed-cidr-v6": "fixed-cidr-v6 = 0x10",
		"dns": "dns = [false]", "host-gateway-ips": "host-gateway-ips = [1, 2]", "default-address-pools.base": "default-address-pools = [{base = inf}]",
	} {
		_, err := parseSettings([]byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), "an address stands in quotation marks, such as") {
			t.Fatalf("%q: %v", text, err)
		}
		_, list, _ := strings.Cut(err.Error(), ": look at ")
		if !slices.Contains(strings.Split(list, ", "), key) {
			t.Errorf("%q: %v, want %s named", text, err, key)
		}
	}
	for _, key := range settingsKeys() {
		if settingKinds[key] == "" {
			t.Errorf("nothing says what %s has to be", key)
		}
	}
	for _, flags := range [][]string{
		{"--default-address-pool=10.0.0.0/8"}, {"--default-address-pool=base=10.0.0.0/8,size=x"}, {"--bip=10.0.0.1"}, {"--mtu=x"}, {"--icc=maybe"},
		{"--dns=host"}, {"--ip=x"}, {"--default-network-opt=bridge"}, {"--default-network-opt==a=b"},
	} {
		var s daemonSettings
		cmd := &cobra.Command{}
		s.register(cmd.Flags())
		if err := cmd.ParseFlags(flags); err == nil {
			t.Errorf("%v was taken", flags)
		}
	}
}

func TestSettingsFile(t *testing.T) {
	w := newWorld(t)
	if got, want := configPath(w.getenv), filepath.Join(w.folder, ".config", "footbridge", "footbridge.toml"); got != want {
		t.Errorf("path %s, want %s", got, want)
	}
	w.environ = append(w.environ, "XDG_CONFIG_HOME="+filepath.Join(w.folder, "etc"))
	path := configPath(w.getenv)
	if want := filepath.Join(w.folder, "etc", "footbridge", "footbridge.toml"); path != want {
		t.Errorf("path %s, want %s", path, want)
	}
	if s, err := readSettings(path, false); err != nil || !reflect.ValueOf(*s).IsZero() {
		t.Errorf("no file: %+v, %v", s, err)
	}
	if _, err := readSettings(path, true); !errors.Is(err, errSettings) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file where one was named: %v", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := readSettings(path, false); !errors.Is(err, errSettings) {
		t.Errorf("a folder: %v", err)
	}
}

// The first command of all tells what is wrong with the configuration, and no daemon is
// left; what is right with it holds.
func TestDaemonReadsItsConfiguration(t *testing.T) {
	w := newWorld(t)
	w.stopAtEnd(t)
	path := configPath(w.getenv)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]string{
		"colour = 'red'":                   "unknown key colour (line 1)",
		"mtu = 3":                          "invalid configuration: mtu: invalid MTU 3",
		"idle-timeout = 'soon'":            "soon is not a duration",
		"idle-timeout = '-5s'":             "-5s is not a duration",
		"bip = '127.0.0.1/24'":             "invalid configuration: bip:",
		"default-address-pools=[{size=2}]": "invalid configuration: default-address-pools:",
	} {
		write(text)
		w.expect(t, 1, "network", "ls")
		if !strings.Contains(w.err.String(), want) {
			t.Errorf("%q: %s, want %q", text, w.err.String(), want)
		}
	}
	write("idle-timeout = '9m'\nlog-level = 'warn'")
	for _, flag := range []string{"--idle-timeout=8m", "--log-level=info"} {
		w.expect(t, 1, "daemon", flag)
		if !strings.Contains(w.err.String(), "specified both as a flag and in the configuration file") {
			t.Errorf("%s beside the file: %s", flag, w.err.String())
		}
	}
	write(allSettings)
	w.expect(t, 0, "network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}} {{end}}{{json .Options}}", "bridge")
	for _, want := range []string{"10.9.0.0/24 10.9.0.1 fd00:9::/64 fd00:9::1", `"com.docker.network.bridge.enable_icc":"false"`, `"com.docker.network.bridge.host_binding_ipv4":"127.0.0.1"`} {
		if !strings.Contains(w.out.String(), want) {
			t.Errorf("the default network: %s, want %q", w.out.String(), want)
		}
	}
	w.expect(t, 0, "network", "create", "n")
	w.expect(t, 0, "network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "n")
	if strings.TrimSpace(w.out.String()) != "10.200.0.0/24" {
		t.Errorf("a network's subnet is %s", w.out.String())
	}
	// A program that could not start with it is not executed.
	write("mtu = 3")
	w.expect(t, 1, "daemon", "upgrade", "--binary", testBinary(t))
	if !strings.Contains(w.err.String(), "invalid MTU 3") {
		t.Errorf("upgrade: %s", w.err.String())
	}
	w.expect(t, 0, "network", "inspect", "n")
}

// The documentation names every key, and its example can be used.
func TestSettingsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/networks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range settingsKeys() {
		if !strings.Contains(string(text), "`"+key+"`") {
			t.Errorf("%s is not documented", key)
		}
	}
	_, example, _ := strings.Cut(string(text), "```toml\n")
	example, _, ok := strings.Cut(example, "```")
	s, err := parseSettings([]byte(example))
	if err != nil || !ok {
		t.Fatalf("the example: %v", err)
	}
	if c := s.config(); c.Check() != nil || len(c.Pools) != 2 || len(c.NetworkOptions["bridge"]) != 2 {
		t.Errorf("the example is %+v", c)
	}
}
