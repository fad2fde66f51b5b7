package main

import (
	"encoding/json"
	"flag"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file below testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("output is not %s:\n%s\nwant:\n%s", path, text, want)
	}
}

var testNow = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func testContainers() []container.Summary {
	host := netip.MustParseAddr("0.0.0.0")
	return []container.Summary{
		{
			ID: fakeID, Names: []string{"/web"}, Image: "host", Command: "python3 -m http.server --directory /srv 80",
			Created: testNow.Add(-3 * time.Hour).Unix(), State: container.StateRunning, Status: "Up 3 hours",
			Ports:  []container.PortSummary{{IP: host, PrivatePort: 80, PublicPort: 8000, Type: "tcp"}},
			Labels: map[string]string{"b": "2", "a": "1"},
			NetworkSettings: &container.NetworkSettingsSummary{Networks: map[string]*network.EndpointSettings{
				"my": {}, "bridge": {},
			}},
		},
		{
			ID: strings.Repeat("f", 64), Names: []string{"/db"}, Image: "host", Command: "sleep 10",
			Created: testNow.Add(-40 * time.Second).Unix(), State: container.StateExited, Status: "Exited (0) 5 seconds ago",
		},
	}
}

func TestListings(t *testing.T) {
	w := newWorld(t)
	w.now = func() time.Time { return testNow }
	w.serve(t, &fakeBackend{
		summaries: testContainers(),
		networks: []network.Summary{
			{Network: network.Network{ID: strings.Repeat("2", 64), Name: "my", Driver: "bridge", Scope: "local", EnableIPv4: true, Created: testNow, Labels: map[string]string{"com.example.some-label": "x"}}},
			{Network: network.Network{ID: strings.Repeat("1", 64), Name: "host", Driver: "host", Scope: "local", EnableIPv4: true, EnableIPv6: true, Created: testNow}},
		},
	})
	var all strings.Builder
	for _, args := range [][]string{
		{"ps"},
		{"container", "ls", "-a"},
		{"ps", "-q"},
		{"ps", "-q", "--no-trunc"},
		{"ps", "--no-trunc"},
		{"ps", "--format", "{{.Names}}: {{.Networks}} {{.Labels}} {{.Label \"a\"}}"},
		{"ps", "--format", `table {{.Names}}\t{{.State}}\t{{.Label "a"}}`},
		{"ps", "--format", "json"},
		{"ps", "--format", "{{json .}}"},
		{"network", "ls"},
		{"network", "ls", "-q"},
		{"network", "list", "--format", "{{.Name | upper}} {{.IPv6}} {{.Internal}}"},
		{"network", "ls", "--format", `table {{.ID}}\t{{.Label "com.example.some-label"}}`},
	} {
		w.expect(t, 0, args...)
		all.WriteString("$ footbridge " + strings.Join(args, " ") + "\n" + w.out.String() + "\n")
	}
	// CREATED AT is in the zone of whoever runs the test.
	text := all.String()
	for _, ago := range []time.Duration{3 * time.Hour, 40 * time.Second} {
		text = strings.ReplaceAll(text, time.Unix(testNow.Add(-ago).Unix(), 0).String(), "("+ago.String()+" ago)")
	}
	golden(t, "listings.txt", text)
	w.expect(t, 1, "ps", "--format", "{{.Nope}}")
}

func TestHelp(t *testing.T) {
	w := newWorld(t)
	var all strings.Builder
	for _, args := range [][]string{{"--help"}, {"network", "--help"}, {"ps", "--help"}, {"network", "create", "--help"}} {
		w.expect(t, 0, args...)
		all.WriteString("$ footbridge " + strings.Join(args, " ") + "\n" + w.out.String() + "\n")
	}
	golden(t, "help.txt", all.String())
}

