package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types"

	"github.com/footbridge-net/footbridge/internal/buildinfo"
)

// dummyHost stands in the Host header, which HTTP wants and a socket has not.
const dummyHost = "footbridge.localhost"

// errorBodyLimit bounds what is read of an error's body.
const errorBodyLimit = 1 << 20

// maxAgain bounds how often a request is sent that was refused because of an upgrade:
// more are not under way at once.
const maxAgain = 3

// errAgain: nothing of the request was done, and another connection may do better.
var errAgain = errors.New("to be sent again")

// request is one request before it is sent.
type request struct {
	method      string
	path        string // escaped
	query       url.Values
	body        []byte // JSON, or nil
	unversioned bool   // no /v1.xx before the path
}

func (r request) build(ctx context.Context) (*http.Request, error) {
	if strings.HasSuffix(r.path, "/") || strings.Contains(r.path, "//") {
		// The path would be another one, and the answer about that.
		noun, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(r.path, ownPrefix), "/"), "/")
		return nil, Errorf(errdefs.ErrInvalidArgument, "invalid %s name or ID: value is empty", strings.TrimSuffix(noun, "s"))
	}
	target := "http://" + dummyHost
	if !r.unversioned {
		target += "/v" + MaxVersion
	}
	target += r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, err
	}
	if r.body != nil {
		req.Header.Set("Content-Type", types.MediaTypeJSON)
	}
	req.Header.Set("User-Agent", serverName+"/"+buildinfo.Get().Version)
	return req, nil
}

// do sends a request; an answer that is an error becomes one. The caller closes
// the body.
func (c *Client) do(ctx context.Context, r request) (*http.Response, error) {
	for range maxAgain {
		resp, err := c.doOnce(ctx, r)
		if resp != nil || !errors.Is(err, errAgain) {
			return resp, err
		}
	}
	return c.doOnce(ctx, r)
}

func (c *Client) doOnce(ctx context.Context, r request) (*http.Response, error) {
	req, err := r.build(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		// The URL that http puts before the cause says nothing to a user.
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, c.lost(err)
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return nil, answerError(resp)
	}
	return resp, nil
}

// call sends a request and decodes the answer into out, unless that is nil.
func (c *Client) call(ctx context.Context, r request, out any) error {
	resp, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	} else {
		err = json.NewDecoder(resp.Body).Decode(out)
	}
	if err != nil {
		return c.lost(fmt.Errorf("read the answer to %s %s: %w", r.method, r.path, err))
	}
	return nil
}

// lost explains an error of the connection.
func (c *Client) lost(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isReset(err) {
		return fmt.Errorf("the daemon closed the connection before it answered; its log says why: %w", err)
	}
	return err
}

// isReset reports whether the other end has closed without reading everything.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func answerError(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, errorBodyLimit))
	if err != nil {
		return fmt.Errorf("read the daemon's error (%s): %w", resp.Status, err)
	}
	err = decodeError(resp.StatusCode, body)
	if resp.Header.Get(againHeader) != "" {
		err = Errorf(errAgain, "%w", err)
	}
	return err
}

func (c *Client) dialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := checkSocketPath(c.socket); err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.socket)
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return nil, Errorf(ErrNoDaemon, "no footbridge daemon listens on %s; start one with `footbridge daemon`: %w", c.socket, err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("the socket %s may not be opened by uid %d; footbridge's daemon serves only the user who started it: %w", c.socket, os.Geteuid(), err)
	case err != nil:
		return nil, fmt.Errorf("connect to the daemon on %s: %w", c.socket, err)
	}
	// Somebody else's process behind the socket could feed us anything.
	cred, err := peerCred(conn.(*net.UnixConn))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to the daemon on %s: %w", c.socket, err)
	}
	if int(cred.Uid) != os.Geteuid() {
		conn.Close()
		return nil, Errorf(ErrForeignDaemon, "the socket %s is served by uid %d, and we are uid %d: remove it, or set XDG_RUNTIME_DIR to a directory of your own", c.socket, cred.Uid, os.Geteuid())
	}
	return conn, nil
}

// hijack sends a request on a connection of its own and keeps that.
func (c *Client) hijack(ctx context.Context, r request) (*Hijacked, error) {
	for range maxAgain {
		h, err := c.hijackOnce(ctx, r)
		if h != nil || !errors.Is(err, errAgain) {
			return h, err
		}
	}
	return c.hijackOnce(ctx, r)
}

func (c *Client) hijackOnce(ctx context.Context, r request) (h *Hijacked, err error) {
	req, err := r.build(ctx)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "tcp")
	req.Header.Set(startErrorsHeader, "status")
	conn, err := c.dialContext(ctx, "", "")
	if err != nil {
		return nil, err
	}
	// ctx governs the request, not the connection that it leads to.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			conn.Close()
			h = nil
		}
	}()
	if err := req.Write(conn); err != nil {
		return nil, c.lost(err)
	}
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, req)
	if err != nil {
		return nil, c.lost(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		return nil, answerError(resp)
	}
	tty := resp.Header.Get("Content-Type") != types.MediaTypeMultiplexedStream
	return &Hijacked{Conn: conn, Reader: reader, TTY: tty}, nil
}

// DaemonVersion asks the daemon for the version of footbridge it was built from.
func (c *Client) DaemonVersion(ctx context.Context) (string, error) {
	resp, err := c.do(ctx, request{method: http.MethodGet, path: "/_ping", unversioned: true})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	name, version, _ := strings.Cut(resp.Header.Get("Server"), "/")
	if name != serverName || version == "" {
		return "", Errorf(ErrOtherVersion, "what answers on %s is not a footbridge daemon but %q", c.socket, resp.Header.Get("Server"))
	}
	return version, nil
}

// CheckVersion returns ErrOtherVersion when the daemon was built from another
// version of footbridge than this program.
func (c *Client) CheckVersion(ctx context.Context) error {
	theirs, err := c.DaemonVersion(ctx)
	if err != nil {
		return err
	}
	if ours := buildinfo.Get().Version; theirs != ours {
		return Errorf(ErrOtherVersion, "the daemon on %s is footbridge %s, this command is %s: exchange it with `footbridge daemon upgrade`, or stop it with `footbridge daemon stop`; the next command starts the other", c.socket, theirs, ours)
	}
	return nil
}
