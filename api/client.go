package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/system"
)

// Client speaks to the daemon over its socket. Its methods mirror [Backend]'s;
// only those that attach to a process return a connection, see [Hijacked].
//
// Errors that the daemon answered carry the class of containerd/errdefs that
// the backend gave them, and the daemon's text and nothing else. When there is
// no daemon they are [ErrNoDaemon].
//
// A Client may be used by many goroutines at once.
type Client struct {
	socket string
	http   *http.Client
}

// New returns a client of the daemon whose socket is at socketPath. It does not
// connect yet.
func New(socketPath string) *Client {
	c := &Client{socket: socketPath}
	c.http = &http.Client{
		// A connection for each request: on one that is kept, a request could be on its way
		// while the daemon becomes another program, and nobody could say whether it was done.
		// Another connection waits in the socket's queue.
		Transport:     &http.Transport{DialContext: c.dialContext, DisableCompression: true, MaxIdleConnsPerHost: -1},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// Socket returns the path of the daemon's socket.
func (c *Client) Socket() string { return c.socket }

// Close closes idle connections. Calls under way go on.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Ping returns nil when the daemon answers and can do work.
func (c *Client) Ping(ctx context.Context) error {
	return c.call(ctx, request{method: http.MethodGet, path: "/_ping"}, nil)
}

// Version describes the daemon.
func (c *Client) Version(ctx context.Context) (system.VersionResponse, error) {
	var out system.VersionResponse
	return out, c.get(ctx, "/version", nil, &out)
}

// Info counts containers and describes the host.
func (c *Client) Info(ctx context.Context) (system.Info, error) {
	var out system.Info
	return out, c.get(ctx, "/info", nil, &out)
}

// NetworkCreate makes a network.
func (c *Client) NetworkCreate(ctx context.Context, req network.CreateRequest) (network.CreateResponse, error) {
	var out network.CreateResponse
	return out, c.post(ctx, "/networks/create", nil, req, &out)
}

// NetworkList lists networks.
func (c *Client) NetworkList(ctx context.Context, filters Filters) ([]network.Summary, error) {
	var out []network.Summary
	return out, c.get(ctx, "/networks", filters.query(nil), &out)
}

// NetworkInspect describes one network.
func (c *Client) NetworkInspect(ctx context.Context, nameOrID string, options NetworkInspectOptions) (network.Inspect, error) {
	q := url.Values{}
	setBool(q, "verbose", options.Verbose)
	setString(q, "scope", options.Scope)
	var out network.Inspect
	return out, c.get(ctx, pathOf("networks", nameOrID), q, &out)
}

// NetworkRemove removes one network.
func (c *Client) NetworkRemove(ctx context.Context, nameOrID string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: pathOf("networks", nameOrID)}, nil)
}

// NetworksPrune removes the networks that no container uses.
func (c *Client) NetworksPrune(ctx context.Context, filters Filters) (network.PruneReport, error) {
	var out network.PruneReport
	return out, c.post(ctx, "/networks/prune", filters.query(nil), nil, &out)
}

// NetworkConnect attaches a container to a network.
func (c *Client) NetworkConnect(ctx context.Context, nameOrID string, req network.ConnectRequest) error {
	return c.post(ctx, pathOf("networks", nameOrID, "connect"), nil, req, nil)
}

// NetworkDisconnect detaches a container from a network.
func (c *Client) NetworkDisconnect(ctx context.Context, nameOrID string, req network.DisconnectRequest) error {
	return c.post(ctx, pathOf("networks", nameOrID, "disconnect"), nil, req, nil)
}

// ContainerCreate makes a container; an empty name asks for a generated one.
func (c *Client) ContainerCreate(ctx context.Context, name string, req container.CreateRequest) (container.CreateResponse, error) {
	q := url.Values{}
	setString(q, "name", name)
	var out container.CreateResponse
	return out, c.post(ctx, "/containers/create", q, req, &out)
}

// ContainerStart starts a container; errdefs.IsNotModified(err) when it runs already.
func (c *Client) ContainerStart(ctx context.Context, nameOrID string) error {
	return c.post(ctx, pathOf("containers", nameOrID, "start"), nil, nil, nil)
}

// ContainerStop ends a container; errdefs.IsNotModified(err) when it does not run.
func (c *Client) ContainerStop(ctx context.Context, nameOrID string, options StopOptions) error {
	return c.post(ctx, pathOf("containers", nameOrID, "stop"), options.query(), nil, nil)
}

// ContainerRestart stops a container, if it runs, and starts it.
func (c *Client) ContainerRestart(ctx context.Context, nameOrID string, options StopOptions) error {
	return c.post(ctx, pathOf("containers", nameOrID, "restart"), options.query(), nil, nil)
}

func (o StopOptions) query() url.Values {
	q := url.Values{}
	setString(q, "signal", o.Signal)
	if o.Timeout != nil {
		q.Set("t", strconv.Itoa(*o.Timeout))
	}
	return q
}

// ContainerRename gives a container another name.
func (c *Client) ContainerRename(ctx context.Context, nameOrID, name string) error {
	return c.post(ctx, pathOf("containers", nameOrID, "rename"), url.Values{"name": {name}}, nil, nil)
}

