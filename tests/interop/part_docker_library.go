package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/footbridge-net/footbridge/tests/world"
)

func init() { roles["docker-library"] = dockerLibraryRole }

// dockerLibrary runs dockerLibraryRole as the user, with the library's version for DOCKER_API_VERSION.
func dockerLibrary(s *stage) error {
	s.footbridge("network", "ls")
	user := s.user.with("DOCKER_HOST=unix://" + world.RuntimeDir + "/footbridge/footbridge.sock")
	user.run(s.role("docker-library")...)
	for _, v := range []string{"1.44", client.MaxAPIVersion} {
		user.with("DOCKER_API_VERSION=" + v).run(s.role("docker-library")...)
	}
	return nil
}

// dockerLibraryRole does with github.com/moby/moby/client what programs do that make test networks.
func dockerLibraryRole([]string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d, err := client.New(client.FromEnv)
	if err != nil {
		return err
	}
	defer d.Close()
	if ping, err := d.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil || ping.OSType != "linux" {
		return fmt.Errorf("ping: %+v, %w", ping, err)
	}
	info, err := d.Info(ctx, client.InfoOptions{})
	if err != nil || !slices.Contains(info.Info.Plugins.Network, "bridge") {
		return fmt.Errorf("info: %+v, %w", info.Info.Plugins, err)
	}
	version, err := d.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil || version.Platform.Name != "footbridge" {
		return fmt.Errorf("version: %+v, %w", version, err)
	}
	// As dockerd does, from the next moment on.
	events := d.Events(ctx, client.EventsListOptions{Since: fmt.Sprint(time.Now().Unix()), Filters: make(client.Filters).Add("type", "network")})

	blue, err := d.NetworkCreate(ctx, "blue", client.NetworkCreateOptions{
		Driver: "bridge", Labels: map[string]string{"made-by": "library"},
		IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: netip.MustParsePrefix("10.90.0.0/24")}}},
	})
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	defer func() {
		_, rerr := d.NetworkRemove(ctx, "blue", client.NetworkRemoveOptions{})
		err = errors.Join(err, rerr)
	}()
	for {
		select {
		case m := <-events.Messages:
			if m.Action != "create" || m.Actor.Attributes["name"] != "blue" {
				continue // of the time before, in the same second
			}
		case err := <-events.Err:
			return fmt.Errorf("events: %w", err)
		}
		break
	}
	if _, err := d.NetworkCreate(ctx, "blue", client.NetworkCreateOptions{}); !errdefs.IsConflict(err) {
		return fmt.Errorf("create again: %w; want a conflict", err)
	}
	list, err := d.NetworkList(ctx, client.NetworkListOptions{Filters: make(client.Filters).Add("label", "made-by=library")})
	if err != nil || len(list.Items) != 1 || list.Items[0].ID != blue.ID {
		return fmt.Errorf("list: %+v, %w", list.Items, err)
	}
	return errors.Join(libraryContainers(ctx, d), libraryAbsent(ctx, d))
}

