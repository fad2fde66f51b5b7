package netavark

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// setupInput is what netavark 1.14 writes for podman 5.4, null fields included.
const setupInput = `{
  "container_id": "752947ff91f9", "container_name": "web",
  "port_mappings": [{"container_port": 80, "host_ip": "127.0.0.1", "host_port": 8080, "protocol": "tcp", "range": 1}],
  "network": {
    "created": "2026-01-02T03:04:05Z", "dns_enabled": true, "driver": "footbridge", "id": "2f259bab93aa",
    "internal": false, "ipv6_enabled": false, "name": "front", "network_interface": null, "options": null,
    "ipam_options": {"driver": "host-local"}, "network_dns_servers": null, "routes": null, "labels": null,
    "subnets": [{"gateway": "10.90.0.1", "lease_range": null, "subnet": "10.90.0.0/24"}]
  },
  "network_options": {
    "aliases": ["752947ff91f9", "www"], "interface_name": "eth0", "options": null,
    "static_ips": ["10.90.0.5"], "static_mac": "aa:bb:cc:dd:ee:00"
  }
}`

func mustExec(t testing.TB, text string) Exec {
	t.Helper()
	e, err := ReadExec(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// What podman knows of a network and this package does not comes back as it was.
func TestANetworkKeepsWhatIsNotKnownHere(t *testing.T) {
	const text = `{"name":"n","id":"1","driver":"footbridge","created":"2026-01-02T03:04:05Z","tomorrow":{"a":[1]},
		"ipv6_enabled":false,"internal":true,"dns_enabled":true,"labels":{"k":"v"},
		"subnets":[{"subnet":"10.0.0.0/24","lease_range":{"start_ip":"10.0.0.9"}}],"ipam_options":{"driver":"host-local"}}`
	n, err := ReadNetwork(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := errors.Join(json.Unmarshal(b, &got), json.Unmarshal([]byte(text), &want)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestInputThatIsNotWhatItShouldBe(t *testing.T) {
	network := func(text string) error { _, err := ReadNetwork(strings.NewReader(text)); return err }
	exec := func(text string) error { _, err := ReadExec(strings.NewReader(text)); return err }
	ports := func(text string) error { _, err := ReadPortConfig(strings.NewReader(text)); return err }
	for _, c := range []struct {
		read       func(string) error
		text, want string
	}{
		{network, ``, "standard input is empty"},
		{network, `{`, "unexpected end"},
		{network, `[]`, "cannot unmarshal array"},
		{network, `{"id":"1"}`, "name is missing"},
		{network, `{"name":"n"}`, "id is missing"},
		{network, `{"name":"n","id":"1","subnets":[{"subnet":"10.0.0.0"}]}`, "10.0.0.0"},
		{network, strings.Repeat(" ", maxInput+1), "more than 4 MiB"},
		{exec, `{"network":{"name":"n","id":"1"},"network_options":{"interface_name":"eth0"},"container_name":"c"}`, "container_id"},
		{exec, `{"network":{"name":"n","id":"1"},"network_options":{"interface_name":"eth0"},"container_id":"c"}`, "container_name"},
		{exec, `{"network":{"name":"n","id":"1"},"container_name":"c","container_id":"c"}`, "interface_name"},
		{exec, strings.Replace(setupInput, `"10.90.0.5"`, `"10.90"`, 1), "10.90"},
		{ports, `{"ExitFD":3,"ReadyFD":4}`, "ContainerID"},
		{ports, `{"ContainerID":"../x","ExitFD":3,"ReadyFD":4}`, "ContainerID"},
		{ports, `{"ContainerID":"c","ExitFD":1,"ReadyFD":4}`, "ExitFD"},
		{ports, `{"ContainerID":"c","ExitFD":3,"ReadyFD":3}`, "ReadyFD"},
		{ports, `{"ContainerID":"c","ExitFD":3,"ReadyFD":4,"RootlessCNI":true,"TmpDir":"rel"}`, "TmpDir"},
	} {
		err := c.read(c.text)
		if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: %v; want ErrInput with %q", c.text, err, c.want)
		}
	}
}

func TestThePortForwardersInput(t *testing.T) {
	c, err := ReadPortConfig(strings.NewReader(`{"Mappings":[{"host_ip":"","container_port":80,"host_port":8000,"range":1,"protocol":"tcp"}],
		"NetNSPath":"/run/user/1000/netns/x","ExitFD":3,"ReadyFD":4,"TmpDir":"/run/user/1000/libpod/tmp","ChildIP":"10.0.0.2","ContainerID":"abc","RootlessCNI":true}`))
	if err != nil || len(c.Mappings) != 1 || c.Socket() != "/run/user/1000/libpod/tmp/rp/abc" {
		t.Errorf("%+v, %v", c, err)
	}
}

// FuzzInput: whatever podman writes is read, or refused with ErrInput or ErrUnavailable;
// what was read can be asked of footbridge and be written back.
func FuzzInput(f *testing.F) {
	f.Add([]byte(setupInput), 0)
	f.Add([]byte(`{"name":"n","id":"1","ipv6_enabled":true}`), 1)
	f.Add([]byte(`{"name":"n","id":"1","subnets":[{"subnet":"::ffff:10.0.0.0/120"}],"options":{"isolate":"strict"}}`), 3)
	f.Add([]byte(`{"ContainerID":"c","ExitFD":3,"ReadyFD":4,"Mappings":[{"container_port":65535,"host_port":1,"range":65535}]}`), 0)
	f.Fuzz(func(t *testing.T, b []byte, attempt int) {
		known := func(err error) {
			if err != nil && !errors.Is(err, ErrInput) && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrNoSubnet) && !strings.Contains(err.Error(), "has no subnet") {
				t.Errorf("an error of no kind: %v", err)
			}
		}
		n, err := ReadNetwork(strings.NewReader(string(b)))
		known(err)
		if err == nil {
			name, id, driver := n.Name, n.ID, n.Driver
			if _, err = n.Complete(nil, attempt&7); err == nil {
				if n.Name != name || n.ID != id || n.Driver != driver {
					t.Error("podman's fields changed")
				}
				req, err := n.Request()
				if err != nil || len(req.IPAM.Config) == 0 {
					t.Errorf("a completed network cannot be asked for: %v", err)
				}
				text, err := json.Marshal(n)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := ReadNetwork(strings.NewReader(string(text))); err != nil {
					t.Errorf("%s: %v", text, err)
				}
			}
			known(err)
		}
		e, err := ReadExec(strings.NewReader(string(b)))
		known(err)
		if err == nil {
			_, err = e.Endpoint()
			known(err)
			_, err = PortMap(e.Ports)
			known(err)
			_, err = e.Network.Request()
			known(err)
		}
		c, err := ReadPortConfig(strings.NewReader(string(b)))
		known(err)
		if err == nil {
			_, err = PortMap(c.Mappings)
			known(err)
		}
	})
}
