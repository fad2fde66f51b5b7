package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/foreign"
)

// namespaceFlags are the flags of attach that are about namespaces that others made.
type namespaceFlags struct {
	pid           int
	netns, userns string

	name, hostname  string
	network         networkFlag
	simple          simpleAttachment
	publish, expose []string
	publishAll      bool
	labels, dns     listFlag

	readyFD, exitFD int

	names []string // of all of them
}

// noFD: no descriptor was given.
const noFD = -1

func (n *namespaceFlags) register(f *pflag.FlagSet) {
	before := map[string]bool{}
	f.VisitAll(func(flag *pflag.Flag) { before[flag.Name] = true })
	n.labels.check = checkLabel
	n.dns.check = func(v string) (string, error) { _, err := parseIP(v); return v, err }

	f.IntVar(&n.pid, "pid", 0, "Attach the network namespace of this process")
	f.StringVar(&n.netns, "netns", "", "Attach the network namespace at this path")
	f.StringVar(&n.userns, "userns", "", "Path of the user namespace that the one at --netns must belong to")
	f.StringVar(&n.name, "name", "", "Assign a name to the container")
	f.StringVarP(&n.hostname, "hostname", "h", "", "Host name by which the others may know the container")
	f.Var(&n.network, "network", "Connect the namespace to a network (may be repeated)")
	f.Var(&n.network, "net", "")
	f.StringSliceVar(&n.simple.aliases, "network-alias", nil, "Add a name for the container on its first network")
	f.StringVar(&n.simple.ip, "ip", "", "IPv4 address (e.g., 172.30.100.104)")
	f.StringVar(&n.simple.ip6, "ip6", "", "IPv6 address (e.g., 2001:db8::33)")
	f.StringVar(&n.simple.mac, "mac-address", "", "MAC address (e.g., 92:d0:c6:0a:29:33)")
	f.StringArrayVarP(&n.publish, "publish", "p", nil, "Publish port(s) to the host")
	f.StringArrayVar(&n.expose, "expose", nil, "Expose a port or a range of ports")
	f.BoolVarP(&n.publishAll, "publish-all", "P", false, "Publish all exposed ports to random ports")
	f.VarP(&n.labels, "label", "l", "Set meta data on the container")
	f.Var(&n.dns, "dns", "Set custom DNS servers, which the networks' name server asks for this container")
	f.IntVar(&n.readyFD, "ready-fd", noFD, "Write 1 to this descriptor when the interfaces are up")
	f.IntVar(&n.exitFD, "exit-fd", noFD, "Stay, and detach when the other end of this descriptor is closed")
	f.Var(f.Lookup("network-alias").Value, "net-alias", "")
	f.Lookup("net").Hidden = true
	f.Lookup("net-alias").Hidden = true

	f.VisitAll(func(flag *pflag.Flag) {
		if !before[flag.Name] {
			n.names = append(n.names, flag.Name)
		}
	})
}

// chosen reports whether namespaces are to be attached, and not streams. Flags of the
// one with those of the other are an error.
func (n *namespaceFlags) chosen(f *pflag.FlagSet, args []string) (bool, error) {
	var ours, others []string
	f.Visit(func(flag *pflag.Flag) {
		switch {
		case slices.Contains(n.names, flag.Name):
			ours = append(ours, "--"+flag.Name)
		case flag.Name != "help":
			others = append(others, "--"+flag.Name)
		}
	})
	named := f.Changed("pid") || f.Changed("netns")
	switch {
	case len(ours) == 0:
		return false, nil
	case !named:
		return true, fmt.Errorf("%s: say what to attach with --pid PID or --netns PATH; without these, attach joins the streams of a container", strings.Join(ours, " "))
	case f.Changed("pid") && f.Changed("netns"):
		return true, errors.New("conflicting options: --pid and --netns: a namespace is attached by one of them")
	case len(others) > 0:
		return true, fmt.Errorf("conflicting options: %s: a namespace has no streams, and %s attaches one", strings.Join(others, " "), strings.Join(ours, " "))
	case len(args) > 0:
		return true, fmt.Errorf("conflicting options: container %q and --pid or --netns: the first is for joining a container's streams, the others for attaching a namespace; its name is given with --name", args[0])
	case f.Changed("userns") && !f.Changed("netns"):
		return true, errors.New("--userns goes with --netns: the user namespace of a process's network is found")
	}
	return true, nil
}

// request turns the flags into what the API wants.
func (n *namespaceFlags) request(f *pflag.FlagSet) (api.NamespaceRequest, error) {
	req := api.NamespaceRequest{Name: n.name}
	var err error
	if f.Changed("pid") {
		// The moment of its start is sent too: by the time that the daemon looks the
		// number may be another process's.
		p, err := foreign.Find(n.pid)
		if err != nil {
			return req, err
		}
		req.PID, req.PIDStart = p.PID, p.Start
	} else {
		if req.NetNS, err = n.path(n.netns); err == nil && n.userns != "" {
			req.UserNS, err = n.path(n.userns)
		}
		if err != nil {
			return req, err
		}
	}
	if n.exitFD != noFD {
		self, err := foreign.Find(os.Getpid())
		if err != nil {
			return req, err
		}
		req.Holder = &api.ProcessID{PID: self.PID, Start: self.Start}
	}
	mode, networks, err := networking(n.network.list, n.simple)
	if err != nil {
		return req, err
	}
	exposed, bindings, err := parsePublish(n.publish, n.expose)
	if err != nil {
		return req, err
	}
	servers := make([]netip.Addr, 0, len(n.dns.values))
	for _, text := range n.dns.values {
		addr, err := parseIP(text)
		if err != nil {
			return req, err
		}
		servers = append(servers, addr)
	}
	req.Config = &container.Config{Hostname: n.hostname, ExposedPorts: exposed, Labels: keyValues(n.labels.values)}
	req.HostConfig = &container.HostConfig{NetworkMode: mode, PortBindings: bindings, PublishAllPorts: n.publishAll, DNS: servers}
	req.NetworkingConfig = networks
	return req, nil
}

