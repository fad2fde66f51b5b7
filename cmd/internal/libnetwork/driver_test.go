package libnetwork

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// Ids as dockerd makes them.
const (
	networkID  = "1111111111112222222222223333333333334444444444445555555555556666"
	network2ID = "aaaaaaaaaaaabbbbbbbbbbbb3333333333334444444444445555555555556666"
	epID       = "eeeeeeeeeeee2222222222223333333333334444444444445555555555556666"
)

// Requests as dockerd 20.10 and 28 send them.
const (
	createRequest = `{"NetworkID":"` + networkID + `","Options":{"com.docker.network.enable_ipv6":true,"com.docker.network.generic":{"com.docker.network.driver.mtu":"1400"}},` +
		`"IPv4Data":[{"AddressSpace":"LocalDefault","Gateway":"10.60.0.9/24","Pool":"10.60.0.0/24","AuxAddresses":{"printer":"10.60.0.2/24"}}],` +
		`"IPv6Data":[{"AddressSpace":"LocalDefault","Gateway":"fd60::1/64","Pool":"fd60::/64"}]}`
	both            = `"NetworkID":"` + networkID + `","EndpointID":"` + epID + `"`
	endpointRequest = `{` + both + `,"Interface":{"Address":"10.60.0.10/24","AddressIPv6":"fd60::a/64","MacAddress":""},"Options":{"com.docker.network.endpoint.exposedports":[{"Proto":6,"Port":80}]}}`
	portsRequest    = `{` + both + `,"Options":{"com.docker.network.portmap":[` +
		`{"Proto":6,"IP":"","Port":80,"HostIP":"","HostPort":8000,"HostPortEnd":8000},` +
		`{"Proto":17,"IP":"","Port":53,"HostIP":"127.0.0.1","HostPort":0,"HostPortEnd":0},` +
		`{"Proto":6,"IP":"","Port":443,"HostIP":"","HostPort":8443,"HostPortEnd":8450}]}}`
)

