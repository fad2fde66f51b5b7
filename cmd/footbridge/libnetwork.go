package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/cmd/internal/libnetwork"
	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
	"github.com/footbridge-net/footbridge/engine/foreign"
)

type libnetworkOptions struct {
	place   libnetwork.PlaceOptions
	socket  string
	verbose bool
}

func libnetworkCommand(c *cli) *cobra.Command {
	var o libnetworkOptions
	cmd := &cobra.Command{
		Use:   "libnetwork-plugin [OPTIONS]",
		Short: "Serve Docker without root as its network driver footbridge",
		Long: `Serve Docker without root as its network driver footbridge

It listens where dockerd looks for a driver of that name, and stays until dockerd ends:
"docker network create -d footbridge" makes a network of footbridge's then, and "docker
run --network" connects containers of Docker's to it. Start it outside, or in the
namespaces of RootlessKit, in which dockerd runs.`,
		Example: `  footbridge libnetwork-plugin &
  docker network create -d footbridge blue
  docker run --rm --network blue busybox ip addr`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.place.Getenv = c.getenv
			return o.run(cmd.Context(), c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.place.StateDir, "rootlesskit", "", "RootlessKit's state folder (default $ROOTLESSKIT_STATE_DIR, or\n$XDG_RUNTIME_DIR/dockerd-rootless)")
	f.IntVar(&o.place.PID, "pid", 0, "dockerd, or another process in its namespaces (default: that of\nRootlessKit's state folder, or of $XDG_RUNTIME_DIR/docker.pid)")
	f.StringVar(&o.socket, "socket", libnetwork.DefaultSocket, "Where to listen, as dockerd sees it")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "Say which requests were refused")
	return cmd
}

func (o *libnetworkOptions) run(ctx context.Context, c *cli) error {
	d, err := c.dirs()
	if err != nil {
		return err
	}
	place, err := libnetwork.FindPlace(o.place)
	if err != nil {
		return err
	}
	connect := func(ctx context.Context) (*api.Client, error) { return c.daemon(ctx) }
	if place.Process.PID == 0 {
		connect = func(ctx context.Context) (*api.Client, error) {
			return plugin.Connect(ctx, plugin.Options{Getenv: c.getenv})
		}
	}
	if _, err := connect(ctx); err != nil { // told now, and not to dockerd
		return err
	}
	l, err := place.Listen(o.socket)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	if o.verbose {
		log = slog.New(slog.NewTextHandler(c.stderr, nil))
	}
	driver := libnetwork.NewDriver(libnetwork.Options{
		Client: func(ctx context.Context) (libnetwork.Daemon, error) { return connect(ctx) },
		Attach: func(ctx context.Context, client libnetwork.Daemon, req api.NamespaceRequest) (container.CreateResponse, error) {
			return place.Attach(ctx, client.(*api.Client), req)
		},
		Dir:       filepath.Join(d.state, "libnetwork"),
		Resolvers: place.Resolvers,
	})
	fmt.Fprintf(c.stdout, "listening on %s\n", l.Addr())
	return serveLibnetwork(ctx, libnetwork.NewServer(driver, log), place, l)
}

// serveLibnetwork serves until dockerd ends, or a signal asks for the end.
func serveLibnetwork(ctx context.Context, s *libnetwork.Server, place libnetwork.Place, l net.Listener) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { cancel(place.Await(ctx)) }()
	err := s.Serve(ctx, l)
	if gone := context.Cause(ctx); errors.Is(gone, foreign.ErrGone) && err == nil {
		return fmt.Errorf("dockerd has ended: %w; start this again after it", gone)
	}
	return err
}
