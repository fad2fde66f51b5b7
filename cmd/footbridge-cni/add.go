package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
)

const (
	labelContainer = plugin.LabelCNI
	// optIfname is the endpoint's option that names its interface.
	optIfname = "com.docker.network.endpoint.ifname"
	// undoTimeout bounds the way back of a request that has failed, perhaps for want of
	// time.
	undoTimeout = 20 * time.Second
)

// containerName is a container's name to footbridge.
func containerName(id string) string { return "cni-" + id }

// add implements ADD.
func (p request) add(args *skel.CmdArgs) error {
	c, err := readConfig(args.StdinData)
	if err != nil {
		return err
	}
	more, err := readArguments(args.Args)
	if err != nil {
		return err
	}
	endpoint, err := c.endpoint(args.IfName, more)
	if err != nil {
		return err
	}
	if err := checkNamespace(args.Netns); err != nil {
		return err
	}
	client, err := p.connect(p.ctx, plugin.Options{})
	if err != nil {
		return fromDaemon(err)
	}
	if err := ensureNetwork(p.ctx, client, c); err != nil {
		return fromDaemon(err)
	}
	a := attachment{client: client, config: c, id: args.ContainerID, netns: args.Netns, endpoint: endpoint}
	undo, err := a.make(p.ctx)
	if err != nil {
		return fromDaemon(err)
	}
	there, err := client.ContainerInspectAll(p.ctx, containerName(a.id))
	if err == nil {
		err = printResult(p.out, c, a, there)
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), undoTimeout)
		defer cancel()
		undo(ctx)
	}
	return fromDaemon(err)
}

// checkNamespace refuses a path that leads to no namespace; one that leads nowhere is that
// of a container that is gone.
func checkNamespace(path string) error {
	f, err := plugin.Open(path)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, unix.ENOENT):
		return coded(types.ErrUnknownContainer, fmt.Errorf("CNI_NETNS: %w", err))
	}
	return coded(types.ErrInvalidEnvironmentVariables, fmt.Errorf("CNI_NETNS: %w", err))
}

// endpoint is what is asked of the container's endpoint. What runtimeConfig asks for goes
// before CNI_ARGS.
func (c *config) endpoint(ifname string, more arguments) (*network.EndpointSettings, error) {
	asked := &c.caps
	if !asked.ip4.IsValid() {
		asked.ip4 = more.caps.ip4
	}
	if !asked.ip6.IsValid() {
		asked.ip6 = more.caps.ip6
	}
	if len(asked.mac) == 0 {
		asked.mac = more.caps.mac
	}
	if err := asked.takeServersOf(c.dns); err != nil {
		return nil, err
	}
	e := &network.EndpointSettings{
		DriverOpts: map[string]string{optIfname: ifname},
		GwPriority: c.priority, MacAddress: asked.mac, Aliases: slices.Clone(asked.aliases),
	}
	// Names are for networks of one's own.
	if more.pod != "" && c.name != network.NetworkBridge && !slices.Contains(e.Aliases, more.pod) {
		e.Aliases = append(e.Aliases, more.pod)
	}
	if asked.ip4.IsValid() || asked.ip6.IsValid() {
		e.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: asked.ip4, IPv6Address: asked.ip6}
	}
	return e, nil
}

// takeServersOf takes the configuration's name servers where the runtime names none.
func (c *capabilities) takeServersOf(d types.DNS) error {
	if len(c.nameserver) > 0 {
		return nil
	}
	if err := c.takeServers(d.Nameservers); err != nil {
		return badConfig("dns of the network configuration: %v", err)
	}
	return nil
}

// attachment is what ADD makes.
type attachment struct {
	client   *api.Client
	config   *config
	id       string // the runtime's, of the container
	netns    string
	endpoint *network.EndpointSettings
}

// make attaches the namespace to the network: as a new container, or as one more network of
// the one that an ADD for another network has made. undo takes back what it did.
func (a attachment) make(ctx context.Context) (undo func(context.Context), err error) {
	name := containerName(a.id)
	there, err := a.client.ContainerInspectAll(ctx, name)
	if err == nil && there.Config.Labels[labelContainer] != a.id {
		return nil, api.Errorf(errdefs.ErrConflict, "the name %s belongs to a container that this plugin has not attached: rename it with `footbridge rename`", name)
	}
	if err == nil && !sameNamespace(there, a.netns) {
		// Of a container that was made anew, whose DEL never came.
		if err := a.client.NamespaceDetach(ctx, name); err != nil && !errdefs.IsNotFound(err) {
			return nil, err
		}
		err = errdefs.ErrNotFound
	}
	switch {
	case err == nil:
		return a.connect(ctx, name)
	case !errdefs.IsNotFound(err):
		return nil, err
	}
	req := api.NamespaceRequest{Name: name}
	req.Config = &container.Config{Labels: map[string]string{labelContainer: a.id}}
	req.HostConfig = &container.HostConfig{
		NetworkMode: container.NetworkMode(a.config.name), PortBindings: a.config.caps.ports, DNS: a.config.caps.nameserver,
	}
	req.NetworkingConfig = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{a.config.name: a.endpoint}}
	if _, err = plugin.Attach(ctx, a.client, a.netns, req); err == nil {
		return func(ctx context.Context) { _ = a.client.NamespaceDetach(ctx, name) }, nil // the first error is the one to tell
	}
	if errdefs.IsConflict(err) {
		// Perhaps another ADD of the same container was first.
		there, ierr := a.client.ContainerInspectAll(ctx, name)
		if ierr == nil && there.Config.Labels[labelContainer] == a.id && sameNamespace(there, a.netns) {
			return a.connect(ctx, name)
		}
	}
	return nil, err
}

// connect adds a network to a container that is there.
func (a attachment) connect(ctx context.Context, name string) (undo func(context.Context), err error) {
	err = a.client.NetworkConnect(ctx, a.config.name, network.ConnectRequest{Container: name, EndpointConfig: a.endpoint})
	if err != nil {
		return nil, err
	}
	undo = func(ctx context.Context) {
		_ = a.client.NetworkDisconnect(ctx, a.config.name, network.DisconnectRequest{Container: name})
	}
	if len(a.config.caps.ports) > 0 {
		_, err = a.client.ContainerPublish(ctx, name, api.PublishRequest{PortBindings: a.config.caps.ports})
	}
	if err != nil {
		undo(context.WithoutCancel(ctx))
		return nil, err
	}
	return undo, nil
}

// sameNamespace reports whether a container is that of the namespace at path.
func sameNamespace(c api.ContainerInspect, path string) bool {
	var st unix.Stat_t
	detail := c.Footbridge.Namespace
	return detail != nil && unix.Stat(path, &st) == nil && st.Ino == detail.Inode
}
