package engine

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/tap"
)

// Whoever attaches a namespace may have the files of a container for it; they follow its networks, and go with it.
func TestAnAttachedNamespaceHasFilesWhereTheyAreAskedFor(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	e.testNetwork(t, network.CreateRequest{Name: "net"})
	e.testNetwork(t, network.CreateRequest{Name: "more"})
	w.places.add(77, tap.View{Interfaces: []string{"lo"}})
	req := api.NamespaceRequest{Name: "box", PID: 77, Files: true, CreateRequest: container.CreateRequest{
		Config:     &container.Config{Hostname: "inside"},
		HostConfig: &container.HostConfig{NetworkMode: "net", ExtraHosts: []string{"db:192.0.2.7"}, DNSSearch: []string{"example.org"}, DNSOptions: []string{"timeout:3"}},
	}}
	if _, err := e.NamespaceAttach(ctx, req); err != nil {
		t.Fatal(err)
	}
	in := e.testInspect(t, "box")
	if in.HostsPath == "" || in.ResolvConfPath == "" || in.HostnamePath != "" || in.LogPath != "" {
		t.Fatalf("inspect: %+v", in)
	}
	has := func(path string, want ...string) {
		t.Helper()
		b, err := os.ReadFile(path)
		for _, text := range want {
			if err != nil || strings.HasPrefix(text, "!") == strings.Contains(string(b), strings.TrimPrefix(text, "!")) {
				t.Errorf("%s: %q, %v, want %q", path, b, err, want)
			}
		}
	}
	has(in.HostsPath, "172.18.0.2\tinside\n", "192.0.2.7\tdb\n", "!172.19.0.2")
	has(in.ResolvConfPath, "nameserver 172.18.0.1\n", "search example.org\n", "options timeout:3")
	if err := e.NetworkConnect(ctx, "more", network.ConnectRequest{Container: "box"}); err != nil {
		t.Fatal(err)
	}
	has(in.HostsPath, "172.18.0.2\tinside\n", "172.19.0.2\tinside\n")
	if err := e.NetworkDisconnect(ctx, "net", network.DisconnectRequest{Container: "box"}); err != nil {
		t.Fatal(err)
	}
	has(in.HostsPath, "!172.18.0.2", "172.19.0.2\tinside\n", "192.0.2.7\tdb\n")
	has(in.ResolvConfPath, "nameserver 172.19.0.1\n")
	if err := e.NamespaceDetach(ctx, "box"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(in.HostsPath); !os.IsNotExist(err) {
		t.Errorf("after detach: %v", err)
	}
	w.checkClean(e)
	w.noNamespaces()
}
