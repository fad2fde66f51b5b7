package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/internal/proxy"
)

type proxyOptions struct {
	network, listen, tokenFile string
	verbose                    bool
}

func proxyCommand(c *cli) *cobra.Command {
	var o proxyOptions
	cmd := &cobra.Command{
		Use:   "proxy [OPTIONS]",
		Short: "Lead programs of this host to containers: SOCKS5 and HTTP",
		Long: `Lead programs of this host to containers: a SOCKS5 and HTTP proxy that knows their
names and addresses, and nothing else. It listens on a unix socket that only you can
use, or on a loopback address, where each client gives a token as its password.`,
		Example: `  footbridge proxy &
  curl --proxy socks5h://localhost$XDG_RUNTIME_DIR/footbridge/proxy.sock http://web/
  footbridge proxy --listen 127.0.0.1:1080`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), c) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.network, "network", "n", "", "Lead to containers on this network only")
	f.StringVarP(&o.listen, "listen", "l", "", "Where to listen: unix:PATH, or a loopback ADDRESS:PORT\n(default unix:$XDG_RUNTIME_DIR/footbridge/proxy.sock)")
	f.StringVar(&o.tokenFile, "token-file", "", "Read the token from this file instead of making one")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "Say which connections were refused")
	completeNetworks(c, cmd, "network")
	return cmd
}

func (o *proxyOptions) run(ctx context.Context, c *cli) error {
	d, err := c.dirs()
	if err != nil {
		return err
	}
	at, err := parseListen(o.listen, d)
	if err != nil {
		return err
	}
	var token string
	if at.path == "" {
		if token, err = o.token(); err != nil {
			return err
		}
	} else if o.tokenFile != "" {
		return errors.New("--token-file is for a loopback address: a unix socket is limited by its permissions")
	}
	client, err := c.daemon(ctx)
	if err != nil {
		return err
	}
	if o.network != "" {
		if _, err := client.NetworkInspect(ctx, o.network, api.NetworkInspectOptions{}); err != nil {
			return err
		}
	}
	l, err := at.open()
	if err != nil {
		return err
	}
	defer l.Close()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	opts := proxy.Options{Dial: o.dial(c), Token: token}
	if o.verbose {
		opts.Logger = slog.New(slog.NewTextHandler(c.stderr, nil))
	}
	fmt.Fprintln(c.stdout, at.describe(l.Addr(), token))
	return proxy.New(opts).Serve(ctx, l)
}

// dial finds the daemon for each connection anew: it may be exchanged meanwhile.
func (o *proxyOptions) dial(c *cli) func(context.Context, string, uint16) (net.Conn, error) {
	return func(ctx context.Context, host string, port uint16) (net.Conn, error) {
		client, err := c.daemon(ctx)
		if err != nil {
			return nil, err
		}
		conn, err := client.Dial(ctx, api.DialRequest{Network: o.network, Host: strings.TrimSuffix(host, "."), Port: port})
		if err != nil && errdefs.IsNotFound(err) {
			err = fmt.Errorf("%w: %w", proxy.ErrUnknownHost, err)
		}
		return conn, err
	}
}

// minToken is how long a token of the user's must be: one that can be guessed is none.
const minToken = 16

// token reads the token, or makes one.
func (o *proxyOptions) token() (string, error) {
	if o.tokenFile == "" {
		return rand.Text(), nil
	}
	f, err := os.Open(o.tokenFile)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	// A password of SOCKS has at most 255 bytes (RFC 1929).
	if len(token) < minToken || len(token) > 255 || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("the token in %s is not one word of %d to 255 characters", o.tokenFile, minToken)
	}
	return token, nil
}

// listenAt is where a proxy listens: on a socket's path, or on a loopback address.
type listenAt struct {
	path string
	addr netip.AddrPort
}

func parseListen(text string, d dirs) (listenAt, error) {
	if text == "" {
		if err := d.prepare(); err != nil {
			return listenAt{}, err
		}
		return listenAt{path: filepath.Join(d.runtime, "proxy.sock")}, nil
	}
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		path, err := filepath.Abs(strings.TrimPrefix(path, "//"))
		return listenAt{path: path}, err
	}
	a, err := netip.ParseAddrPort(text)
	switch {
	case err != nil:
		return listenAt{}, fmt.Errorf("invalid address %q to listen on: it is unix:PATH or ADDRESS:PORT, as in 127.0.0.1:1080", text)
	case !a.Addr().IsLoopback():
		return listenAt{}, fmt.Errorf("cannot listen on %v: only loopback addresses are allowed, whoever reaches the proxy reaches your containers: use 127.0.0.1:%d, or publish the port of the container", a.Addr(), a.Port())
	}
	return listenAt{addr: a}, nil
}

func (at listenAt) open() (net.Listener, error) {
	if at.path != "" {
		l, err := api.Listen(at.path)
		if errors.Is(err, api.ErrSocketInUse) {
			return nil, fmt.Errorf("somebody listens on %s already: use that proxy, or give this one another place (--listen unix:PATH)", at.path)
		}
		return l, err
	}
	return net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at.addr))
}

// describe is what a program is told to use.
func (at listenAt) describe(bound net.Addr, token string) string {
	if at.path != "" {
		return "unix:" + at.path
	}
	u := url.URL{Scheme: "socks5h", User: url.UserPassword("footbridge", token), Host: bound.String()}
	web := u
	web.Scheme = "http"
	return u.String() + "\n" + web.String()
}