// path makes the path of a namespace mean to the daemon what it means to this command.
func (n *namespaceFlags) path(path string) (string, error) {
	if path == "" {
		return "", errors.New("the path of a namespace is empty: give one such as /proc/PID/ns/net")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	own := ""
	for _, prefix := range []string{"/proc/self/", "/proc/thread-self/", "/dev/fd/"} {
		if rest, ok := strings.CutPrefix(abs, prefix); ok {
			own = filepath.Join("/proc", strconv.Itoa(os.Getpid()), rest)
			if prefix == "/dev/fd/" {
				own = filepath.Join("/proc", strconv.Itoa(os.Getpid()), "fd", rest)
			}
		}
	}
	switch {
	case own == "":
		return abs, nil
	case n.exitFD == noFD:
		return "", fmt.Errorf("%s is this command's own and is gone when it ends: give --exit-fd, so that it stays, or a path that lasts, such as /proc/PID/ns/net", path)
	}
	return own, nil
}

// run attaches a namespace, and stays if it is told when to end.
func (n *namespaceFlags) run(ctx context.Context, c *cli, f *pflag.FlagSet) error {
	var ready, exit *os.File
	var err error
	if f.Changed("ready-fd") && f.Changed("exit-fd") && n.readyFD == n.exitFD {
		return fmt.Errorf("conflicting options: --ready-fd %d and --exit-fd %d: the first is closed when it has been written to, so the other is another one", n.readyFD, n.exitFD)
	}
	if f.Changed("ready-fd") {
		if ready, err = givenFD("--ready-fd", n.readyFD, false); err != nil {
			return err
		}
	}
	if f.Changed("exit-fd") {
		if exit, err = givenFD("--exit-fd", n.exitFD, true); err != nil {
			return err
		}
	}
	req, err := n.request(f)
	if err != nil {
		return err
	}
	client, err := c.daemonFor(ctx, req)
	if err != nil {
		return err
	}
	catch := catchEnds
	if exit != nil { // it may stay for long, and be sent whatever
		catch = catchSignals
	}
	ctx, signals := catch(ctx)
	defer signals.stop()
	// Not ended by a signal: what the daemon does meanwhile would stay.
	created, err := client.NamespaceAttach(context.WithoutCancel(ctx), req)
	if err != nil {
		return err
	}
	for _, warning := range created.Warnings {
		fmt.Fprintf(c.stderr, "WARNING: %s\n", warning)
	}
	fmt.Fprintln(c.stdout, created.ID)
	if ready != nil {
		_, err := ready.WriteString("1")
		if err = errors.Join(err, ready.Close()); err != nil {
			detachQuietly(client, created.ID)
			return fmt.Errorf("--ready-fd %d: %w; the namespace was detached again", n.readyFD, err)
		}
	}
	if exit == nil {
		if ctx.Err() != nil {
			detachQuietly(client, created.ID)
			return &statusError{code: signals.exitCode(), err: context.Cause(ctx)}
		}
		return nil
	}
	return holdAttached(ctx, client, created.ID, exit, signals)
}

// holdAttached stays until the other end of exit is closed, a signal asks for the end,
// or the container is gone. However this command ends, the daemon notices and detaches.
func holdAttached(ctx context.Context, client *api.Client, id string, exit *os.File, signals *signalProxy) error {
	gone := make(chan struct{})
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go func() {
		defer close(gone)
		awaitGone(watching, client, id)
	}()
	select {
	case <-hangup(exit):
		detachQuietly(client, id)
		return nil
	case <-gone: // the namespace has ended, or somebody has detached it
		return nil
	case <-ctx.Done():
		detachQuietly(client, id)
		return &statusError{code: signals.exitCode()}
	}
}

// awaitGone returns when the container is gone. While there is no daemon it waits for
// one: the attachment goes on with the next.
func awaitGone(ctx context.Context, client *api.Client, id string) {
	for {
		ended, err := client.ContainerWait(ctx, id, container.WaitConditionRemoved)
		if errdefs.IsNotFound(err) {
			return
		}
		if err == nil {
			if _, ok := <-ended; ok {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(awaitInterval):
		}
	}
}

// awaitInterval is how often a daemon is looked for that went away.
const awaitInterval = 200 * time.Millisecond

// detachQuietly detaches at the end of this command. What goes wrong need not be said:
// the daemon, or the next one, does the same when this process has ended.
func detachQuietly(client *api.Client, id string) {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	_ = client.NamespaceDetach(ctx, id)
}

func detachCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "detach CONTAINER [CONTAINER...]",
		Short: "Detach namespaces that were attached with --pid or --netns",
		Long: `Detach namespaces that were attached with --pid or --netns

The interfaces and routes that footbridge made are gone from the namespace then, and
the container with its names, addresses and published ports. Nothing else of the
namespace is changed, and its processes go on.`,
		Args:              minArgs(1),
		ValidArgsFunction: completeContainers(c, -1, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.forEach(cmd.Context(), args, func(client *api.Client, name string) error {
				return client.NamespaceDetach(cmd.Context(), name)
			})
		},
	}
}