func TestCompletion(t *testing.T) {
	w := newWorld(t)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		w.expect(t, 0, "completion", shell)
		if !strings.Contains(w.out.String(), "footbridge") {
			t.Errorf("%s: %q", shell, w.out.String())
		}
	}
	w.expect(t, 1, "completion", "foo")
	if !strings.Contains(w.err.String(), "unknown command: footbridge completion foo") {
		t.Errorf("completion for a shell that there is not: %q", w.err.String())
	}
	w.serve(t, &fakeBackend{summaries: testContainers(), networks: []network.Summary{
		{Network: network.Network{Name: "bridge"}}, {Network: network.Network{Name: "mine"}}, {Network: network.Network{Name: "none"}},
	}})
	w.expect(t, 0, "__complete", "network", "rm", "")
	if got := w.out.String(); !strings.HasPrefix(got, "mine\n:") {
		t.Errorf("networks to remove: %q", got)
	}
	w.expect(t, 0, "__complete", "stop", "web", "")
	if got := w.out.String(); !strings.HasPrefix(got, "db\n") || strings.Contains(got, "web") {
		t.Errorf("completes to %q", got)
	}
}

func TestDisplayPorts(t *testing.T) {
	any4, any6, local := netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("::"), netip.MustParseAddr("127.0.0.1")
	p := func(ip netip.Addr, private, public uint16, proto string) container.PortSummary {
		return container.PortSummary{IP: ip, PrivatePort: private, PublicPort: public, Type: proto}
	}
	none := netip.Addr{}
	for _, test := range []struct {
		ports []container.PortSummary
		want  string
	}{
		{nil, ""},
		{[]container.PortSummary{p(none, 80, 0, "tcp")}, "80/tcp"},
		{[]container.PortSummary{p(any4, 80, 8000, "tcp"), p(any6, 80, 8000, "tcp")}, "0.0.0.0:8000->80/tcp, [::]:8000->80/tcp"},
		{[]container.PortSummary{p(any4, 81, 8001, "tcp"), p(any4, 80, 8000, "tcp"), p(any4, 82, 8002, "tcp")}, "0.0.0.0:8000->80/tcp, 0.0.0.0:8001->81/tcp, 0.0.0.0:8002->82/tcp"},
		{[]container.PortSummary{p(any4, 80, 8000, "tcp"), p(any4, 81, 9000, "tcp")}, "0.0.0.0:8000->80/tcp, 0.0.0.0:9000->81/tcp"},
		{[]container.PortSummary{p(none, 80, 0, "tcp"), p(none, 81, 0, "tcp"), p(none, 81, 0, "udp")}, "80-81/tcp, 81/udp"},
		{[]container.PortSummary{p(local, 80, 8000, "tcp"), p(any4, 81, 8001, "tcp")}, "127.0.0.1:8000->80/tcp, 0.0.0.0:8001->81/tcp"},
		{[]container.PortSummary{p(any4, 80, 8000, "tcp"), p(none, 81, 0, "tcp")}, "81/tcp, 0.0.0.0:8000->80/tcp"},
		{[]container.PortSummary{p(any4, 53, 5300, "udp"), p(any4, 443, 443, "tcp"), p(any4, 80, 8000, "tcp"), p(any6, 443, 443, "tcp")},
			"0.0.0.0:443->443/tcp, [::]:443->443/tcp, 0.0.0.0:5300->53/udp, 0.0.0.0:8000->80/tcp"},
		{[]container.PortSummary{p(any4, 65535, 65535, "udp"), p(any4, 65535, 65535, "udp")}, "0.0.0.0:65535->65535/udp"},
		{[]container.PortSummary{p(any4, 80, 8000, "tcp"), p(any4, 80, 8001, "tcp")}, "0.0.0.0:8000->80/tcp, 0.0.0.0:8001->80/tcp"},
	} {
		if got := displayPorts(test.ports); got != test.want {
			t.Errorf("%v is shown as %q, want %q", test.ports, got, test.want)
		}
	}
}

