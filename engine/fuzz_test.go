package engine

import (
	"context"
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// Whatever a request to make a container holds, it is refused with a class and a
// text that can be shown, or the container can be shown, started and removed, and
// nothing is left of it.
func FuzzContainerCreate(f *testing.F) {
	for _, body := range []string{
		`{"Cmd":["true"]}`,
		`{"Cmd":["true"],"HostConfig":{"NetworkMode":"net","PortBindings":{"80/tcp":[{"HostIp":"::","HostPort":"8000-8010"}]}}}`,
		`{"Cmd":["true"],"HostConfig":{"NetworkMode":"net"},"NetworkingConfig":{"EndpointsConfig":{"net":{"IPAMConfig":{"IPv4Address":"10.7.0.9"},"MacAddress":"02:42:0a:07:00:09","Aliases":["a"]},"bridge":null}}}`,
		`{"Cmd":["true"],"NetworkingConfig":{"EndpointsConfig":{"net":{"DriverOpts":{"com.footbridge.endpoint.addresses":"10.7.0.8/29","com.footbridge.limit.tcp":"5"}}}}}`,
		`{"Entrypoint":[],"Cmd":[""]}`,
		`{"Cmd":["true"],"HostConfig":{"NetworkMode":"container:","Sysctls":{"net.ipv4.ip_forward":"1"},"ExtraHosts":["a:host-gateway"]}}`,
		`{"Cmd":["true"],"HostConfig":{"PublishAllPorts":true},"ExposedPorts":{"1-65535/tcp":{}}}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var req container.CreateRequest
		if json.Unmarshal([]byte(body), &req) != nil {
			return
		}
		w := newWorld(t)
		w.quiet = true
		e := w.engine()
		ctx := context.Background()
		e.testNetwork(t, network.CreateRequest{Name: "net", EnableIPv6: ptr(true), IPAM: subnet("10.7.0.0/24")})
		res, err := e.ContainerCreate(ctx, "c", req)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		shown := func() {
			t.Helper()
			if _, err := json.Marshal(e.testInspect(t, "c")); err != nil {
				t.Errorf("inspect: %v", err)
			}
			list, err := e.ContainerList(ctx, api.ListOptions{All: true})
			if err != nil || len(list) != 1 || !printable(list[0].Command+list[0].Image) {
				t.Errorf("list: %v, %v", list, err)
			}
		}
		shown()
		if err := e.ContainerStart(ctx, res.ID); err != nil {
			checkRefusal(t, err)
		}
		if !w.removed(e, "c") { // else by --rm
			shown()
		}
		if err := e.ContainerRemove(ctx, "c", api.RemoveOptions{Force: true}); err != nil && !w.removed(e, "c") {
			t.Errorf("remove: %v", err)
		}
		w.checkClean(e)
	})
}

func (w *world) removed(e *Engine, name string) bool {
	_, err := e.container(name)
	return err != nil
}

func checkRefusal(t *testing.T, err error) {
	t.Helper()
	if !prose(err.Error()) {
		t.Errorf("the refusal cannot be shown: %q", err)
	}
	if status := api.StatusCode(err); status == 500 {
		t.Errorf("the refusal has no class: %v", err)
	}
}

// The same of networks.
func FuzzNetworkCreate(f *testing.F) {
	for _, body := range []string{
		`{"Name":"n"}`,
		`{"Name":"n","IPAM":{"Config":[{"Subnet":"10.9.0.0/24","IPRange":"10.9.0.128/25","Gateway":"10.9.0.1","AuxiliaryAddresses":{"a":"10.9.0.2"}}]}}`,
		`{"Name":"n","EnableIPv6":true,"IPAM":{"Config":[{"Subnet":"fd00::/64"},{"Gateway":"fd00::9"}]}}`,
		`{"Name":"n","EnableIPv4":false,"EnableIPv6":true}`,
		`{"Name":"n","Options":{"com.docker.network.driver.mtu":"68","com.footbridge.limit.fragments":"65536"}}`,
		`{"Name":"n","IPAM":{"Config":[{"Subnet":"0.0.0.0/0"}]}}`,
		`{"Name":"n","IPAM":{"Config":[{"Subnet":"10.9.0.0/31"}]}}`,
		`{"Name":"n","IPAM":{"Config":[{"Subnet":"10.9.0.0/32"}]}}`,
		`{"Name":"n","IPAM":{"Config":[{"Subnet":"::ffff:10.9.0.0/120"}]}}`,
		`{"Name":"n","IPAM":{"Config":[{"Gateway":"10.9.0.1"}]},"Labels":{"a":"b"}}`,
		`{"Name":"n","IPAM":{"Config":[{"Subnet":"0.0.0.0/24"},{"Subnet":"::/96"}]}}`,
		`{"Name":"n","Internal":true,"IPAM":{"Config":[{"Subnet":"10.9.0.0/31"}]},"Options":{"com.docker.network.bridge.gateway_mode_ipv4":"isolated"}}`,
		`{"Name":"n","IPAM":{"Config":[{"Subnet":"10.9.0.0/24"},{"Subnet":"fd00::/64"}]},"Options":{"com.footbridge.dhcp":"true","com.footbridge.dhcp.range":"10.9.0.128/25;fd00::/80"}}`,
		`{"Name":"n","IPAM":{"Config":[{"Subnet":"fd00::/64"}]},"Options":{"com.footbridge.ip-range":"fd00::9-fd00::ffff","com.footbridge.dns.servers":"192.0.2.1;::9","com.docker.network.enable_ipv4":"0"}}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var req network.CreateRequest
		if json.Unmarshal([]byte(body), &req) != nil {
			return
		}
		w := newWorld(t)
		w.quiet = true
		w.routes = []HostRoute{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}
		e := w.engine()
		ctx := context.Background()
		res, err := e.NetworkCreate(ctx, req)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		n, err := e.NetworkInspect(ctx, res.ID, api.NetworkInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(n); err != nil {
			t.Errorf("inspect: %v", err)
		}
		if _, err := e.testCreate(spec{name: "c", mode: res.ID}); err != nil {
			t.Fatalf("a container on it: %v", err)
		}
		if err := e.ContainerStart(ctx, "c"); err != nil {
			checkRefusal(t, err) // a network may be too small
		}
		if err := e.ContainerRemove(ctx, "c", api.RemoveOptions{Force: true}); err != nil {
			t.Errorf("remove the container: %v", err)
		}
		if err := e.NetworkRemove(ctx, res.ID); err != nil {
			t.Errorf("remove the network: %v", err)
		}
		w.checkClean(e)
	})
}
