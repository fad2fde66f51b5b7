package libnetwork

import (
	"context"
	"net/netip"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// Daemon is what is asked of footbridge's daemon; *api.Client is one.
type Daemon interface {
	NetworkCreate(ctx context.Context, req network.CreateRequest) (network.CreateResponse, error)
	NetworkInspect(ctx context.Context, nameOrID string, options api.NetworkInspectOptions) (network.Inspect, error)
	NetworkList(ctx context.Context, filters api.Filters) ([]network.Summary, error)
	NetworkRemove(ctx context.Context, nameOrID string) error
	ContainerInspect(ctx context.Context, nameOrID string) (container.InspectResponse, error)
	ContainerPublish(ctx context.Context, nameOrID string, req api.PublishRequest) (api.PublishResponse, error)
	ContainerUnpublish(ctx context.Context, nameOrID string, req api.PublishRequest) error
	NamespaceDetach(ctx context.Context, nameOrID string) error
}

// Options say what a driver works with. All fields but the last are needed.
type Options struct {
	// Client connects to the daemon, anew for each request: it may be exchanged meanwhile.
	Client func(context.Context) (Daemon, error)
	// Attach attaches dockerd's network namespace, which it adds to the request.
	Attach func(context.Context, Daemon, api.NamespaceRequest) (container.CreateResponse, error)
	// Dir is the folder of what is kept of networks.
	Dir string
	// Resolvers are the addresses of name servers that only dockerd's own network reaches; nil:
	// there are none.
	Resolvers func() []netip.Addr
}

// Driver does what dockerd asks for.
type Driver struct {
	client  func(context.Context) (Daemon, error)
	attach  func(context.Context, Daemon, api.NamespaceRequest) (container.CreateResponse, error)
	records records

	resolvers func() []netip.Addr
}

// NewDriver returns a driver.
func NewDriver(o Options) *Driver {
	d := &Driver{client: o.Client, attach: o.Attach, records: records(o.Dir), resolvers: o.Resolvers}
	if d.resolvers == nil {
		d.resolvers = func() []netip.Addr { return nil }
	}
	return d
}