// libraryContainers makes two containers on blue that talk.
func libraryContainers(ctx context.Context, d *client.Client) (err error) {
	for name, cmd := range map[string][]string{"web": {"busybox", "httpd", "-f", "-p", "80", "-h", "/etc"}, "box": {"cat"}} {
		made, err := d.ContainerCreate(ctx, client.ContainerCreateOptions{
			Name:       name,
			Config:     &container.Config{Image: "any", Cmd: cmd, OpenStdin: name == "box", StdinOnce: name == "box"},
			HostConfig: &container.HostConfig{NetworkMode: "blue"},
		})
		if err != nil {
			return fmt.Errorf("create %s: %w", name, err)
		}
		defer func() {
			_, rerr := d.ContainerRemove(ctx, made.ID, client.ContainerRemoveOptions{Force: true})
			err = errors.Join(err, rerr)
		}()
	}
	attached, err := d.ContainerAttach(ctx, "box", client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true})
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	defer attached.Close()
	for _, name := range []string{"web", "box"} {
		if _, err := d.ContainerStart(ctx, name, client.ContainerStartOptions{}); err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
	}
	web, err := d.ContainerInspect(ctx, "web", client.ContainerInspectOptions{})
	if err != nil || !netip.MustParsePrefix("10.90.0.0/24").Contains(web.Container.NetworkSettings.Networks["blue"].IPAddress) {
		return fmt.Errorf("inspect: %+v, %w", web.Container.NetworkSettings, err)
	}
	if code, out, err := libraryExec(ctx, d, "box", "busybox", "wget", "-q", "-O", "-", "http://web/passwd"); err != nil || code != 0 || !bytes.Contains(out, []byte("root:")) {
		return fmt.Errorf("exec: %d %q, %w", code, out, err)
	}
	if code, _, err := libraryExec(ctx, d, "box", "sh", "-c", "exit 9"); err != nil || code != 9 {
		return fmt.Errorf("exec of exit 9: %d, %w", code, err)
	}
	for i := range 2 { // connected again, it is as before
		if _, err := d.NetworkDisconnect(ctx, "blue", client.NetworkDisconnectOptions{Container: "web"}); err != nil {
			return fmt.Errorf("disconnect %d: %w", i, err)
		}
		if _, err := d.NetworkConnect(ctx, "blue", client.NetworkConnectOptions{Container: "web", EndpointConfig: &network.EndpointSettings{
			IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr("10.90.0.99")}, Aliases: []string{"www"},
		}}); err != nil {
			return fmt.Errorf("connect %d: %w", i, err)
		}
	}
	if code, out, err := libraryExec(ctx, d, "box", "busybox", "wget", "-q", "-O", "-", "http://www/passwd"); err != nil || code != 0 || !bytes.Contains(out, []byte("root:")) {
		return fmt.Errorf("the alias: %d %q, %w", code, out, err)
	}
	blue, err := d.NetworkInspect(ctx, "blue", client.NetworkInspectOptions{})
	if err != nil || len(blue.Network.Containers) != 2 {
		return fmt.Errorf("inspect of the network: %+v, %w", blue.Network.Containers, err)
	}

	wait := d.ContainerWait(ctx, "box", client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	if _, err := io.WriteString(attached.Conn, "there and back"); err != nil {
		return err
	}
	if err := attached.CloseWrite(); err != nil {
		return err
	}
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, io.Discard, attached.Reader); err != nil || out.String() != "there and back" {
		return fmt.Errorf("attach: %q, %w", out.String(), err)
	}
	select {
	case r := <-wait.Result:
		if r.StatusCode != 0 {
			return fmt.Errorf("wait: %d", r.StatusCode)
		}
	case err := <-wait.Error:
		return fmt.Errorf("wait: %w", err)
	}
	logs, err := d.ContainerLogs(ctx, "box", client.ContainerLogsOptions{ShowStdout: true})
	if err != nil {
		return fmt.Errorf("logs: %w", err)
	}
	defer logs.Close()
	out.Reset()
	if _, err := stdcopy.StdCopy(&out, io.Discard, logs); err != nil || out.String() != "there and back" {
		return fmt.Errorf("logs: %q, %w", out.String(), err)
	}
	if _, err := d.ContainerStop(ctx, "web", client.ContainerStopOptions{}); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	running, err := d.ContainerList(ctx, client.ContainerListOptions{Filters: make(client.Filters).Add("network", "blue")})
	if err != nil || len(running.Items) != 0 {
		return fmt.Errorf("list: %+v, %w", running.Items, err)
	}
	return nil
}

// libraryExec runs a command in a container.
func libraryExec(ctx context.Context, d *client.Client, name string, cmd ...string) (int, []byte, error) {
	made, err := d.ExecCreate(ctx, name, client.ExecCreateOptions{Cmd: cmd, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return 0, nil, err
	}
	attached, err := d.ExecAttach(ctx, made.ID, client.ExecAttachOptions{})
	if err != nil {
		return 0, nil, err
	}
	defer attached.Close()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, attached.Reader); err != nil {
		return 0, nil, err
	}
	state, err := d.ExecInspect(ctx, made.ID, client.ExecInspectOptions{})
	return state.ExitCode, out.Bytes(), err
}

// libraryAbsent asks for what is not there.
func libraryAbsent(ctx context.Context, d *client.Client) error {
	var problems []error
	for what, err := range map[string]error{
		"pull":   second(d.ImagePull(ctx, "busybox", client.ImagePullOptions{})),
		"image":  second(d.ImageInspect(ctx, "busybox")),
		"volume": second(d.VolumeCreate(ctx, client.VolumeCreateOptions{Name: "v"})),
		"swarm":  second(d.SwarmInspect(ctx, client.SwarmInspectOptions{})),
		"disk":   second(d.DiskUsage(ctx, client.DiskUsageOptions{})),
		"stats":  second(d.ContainerStats(ctx, "nobody", client.ContainerStatsOptions{})),
	} {
		if !errdefs.IsNotImplemented(err) {
			problems = append(problems, fmt.Errorf("%s: %w; want that it is not there", what, err))
		}
	}
	if _, err := d.ContainerInspect(ctx, "nobody", client.ContainerInspectOptions{}); !errdefs.IsNotFound(err) {
		problems = append(problems, fmt.Errorf("nobody: %w; want that he is not found", err))
	}
	return errors.Join(problems...)
}

func second[T any](_ T, err error) error { return err }