func testInspect() container.InspectResponse {
	mac, _ := net.ParseMAC("02:42:ac:11:00:02")
	return container.InspectResponse{
		ID: fakeID, Name: "/web",
		State:      &container.State{Status: container.StateRunning, Running: true, ExitCode: 0, Pid: 42},
		Config:     &container.Config{Hostname: "web", Labels: map[string]string{"a": "1"}},
		HostConfig: &container.HostConfig{NetworkMode: "container:other"},
		NetworkSettings: &container.NetworkSettings{
			Ports: network.PortMap{
				network.MustParsePort("80/tcp"): {{HostIP: netip.MustParseAddr("0.0.0.0"), HostPort: "8000"}, {HostIP: netip.MustParseAddr("::"), HostPort: "8000"}},
				network.MustParsePort("90/udp"): nil,
			},
			Networks: map[string]*network.EndpointSettings{
				"bridge": {IPAddress: netip.MustParseAddr("172.17.0.2"), IPPrefixLen: 16, Gateway: netip.MustParseAddr("172.17.0.1"), MacAddress: network.HardwareAddr(mac)},
			},
		},
	}
}

func TestInspectTemplates(t *testing.T) {
	w := newWorld(t)
	detail := api.ContainerDetail{Endpoints: map[string]api.EndpointDetail{"bridge": {Counters: map[string]uint64{"guard_drops": 7}}}}
	w.serve(t, &fakeBackend{inspect: testInspect(), detail: detail, networks: []network.Summary{{Network: network.Network{
		Name: "my", ID: strings.Repeat("2", 64),
		IPAM: network.IPAM{Config: []network.IPAMConfig{{Subnet: netip.MustParsePrefix("172.18.0.0/16"), Gateway: netip.MustParseAddr("172.18.0.1")}}},
	}}}})
	for template, want := range map[string]string{
		"{{.Footbridge.Endpoints.bridge.Counters.guard_drops}}":                                                                                                                 "7",
		"{{.NetworkSettings.Networks.bridge.IPAddress}}/{{.NetworkSettings.Networks.bridge.IPPrefixLen}}":                                                                       "172.17.0.2/16",
		"{{range $n, $e := .NetworkSettings.Networks}}{{$n}}={{$e.MacAddress}} via {{$e.Gateway}}{{end}}":                                                                       "bridge=02:42:ac:11:00:02 via 172.17.0.1",
		"[{{.NetworkSettings.Networks.bridge.GlobalIPv6Address}}]":                                                                                                              "[]",
		`{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}`:                                                                                                        "8000",
		`{{range $p, $b := .NetworkSettings.Ports}}{{$p}}:{{len $b}} {{end}}`:                                                                                                   "80/tcp:2 90/udp:0 ",
		`{{json (index .NetworkSettings.Ports "80/tcp")}}`:                                                                                                                      `[{"HostIp":"0.0.0.0","HostPort":"8000"},{"HostIp":"::","HostPort":"8000"}]`,
		"{{.State.Status}} {{.State.Running}} {{if eq .State.ExitCode 0}}zero{{end}}":                                                                                           "running true zero",
		"{{.NetworkSettings.IPAddress}} {{.NetworkSettings.Gateway}} {{.NetworkSettings.MacAddress}} {{.NetworkSettings.IPPrefixLen}} [{{.NetworkSettings.GlobalIPv6Address}}]": "172.17.0.2 172.17.0.1 02:42:ac:11:00:02 16 []",
		"{{.ID}}": fakeID,
		"{{.Id}}": fakeID,
		"{{.HostConfig.NetworkMode.IsContainer}}":                                      "true",
		"{{.Config.Labels.nope}}":                                                      "<no value>",
		"{{.NetworkSettings.Networks.nope.IPAddress}}":                                 "<no value>",
		"{{upper .Name}} {{title \"some text\"}} {{lower \"A\"}}":                      "/WEB Some Text a",
		`{{join (split "a.b.c" ".") "-"}}`:                                             "a-b-c",
		`[{{pad "x" 1 2}}] [{{pad "" 1 2}}] {{truncate "héllo" 2}} {{truncate "a" 5}}`: "[ x  ] [] hé a",
		`{{println "a"}}`:                "a\n",
		`a\tb`:                           "a\tb",
		"{{json .Config.Labels}}":        `{"a":"1"}`,
		"{{.State.Pid}} {{.Name}}":       "42 /web",
		"{{with .State}}{{.Pid}}{{end}}": "42",
	} {
		w.expect(t, 0, "inspect", "-f", template, "web")
		if got := w.out.String(); got != want+"\n" {
			t.Errorf("%s gave %q, want %q", template, got, want+"\n")
		}
	}
	w.expect(t, 1, "inspect", "-f", "{{.Nope}}", "web")
	if !strings.Contains(w.err.String(), `template parsing error`) || !strings.Contains(w.err.String(), `"Nope"`) {
		t.Errorf("said %q", w.err.String())
	}
	w.expect(t, 0, "network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}} [{{.IPRange}}]{{end}} {{.ID}}", "my")
	if got := w.out.String(); got != "172.18.0.0/16 172.18.0.1 [] "+strings.Repeat("2", 64)+"\n" {
		t.Errorf("network: %q", got)
	}
}