func TestANetworkOfDockersIsOneOfFootbridges(t *testing.T) {
	d, s, _ := newDriver(t)
	if out := s.must(t, "CreateNetwork", createRequest); out != "{}" {
		t.Errorf("answered %s", out)
	}
	n := d.networks["docker-111111111111"]
	if n.Driver != "bridge" || n.Labels[labelNetwork] != networkID || !reflect.DeepEqual(n.Options, map[string]string{"com.docker.network.driver.mtu": "1400"}) {
		t.Errorf("the network is %+v", n)
	}
	if c := n.IPAM.Config; len(c) != 2 || c[0].Subnet.String() != "10.60.0.0/24" || c[0].Gateway.String() != "10.60.0.9" ||
		c[0].AuxAddress["printer"].String() != "10.60.0.2" || c[1].Subnet.String() != "fd60::/64" || c[1].Gateway.String() != "fd60::1" {
		t.Errorf("its addresses are %+v", c)
	}
	// dockerd asks again if it has not read the answer.
	s.must(t, "CreateNetwork", createRequest)
	s.must(t, "DeleteNetwork", `{"NetworkID":"`+networkID+`"}`)
	s.must(t, "DeleteNetwork", `{"NetworkID":"`+networkID+`"}`)
	if left := d.names(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestAnEndpointIsABareAttachment(t *testing.T) {
	d, s, _ := newDriver(t)
	s.must(t, "CreateNetwork", createRequest)
	// What dockerd gives is not answered, which it would take for a contradiction.
	if out := s.must(t, "CreateEndpoint", endpointRequest); out != `{"Interface":{"MacAddress":"02:42:01:02:03:04"}}` {
		t.Errorf("CreateEndpoint: %s", out)
	}
	c := d.attached["docker-eeeeeeeeeeee"]
	got := c.NetworkSettings.Networks["docker-111111111111"]
	if got.IPAddress.String() != "10.60.0.10" || got.GlobalIPv6Address.String() != "fd60::a" || got.DriverOpts[optIfname] != "fbeeeeeeeeee" || c.Config.Labels[labelEndpoint] != epID {
		t.Errorf("attached: %+v with %+v", c.Config.Labels, got)
	}
	if out := s.must(t, "Join", `{`+both+`,"SandboxKey":"/run/docker/netns/1"}`); out != `{"InterfaceName":{"SrcName":"fbeeeeeeeeee","DstPrefix":"eth"},"Gateway":"10.60.0.9","GatewayIPv6":"fd60::1"}` {
		t.Errorf("Join: %s", out)
	}
	if out := s.must(t, "EndpointOperInfo", `{`+both+`}`); !strings.Contains(out, `"com.footbridge.container":"id-of-docker-eeeeeeeeeeee"`) {
		t.Errorf("EndpointOperInfo: %s", out)
	}
	s.must(t, "Leave", `{`+both+`}`)
	s.must(t, "DeleteEndpoint", `{`+both+`}`)
	s.must(t, "DeleteEndpoint", `{`+both+`}`) // dockerd's own crash
	s.refuses(t, "Join", `{`+both+`}`, "not known here")
	if left := d.names(); !slices.Equal(left, []string{"docker-111111111111"}) {
		t.Errorf("left: %q", left)
	}
}

func TestAnInternalNetworkHasNoWayOut(t *testing.T) {
	d, s, _ := newDriver(t)
	s.must(t, "CreateNetwork", strings.Replace(createRequest, `"Options":{`, `"Options":{"com.docker.network.internal":true,`, 1))
	s.must(t, "CreateEndpoint", endpointRequest)
	if !d.networks["docker-111111111111"].Internal {
		t.Error("the network is not internal")
	}
	if out := s.must(t, "Join", `{`+both+`}`); out != `{"InterfaceName":{"SrcName":"fbeeeeeeeeee","DstPrefix":"eth"},"DisableGatewayService":true}` {
		t.Errorf("Join: %s", out)
	}
}

func TestPortsArePublishedWhenDockerSaysSo(t *testing.T) {
	d, s, _ := newDriver(t)
	s.must(t, "CreateNetwork", createRequest)
	s.must(t, "CreateEndpoint", endpointRequest)
	s.must(t, "ProgramExternalConnectivity", portsRequest)
	got := d.published["docker-eeeeeeeeeeee"]
	want := map[string]string{"80/tcp": "8000", "53/udp": "127.0.0.1 ", "443/tcp": "8443-8450"}
	for port, bindings := range got {
		text := bindings[0].HostPort
		if bindings[0].HostIP.IsValid() {
			text = bindings[0].HostIP.String() + " " + text
		}
		if len(bindings) != 1 || want[port.String()] != text {
			t.Errorf("%s: %+v", port, bindings)
		}
	}
	if len(got) != len(want) {
		t.Errorf("published: %+v", got)
	}
	s.must(t, "RevokeExternalConnectivity", `{`+both+`}`)
	if len(d.published) > 0 {
		t.Errorf("published still: %+v", d.published)
	}
	s.must(t, "RevokeExternalConnectivity", `{`+both+`}`)
	s.must(t, "ProgramExternalConnectivity", `{`+both+`,"Options":{}}`) // nothing to publish
	s.refuses(t, "ProgramExternalConnectivity", strings.Replace(portsRequest, `"Proto":17`, `"Proto":132`, 1), "TCP and UDP")
	s.refuses(t, "ProgramExternalConnectivity", strings.Replace(portsRequest, `"127.0.0.1"`, `"nonsense"`, 1), "nonsense")
	d.fail["ContainerPublish"] = api.Errorf(errdefs.ErrPermissionDenied, "port is already allocated")
	s.refuses(t, "ProgramExternalConnectivity", portsRequest, "port is already allocated")
}

func TestANetworkOfFootbridgesIsShared(t *testing.T) {
	d, s, _ := newDriver(t)
	d.have("blue", "bridge", "10.60.0.0/24", "10.60.0.9")
	d.have("host", "host", "10.70.0.0/24", "10.70.0.1")
	request := func(options, subnet, gateway string) string {
		return `{"NetworkID":"` + networkID + `","Options":{"com.docker.network.generic":{` + options + `}},"IPv4Data":[{"Pool":"` + subnet + `","Gateway":"` + gateway + `"}]}`
	}
	blue := `"com.footbridge.network":"blue"`
	s.refuses(t, "CreateNetwork", request(blue, "10.61.0.0/24", "10.61.0.1/24"), "--subnet 10.60.0.0/24 --gateway 10.60.0.9")
	s.refuses(t, "CreateNetwork", request(blue, "10.60.0.0/24", "10.60.0.1/24"), "--gateway 10.60.0.9")
	s.refuses(t, "CreateNetwork", request(blue+`,"mtu":"1400"`, "10.60.0.0/24", "10.60.0.9/24"), "leave mtu out")
	s.refuses(t, "CreateNetwork", request(`"com.footbridge.network":"red"`, "10.60.0.0/24", "10.60.0.9/24"), "network red not found")
	s.refuses(t, "CreateNetwork", request(`"com.footbridge.network":"host"`, "10.70.0.0/24", "10.70.0.1/24"), "not one that containers can be attached to")
	s.must(t, "CreateNetwork", request(blue, "10.60.0.0/24", "10.60.0.9/24"))
	s.must(t, "CreateEndpoint", strings.Replace(endpointRequest, `"AddressIPv6":"fd60::a/64",`, "", 1))
	if c := d.attached["docker-eeeeeeeeeeee"]; c.NetworkSettings == nil || c.NetworkSettings.Networks["blue"] == nil {
		t.Errorf("attached: %+v", c)
	}
	s.must(t, "DeleteEndpoint", `{`+both+`}`)
	s.must(t, "DeleteNetwork", `{"NetworkID":"`+networkID+`"}`)
	if left := d.names(); !slices.Equal(left, []string{"blue", "host"}) {
		t.Errorf("left: %q, want what was there before", left)
	}
}

// dockerd forgets a network although others' containers are on it.
func TestNetworksThatDockerHasForgottenGoLater(t *testing.T) {
	d, s, _ := newDriver(t)
	s.must(t, "CreateNetwork", createRequest)
	d.fail["NetworkRemove"] = api.Errorf(errdefs.ErrPermissionDenied, "network has active endpoints")
	s.refuses(t, "DeleteNetwork", `{"NetworkID":"`+networkID+`"}`, "active endpoints")
	s.must(t, "CreateNetwork", strings.ReplaceAll(createRequest, networkID, network2ID)) // not yet
	if n := d.names(); len(n) != 2 {
		t.Errorf("networks: %q", n)
	}
	d.fail["NetworkRemove"] = nil
	s.must(t, "CreateNetwork", strings.ReplaceAll(createRequest, networkID, network2ID))
	if n := d.names(); !slices.Equal(n, []string{"docker-aaaaaaaaaaaa"}) {
		t.Errorf("networks: %q, want the one that Docker has", n)
	}
}

func TestRefusalsLeaveNothing(t *testing.T) {
	d, s, dir := newDriver(t)
	for _, tt := range []struct{ method, body, phrase string }{
		{"CreateNetwork", `{"NetworkID":`, "not understood"},
		{"CreateNetwork", `{"NetworkID":"../../etc/passwd"}`, "not the id"},
		{"CreateNetwork", `{"NetworkID":"short"}`, "not the id"},
		{"CreateNetwork", strings.Replace(createRequest, `"Pool":"10.60.0.0/24"`, `"Pool":"0.0.0.0/0"`, 1), "without addresses"},
		{"CreateNetwork", strings.Replace(createRequest, `"Pool":"10.60.0.0/24"`, `"Pool":"10.60.0.0/99"`, 1), "not understood"},
		{"CreateNetwork", strings.Replace(createRequest, `"10.60.0.9/24"`, `"10.70.0.9/24"`, 1), "not in the subnet"},
		{"CreateNetwork", strings.Replace(createRequest, `"1400"`, `{"a":1}`, 1), "not a text"},
		{"CreateEndpoint", endpointRequest, "docker network rm"},
		{"Join", `{}`, "not the id"},
		{"Leave", `{"EndpointID":"/"}`, "not the id"},
		{"AllocateNetwork", `{}`, "swarm"},
		{"FreeNetwork", `{}`, "swarm"},
	} {
		s.refuses(t, tt.method, tt.body, tt.phrase)
	}
	if left := d.names(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	// The daemon refuses, or is not there.
	d.fail["Client"] = errors.New("no footbridge daemon listens")
	s.refuses(t, "CreateNetwork", createRequest, "no footbridge daemon listens")
	d.fail["Client"] = nil
	s.must(t, "CreateNetwork", createRequest)
	d.fail["Attach"] = api.Errorf(errdefs.ErrPermissionDenied, "Address already in use")
	s.refuses(t, "CreateEndpoint", endpointRequest, "Address already in use")
	d.fail["Attach"] = nil
	d.fail["ContainerInspect"] = errors.New("lost")
	s.refuses(t, "CreateEndpoint", endpointRequest, "lost")
	d.fail["ContainerInspect"] = nil
	s.refuses(t, "CreateEndpoint", strings.Replace(endpointRequest, `"MacAddress":""`, `"MacAddress":"zz"`, 1), "zz")
	s.refuses(t, "CreateEndpoint", strings.Replace(endpointRequest, "10.60.0.10/24", "10.60.0.10", 1), "address of an endpoint")
	if len(d.attached) > 0 {
		t.Errorf("attached: %v", d.attached)
	}
	// A record that cannot be read is told of, and goes with its network.
	if err := os.WriteFile(filepath.Join(string(dir), networkID), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, "CreateEndpoint", endpointRequest, "damaged")
	s.must(t, "DeleteNetwork", `{"NetworkID":"`+networkID+`"}`)
	if _, err := os.Stat(filepath.Join(string(dir), networkID)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the record: %v", err)
	}
}

// A container of that name which is somebody else's is left alone.
func TestAContainerOfTheSameNameIsNotTaken(t *testing.T) {
	d, s, _ := newDriver(t)
	s.must(t, "CreateNetwork", createRequest)
	s.must(t, "CreateEndpoint", endpointRequest)
	d.attached["docker-eeeeeeeeeeee"].Config.Labels[labelEndpoint] = "another"
	s.refuses(t, "Join", `{`+both+`}`, "is not the attachment")
	s.refuses(t, "DeleteEndpoint", `{`+both+`}`, "is not the attachment")
	if len(d.attached) != 1 {
		t.Error("it was detached")
	}
}

func TestTheProtocolsForm(t *testing.T) {
	_, s, _ := newDriver(t)
	if code, out := s.post(t, "/Plugin.Activate", ""); code != http.StatusOK || out != `{"Implements":["NetworkDriver"]}` {
		t.Errorf("Activate: %d %s", code, out)
	}
	if out := s.must(t, "GetCapabilities", ""); out != `{"Scope":"local","ConnectivityScope":"local"}` {
		t.Errorf("GetCapabilities: %s", out)
	}
	for _, method := range []string{"DiscoverNew", "DiscoverDelete"} {
		if out := s.must(t, method, `{"DiscoveryType":1,"DiscoveryData":{}}`); out != "{}" {
			t.Errorf("%s: %s", method, out)
		}
	}
	// By that dockerd knows that a driver is older than a method.
	if code, _ := s.post(t, driverPath+"GwAllocCheck", "{}"); code != http.StatusNotFound {
		t.Errorf("an unknown method: %d", code)
	}
	s.refuses(t, "Join", `{"NetworkID":"`+strings.Repeat("x", maxBody)+`"}`, "too large")
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, driverPath+"Join", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Content-Type") != mediaType {
		t.Errorf("GET: %d %v", w.Code, w.Header())
	}
}

var _ Daemon = (*api.Client)(nil)

// FuzzRequest: whatever dockerd's socket says is answered in the protocol's form.
func FuzzRequest(f *testing.F) {
	methods := []string{"CreateNetwork", "DeleteNetwork", "CreateEndpoint", "EndpointOperInfo", "DeleteEndpoint", "Join", "Leave", "ProgramExternalConnectivity", "RevokeExternalConnectivity"}
	for i := range methods {
		for _, body := range []string{createRequest, endpointRequest, portsRequest, `{` + both + `}`, `null`, `[]`, ``} {
			f.Add(uint8(i), body)
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, body string) {
		_, s, dir := newDriver(t)
		s.must(t, "CreateNetwork", createRequest)
		s.must(t, "CreateEndpoint", endpointRequest)
		code, out := s.post(t, driverPath+methods[int(n)%len(methods)], body)
		if code != http.StatusOK && code != http.StatusInternalServerError || !strings.HasPrefix(out, "{") {
			t.Errorf("%d %s", code, out)
		}
		entries, err := os.ReadDir(filepath.Dir(string(dir)))
		if err != nil || len(entries) != 1 {
			t.Errorf("files beside the records: %v, %v", entries, err)
		}
	})
}

// Of each protocol the number is the kernel's.
func TestProtocolsHaveTheirNumbers(t *testing.T) {
	if protocols[6] != network.TCP || protocols[17] != network.UDP || len(protocols) != 2 {
		t.Errorf("protocols are %v", protocols)
	}
}