// ContainerTop lists a container's processes; empty args are "-ef".
func (c *Client) ContainerTop(ctx context.Context, nameOrID, args string) (container.TopResponse, error) {
	q := url.Values{}
	setString(q, "ps_args", args)
	var out container.TopResponse
	return out, c.get(ctx, pathOf("containers", nameOrID, "top"), q, &out)
}

// ContainersPrune removes the containers that do not run.
func (c *Client) ContainersPrune(ctx context.Context, filters Filters) (ContainersPruneReport, error) {
	var out ContainersPruneReport
	return out, c.post(ctx, "/containers/prune", filters.query(nil), nil, &out)
}

// ContainerKill sends a signal to a container; empty means SIGKILL.
func (c *Client) ContainerKill(ctx context.Context, nameOrID string, signal string) error {
	q := url.Values{}
	setString(q, "signal", signal)
	return c.post(ctx, pathOf("containers", nameOrID, "kill"), q, nil, nil)
}

// ContainerRemove removes a container.
func (c *Client) ContainerRemove(ctx context.Context, nameOrID string, options RemoveOptions) error {
	q := url.Values{}
	setBool(q, "force", options.Force)
	setBool(q, "v", options.RemoveVolumes)
	return c.call(ctx, request{method: http.MethodDelete, path: pathOf("containers", nameOrID), query: q}, nil)
}

// ContainerList lists containers.
func (c *Client) ContainerList(ctx context.Context, options ListOptions) ([]container.Summary, error) {
	q := url.Values{}
	setBool(q, "all", options.All)
	if options.Limit > 0 {
		q.Set("limit", strconv.Itoa(options.Limit))
	}
	var out []container.Summary
	return out, c.get(ctx, "/containers/json", options.Filters.query(q), &out)
}

// ContainerInspect describes one container.
func (c *Client) ContainerInspect(ctx context.Context, nameOrID string) (container.InspectResponse, error) {
	var out container.InspectResponse
	return out, c.get(ctx, pathOf("containers", nameOrID, "json"), nil, &out)
}

// ContainerInspectAll describes one container with what Docker has no word for.
func (c *Client) ContainerInspectAll(ctx context.Context, nameOrID string) (ContainerInspect, error) {
	var out ContainerInspect
	return out, c.get(ctx, pathOf("containers", nameOrID, "json"), nil, &out)
}

// ContainerResize sets the size of a container's terminal.
func (c *Client) ContainerResize(ctx context.Context, nameOrID string, size TTYSize) error {
	return c.post(ctx, pathOf("containers", nameOrID, "resize"), size.query(), nil, nil)
}

// ExecCreate prepares a further command in a running container.
func (c *Client) ExecCreate(ctx context.Context, nameOrID string, req container.ExecCreateRequest) (container.ExecCreateResponse, error) {
	var out container.ExecCreateResponse
	return out, c.post(ctx, pathOf("containers", nameOrID, "exec"), nil, req, &out)
}

// ExecInspect describes an exec; ExitCode is set when it has ended.
func (c *Client) ExecInspect(ctx context.Context, execID string) (container.ExecInspectResponse, error) {
	var out container.ExecInspectResponse
	return out, c.get(ctx, pathOf("exec", execID, "json"), nil, &out)
}

// ExecResize sets the size of an exec's terminal.
func (c *Client) ExecResize(ctx context.Context, execID string, size TTYSize) error {
	return c.post(ctx, pathOf("exec", execID, "resize"), size.query(), nil, nil)
}

// Status describes the daemon and its data plane.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var out Status
	return out, c.call(ctx, request{method: http.MethodGet, path: ownPrefix + "/status", unversioned: true}, &out)
}

// Shutdown asks the daemon to end.
func (c *Client) Shutdown(ctx context.Context) error {
	return c.call(ctx, request{method: http.MethodPost, path: ownPrefix + "/shutdown", unversioned: true}, nil)
}

func (c *Client) get(ctx context.Context, path string, q url.Values, out any) error {
	return c.call(ctx, request{method: http.MethodGet, path: path, query: q}, out)
}

// post sends body as JSON unless it is nil.
func (c *Client) post(ctx context.Context, path string, q url.Values, body, out any) error {
	return c.postJSON(ctx, request{method: http.MethodPost, path: path, query: q}, body, out)
}

// postOwn is post for what Docker has no word for.
func (c *Client) postOwn(ctx context.Context, path string, body, out any) error {
	return c.postJSON(ctx, request{method: http.MethodPost, path: ownPrefix + path, unversioned: true}, body, out)
}

func (c *Client) postJSON(ctx context.Context, r request, body, out any) error {
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r.body = b
	}
	return c.call(ctx, r, out)
}

// pathOf joins path elements, each escaped, so that a name with a slash in it
// stays one element and is refused by the daemon as the name it is.
func pathOf(elements ...string) string {
	p := ""
	for _, e := range elements {
		p += "/" + url.PathEscape(e)
	}
	return p
}

func setBool(q url.Values, key string, v bool) {
	if v {
		q.Set(key, "1")
	}
}

func setString(q url.Values, key, v string) {
	if v != "" {
		q.Set(key, v)
	}
}