// What is there is printed, what is missing is named, in one go.
func TestInspectMissing(t *testing.T) {
	w := newWorld(t)
	w.serve(t, &fakeBackend{inspect: testInspect()})
	w.expect(t, 1, "inspect", "nope", "web")
	var list []container.InspectResponse
	if err := json.Unmarshal(w.out.Bytes(), &list); err != nil || len(list) != 1 || list[0].ID != fakeID {
		t.Errorf("printed %s (%v)", w.out.String(), err)
	}
	if got := w.err.String(); got != "footbridge: No such object: nope\n" {
		t.Errorf("said %q", got)
	}
	w.expect(t, 1, "network", "inspect", "nope")
	if w.out.String() != "[]\n" {
		t.Errorf("printed %q", w.out.String())
	}
}

func TestPortCommand(t *testing.T) {
	w := newWorld(t)
	w.serve(t, &fakeBackend{inspect: testInspect()})
	for args, want := range map[string]string{
		"port web":        "80/tcp -> 0.0.0.0:8000\n80/tcp -> [::]:8000\n",
		"port web 80":     "0.0.0.0:8000\n[::]:8000\n",
		"port web 80/TCP": "0.0.0.0:8000\n[::]:8000\n",
	} {
		w.expect(t, 0, strings.Fields(args)...)
		if got := w.out.String(); got != want {
			t.Errorf("%s printed %q, want %q", args, got, want)
		}
	}
	w.expect(t, 1, "port", "web", "90/udp")
	if got := w.err.String(); got != "footbridge: no public port '90/udp' published for web\n" {
		t.Errorf("said %q", got)
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]time.Time{
		"42m":                         testNow.Add(-42 * time.Minute),
		"1.5h":                        testNow.Add(-90 * time.Minute),
		"2026-05-04T11:00:00Z":        testNow.Add(-time.Hour),
		"2026-05-04T13:00:00.5+02:00": testNow.Add(-time.Hour + 500*time.Millisecond),
		"2026-05-04T11:00:00":         testNow.Add(-time.Hour),
		"2026-05-04":                  testNow.Add(-12 * time.Hour),
		"1777888800":                  time.Unix(1777888800, 0),
		"1777888800.25":               time.Unix(1777888800, 250_000_000),
		"":                            {},
	} {
		if got, err := parseTime("since", text, testNow); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"x", "2026-13-01", "1.x", "2026-05-04T"} {
		if got, err := parseTime("since", text, testNow); err == nil {
			t.Errorf("%q is %v, want an error", text, got)
		}
	}
}
