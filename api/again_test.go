package api

import (
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

func TestRestartRenameTopPrune(t *testing.T) {
	f, c := start(t)
	ctx := testContext(t)
	id := createContainer(t, c, "web", container.Config{Cmd: []string{"wait"}})
	seconds := 3
	if err := c.ContainerRestart(ctx, "web", StopOptions{Signal: "INT", Timeout: &seconds}); err != nil {
		t.Fatal(err)
	}
	if f.lastStop.Signal != "INT" || f.lastStop.Timeout == nil || *f.lastStop.Timeout != 3 {
		t.Errorf("stopped with %+v", f.lastStop)
	}
	if err := c.ContainerRename(ctx, "web", "-x"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("renamed to -x: %v", err)
	}
	if err := c.ContainerRename(ctx, "web", "db"); err != nil {
		t.Fatal(err)
	}
	top, err := c.ContainerTop(ctx, "db", "-o pid,cmd")
	if err != nil || len(top.Processes) != 1 || top.Processes[0][1] != "db -o pid,cmd" {
		t.Errorf("top: %+v, %v", top, err)
	}
	if err := c.ContainerKill(ctx, "db", ""); err != nil {
		t.Fatal(err)
	}
	report, err := c.ContainersPrune(ctx, nil)
	if err != nil || len(report.ContainersDeleted) != 1 || report.ContainersDeleted[0] != id {
		t.Errorf("prune: %+v, %v", report, err)
	}
	if report, err = c.ContainersPrune(ctx, nil); err != nil || report.ContainersDeleted == nil {
		t.Errorf("prune of nothing: %+v, %v", report, err)
	}
}

// An empty name would make the path another one.
func TestEmptyNamesAreRefused(t *testing.T) {
	_, c := start(t)
	_, err := c.ContainerInspect(testContext(t), "")
	if !errdefs.IsInvalidArgument(err) || err.Error() != "invalid container name or ID: value is empty" {
		t.Errorf("inspect: %v", err)
	}
	err = c.NetworkRemove(testContext(t), "")
	if !errdefs.IsInvalidArgument(err) || err.Error() != "invalid network name or ID: value is empty" {
		t.Errorf("network rm: %v", err)
	}
}

// From version 1.52 of the API on they are not there.
func TestFlatSettingsGoToOldClients(t *testing.T) {
	f, c := start(t)
	createContainer(t, c, "web", container.Config{Cmd: []string{"wait"}})
	s, err := NewServer(ServerOptions{Backend: f})
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]bool{"/v1.50": true, "/v1.52": false, "": false} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest("GET", version+"/containers/web/json", nil))
		if got := strings.Contains(w.Body.String(), `"IPAddress"`); got != want {
			t.Errorf("%s: flat settings are there: %v, want %v: %s", version, got, want, w.Body)
		}
	}
}

func TestFlatSettings(t *testing.T) {
	c := container.InspectResponse{ID: "x", NetworkSettings: &container.NetworkSettings{
		SandboxID: "s", Networks: map[string]*network.EndpointSettings{"bridge": {
			IPAddress: netip.MustParseAddr("172.17.0.2"), IPPrefixLen: 16, Gateway: netip.MustParseAddr("172.17.0.1"),
			MacAddress: network.HardwareAddr{2, 0x42, 0xac, 0x11, 0, 2}, EndpointID: "e",
		}},
	}}
	w := httptest.NewRecorder()
	if err := writeFlat(w, ContainerInspect{InspectResponse: c}); err != nil {
		t.Fatal(err)
	}
	var got struct {
		ID              string `json:"Id"`
		NetworkSettings struct {
			SandboxID, IPAddress, Gateway, MacAddress, EndpointID, GlobalIPv6Address string
			IPPrefixLen                                                              int
			Networks                                                                 map[string]any
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	s := got.NetworkSettings
	if got.ID != "x" || s.SandboxID != "s" || s.IPAddress != "172.17.0.2" || s.IPPrefixLen != 16 || s.Gateway != "172.17.0.1" ||
		s.MacAddress != "02:42:ac:11:00:02" || s.EndpointID != "e" || s.GlobalIPv6Address != "" || len(s.Networks) != 1 {
		t.Errorf("got %s", w.Body)
	}
}
