package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
	"github.com/footbridge-net/footbridge/internal/netavark"
)

// maxAgain bounds how often a network is made that somebody removes as unused before it
// is used.
const maxAgain = 5

// setup puts a container on a network.
func (p *program) setup(ctx context.Context, path string, e netavark.Exec) (netavark.StatusBlock, error) {
	var none netavark.StatusBlock
	j := &join{exec: e, netns: path}
	var err error
	if j.settings, err = e.Endpoint(); err != nil {
		return none, err
	}
	ports, err := netavark.PortMap(e.Ports)
	if err != nil {
		return none, err
	}
	if !p.forwarderFollows() {
		j.ports = ports
	}
	if j.file, err = plugin.Open(path); err != nil {
		return none, err
	}
	defer j.file.Close()
	if j.d, err = p.connect(ctx, plugin.Options{Getenv: p.getenv}); err != nil {
		return none, err
	}
	status, err := j.run(ctx)
	if err != nil {
		return none, errors.Join(err, sweep(ctx, j.d))
	}
	for _, w := range j.warnings {
		fmt.Fprintf(p.stderr, "WARNING: footbridge: %s\n", w)
	}
	return status, nil
}

// forwarderFollows reports whether podman starts its port forwarder after setup: it does
// so where it has made itself a user namespace, and tells its children by this variable.
func (p *program) forwarderFollows() bool {
	return p.getenv("_CONTAINERS_USERNS_CONFIGURED") != ""
}

// join is one container on its way to one network.
type join struct {
	d        daemon
	exec     netavark.Exec
	netns    string
	file     *os.File // the namespace
	settings *network.EndpointSettings
	ports    network.PortMap
	warnings []string
}

func (j *join) run(ctx context.Context) (netavark.StatusBlock, error) {
	var none netavark.StatusBlock
	id, err := j.present(ctx)
	if err != nil {
		return none, err
	}
	var undo func() error
	for again := 0; ; again++ {
		name, err := j.network(ctx)
		if err != nil {
			return none, err
		}
		if id == "" {
			id, err = j.attach(ctx, name)
			undo = func() error { return j.d.NamespaceDetach(ctx, id) }
		} else {
			err = j.d.NetworkConnect(ctx, name, network.ConnectRequest{Container: id, EndpointConfig: j.settings})
			undo = func() error {
				return j.d.NetworkDisconnect(ctx, name, network.DisconnectRequest{Container: id})
			}
		}
		if err == nil {
			break
		}
		if again == maxAgain || !j.networkGone(ctx) {
			return none, err
		}
	}
	status, err := j.status(ctx, id)
	if err != nil {
		err = errors.Join(err, undo())
	}
	return status, err
}

// present returns the container if it is attached already, and not yet on this network.
func (j *join) present(ctx context.Context) (string, error) {
	id, err := findContainer(ctx, j.d, j.exec.ContainerID)
	if err != nil || id == "" {
		return "", err
	}
	found, err := j.d.ContainerInspectAll(ctx, id)
	if errdefs.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(j.file.Fd()), &st); err != nil {
		return "", err
	}
	if ns := found.Footbridge.Namespace; ns == nil || ns.Inode != st.Ino {
		// A namespace that it had before, and that nobody has taken down.
		return "", ignore(j.d.NamespaceDetach(ctx, id), errdefs.IsNotFound)
	}
	n, err := findNetwork(ctx, j.d, j.exec.Network.ID)
	if err != nil {
		return "", err
	}
	for name, at := range found.NetworkSettings.Networks {
		if n == "" || at.NetworkID != n {
			continue
		}
		// podman network reload: what there is goes, and all of it comes anew.
		if len(found.NetworkSettings.Networks) == 1 {
			return "", ignore(j.d.NamespaceDetach(ctx, id), errdefs.IsNotFound)
		}
		return id, j.d.NetworkDisconnect(ctx, name, network.DisconnectRequest{Container: id})
	}
	return id, nil
}

// network makes the network if it is not there, and returns its name.
func (j *join) network(ctx context.Context) (string, error) {
	n := &j.exec.Network
	id, err := findNetwork(ctx, j.d, n.ID)
	if err != nil || id != "" {
		return n.Name, err
	}
	req, err := n.Request()
	if err != nil {
		return "", err
	}
	made, err := j.d.NetworkCreate(ctx, req)
	if err != nil && sweep(ctx, j.d) == nil { // what nobody uses any more may be in its way
		made, err = j.d.NetworkCreate(ctx, req)
	}
	if errdefs.IsConflict(err) {
		if id, ferr := findNetwork(ctx, j.d, n.ID); ferr == nil && id != "" { // somebody was faster
			return n.Name, nil
		}
		return "", fmt.Errorf("%w: it is footbridge's own, or one of another storage of podman's; it must go, or this one be made with another name", err)
	}
	if err == nil && made.Warning != "" {
		j.warnings = append(j.warnings, made.Warning)
	}
	return n.Name, err
}

// networkGone reports whether the network was removed meanwhile.
func (j *join) networkGone(ctx context.Context) bool {
	id, err := findNetwork(ctx, j.d, j.exec.Network.ID)
	return err == nil && id == ""
}

func (j *join) attach(ctx context.Context, name string) (string, error) {
	path, err := filepath.Abs(j.netns)
	if err != nil {
		return "", err
	}
	fd := int(j.file.Fd())
	created, err := j.d.NamespaceAttach(ctx, api.NamespaceRequest{
		Name: j.exec.ContainerName, NetNS: path, Descriptor: &fd,
		CreateRequest: container.CreateRequest{
			Config:           &container.Config{Labels: map[string]string{netavark.LabelContainer: j.exec.ContainerID}},
			HostConfig:       &container.HostConfig{NetworkMode: container.NetworkMode(name), PortBindings: j.ports},
			NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{name: j.settings}},
		},
	})
	j.warnings = append(j.warnings, created.Warnings...)
	return created.ID, err
}

// status asks what came of it.
func (j *join) status(ctx context.Context, id string) (netavark.StatusBlock, error) {
	found, err := j.d.ContainerInspectAll(ctx, id)
	if err != nil {
		return netavark.StatusBlock{}, err
	}
	got := found.NetworkSettings.Networks[j.exec.Network.Name]
	if got == nil {
		return netavark.StatusBlock{}, fmt.Errorf("container %s is not on network %s: it was taken from it meanwhile", j.exec.ContainerName, j.exec.Network.Name)
	}
	return j.exec.Status(got, servers(found, got)), nil
}

// servers are the addresses on this network that answer for names.
func servers(found api.ContainerInspect, got *network.EndpointSettings) (out []netip.Addr) {
	if found.Footbridge.Namespace == nil {
		return nil
	}
	for _, a := range found.Footbridge.Namespace.NameServers {
		for _, own := range []netip.Prefix{netip.PrefixFrom(got.IPAddress, got.IPPrefixLen), netip.PrefixFrom(got.GlobalIPv6Address, got.GlobalIPv6PrefixLen)} {
			if own.IsValid() && own.Contains(a) {
				out = append(out, a)
			}
		}
	}
	return out
}

// ignore drops an error of a class.
func ignore(err error, class func(error) bool) error {
	if class(err) {
		return nil
	}
	return err
}
