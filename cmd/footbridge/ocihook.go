package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
	"github.com/footbridge-net/footbridge/engine/foreign"
	"github.com/footbridge-net/footbridge/internal/ocihook"
)

// Hooks of OCI runtimes, in the order in which a runtime calls them:
//
//	createRuntime     in the runtime's namespaces: attaches the container's network
//	                  namespace, and leaves an usher behind (ocihook_usher.go)
//	createContainer   in the container's namespaces, whose root is not its own yet: hears
//	                  from the usher, shows the container its files
//	poststop          in the runtime's namespaces: detaches what is still there
//
// Some runtimes (crun) hide the container's process from its own user until it has become
// the container's command: its namespaces cannot be opened. The createContainer hook is in
// the same ones and hides nothing, so the usher attaches them by that.

// stages of a container's life that have a hook of ours. prestart is createRuntime's
// name in versions of the specification before 1.0.2.
const (
	stagePrestart        = "prestart"
	stageCreateRuntime   = "createRuntime"
	stageCreateContainer = "createContainer"
	stagePoststop        = "poststop"
)

// Labels by which poststop finds what createRuntime has attached.
const (
	labelHookID     = ocihook.Prefix + "oci.id"
	labelHookBundle = ocihook.Prefix + "oci.bundle"
	labelHookPID    = ocihook.Prefix + "oci.pid"
)

// hookCommandName is how bundles name the command, and are searched for it.
const hookCommandName = "oci-hook"

func ociHookCommand(c *cli) *cobra.Command {
	var form string
	cmd := &cobra.Command{
		Use:   hookCommandName + " [OPTIONS] [STAGE]",
		Short: "Attach networks to containers of an OCI runtime, as its hook",
		Long: `Attach networks to containers of an OCI runtime, such as runc or crun, as its hook

A runtime runs it, with the container's state on standard input. The stage is
createRuntime (or prestart), createContainer or poststop; left out, it is found. --print writes what goes into a bundle's
config.json, or into a folder of hooks that podman and CRI-O read.

Annotations of the container say what is wanted. Each has the name of a flag of
"attach" and takes its values; lists have them with blanks between:

  ` + ocihook.Prefix + strings.Join(ocihook.Names(), "\n  "+ocihook.Prefix) + `
  ` + ocihook.Prefix + `label.NAME`,
		Args: rangeArgs(0, 1),
		ValidArgs: []string{
			stageCreateRuntime, stageCreateContainer, stagePoststop,
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("print") {
				if len(args) > 0 {
					return errors.New("conflicting options: --print tells of all stages, and takes none")
				}
				return c.printHooks(form)
			}
			stage := ""
			if len(args) > 0 {
				stage = args[0]
			}
			return c.ociHook(cmd.Context(), stage)
		},
	}
	cmd.Flags().StringVar(&form, "print", "", `Write the hooks: "config" for config.json, "hooks.d" for podman and CRI-O`)
	return cmd
}

// ociHook does the work of one stage.
func (c *cli) ociHook(ctx context.Context, stage string) error {
	switch stage {
	case "", stagePrestart, stageCreateRuntime, stageCreateContainer, stagePoststop:
	default:
		return fmt.Errorf("there is nothing to do at stage %q: it is %s (or %s), %s or %s", stage, stageCreateRuntime, stagePrestart, stageCreateContainer, stagePoststop)
	}
	state, err := ocihook.ReadState(c.stdin)
	if err != nil {
		return err
	}
	if stage == "" && state.Status == ocihook.Stopped {
		stage = stagePoststop
	}
	if err := c.hookAt(ctx, stage, state); err != nil {
		return fmt.Errorf("container %s: %w", state.ID, err)
	}
	return nil
}

// hookAt is ociHook for a container that has been read. Without a stage there is one of the
// first two: the usher waits only between them.
func (c *cli) hookAt(ctx context.Context, stage string, state ocihook.State) error {
	if stage == stagePoststop {
		return c.hookPoststop(ctx, state)
	}
	if stage == "" || stage == stageCreateContainer {
		usher, err := c.callUsher(ctx, state)
		if err == nil {
			return c.hookCreateContainer(state, usher)
		}
		if stage != "" {
			return err
		}
	}
	return c.hookCreateRuntime(ctx, state)
}

// hookFlags are what annotations can say.
type hookFlags struct {
	namespaceFlags
	set *pflag.FlagSet

	dnsSearch, addHost listFlag
	dnsOption          []string
}

func newHookFlags() *hookFlags {
	h := &hookFlags{set: pflag.NewFlagSet("", pflag.ContinueOnError)}
	h.register(h.set)
	h.dnsSearch.check, h.addHost.check = checkDNSSearch, checkAddHost
	h.set.Var(&h.dnsSearch, "dns-search", "")
	h.set.Var(&h.addHost, "add-host", "")
	h.set.StringArrayVar(&h.dnsOption, "dns-option", nil, "")
	return h
}

// hookRequest turns a state and its configuration into what the API wants.
func hookRequest(state ocihook.State, config ocihook.Config) (api.NamespaceRequest, error) {
	var none api.NamespaceRequest
	options, err := ocihook.Options(state.Annotations)
	if err != nil {
		return none, err
	}
	h := newHookFlags()
	for _, o := range options {
		if err := h.set.Set(o.Name, o.Value); err != nil {
			// The flag set's own words name a flag that nobody gave.
			if bad := (*pflag.InvalidValueError)(nil); errors.As(err, &bad) {
				err = wrongValue(bad)
			}
			return none, fmt.Errorf("annotation %s: %w", o.Annotation, err)
		}
	}
	if state.PID == 0 {
		return none, errors.New("the runtime names no process of the container: this is done before it has one, or after")
	}
	if !config.Has("network") {
		return none, errors.New(`the container has no network namespace of its own: add {"type": "network"} to linux.namespaces in its config.json`)
	}
	if err := h.set.Set("pid", strconv.Itoa(state.PID)); err != nil {
		return none, err
	}
	if !h.set.Changed("name") && isUsualName(state.ID) {
		h.name = state.ID
	}
	if !h.set.Changed("hostname") {
		h.hostname = config.Hostname
	}
	h.labels.values = append(h.labels.values, labelHookID+"="+state.ID, labelHookBundle+"="+state.Bundle, labelHookPID+"="+strconv.Itoa(state.PID))
	req, err := h.request(h.set)
	if err != nil {
		return none, err
	}
	req.HostConfig.DNSSearch, req.HostConfig.DNSOptions, req.HostConfig.ExtraHosts = h.dnsSearch.values, h.dnsOption, h.addHost.values
	return req, nil
}

var (
	usualName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)
	generated = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// isUsualName reports whether a runtime's id of a container is one that somebody would call
// it by.
func isUsualName(id string) bool {
	return len(id) > 1 && usualName.MatchString(id) && !generated.MatchString(id)
}

// hookCreateRuntime attaches the container's network namespace, or leaves that to the usher.
func (c *cli) hookCreateRuntime(ctx context.Context, state ocihook.State) error {
	config, err := ocihook.ReadConfig(state.Bundle)
	if err != nil {
		return err
	}
	req, err := hookRequest(state, config)
	if err != nil {
		return err
	}
	inside := config.CreatesContainerWith(hookCommandName)
	if req.Files = inside; !inside && len(req.HostConfig.DNSSearch)+len(req.HostConfig.DNSOptions)+len(req.HostConfig.ExtraHosts) > 0 {
		return fmt.Errorf("its annotations ask for lines of /etc/hosts and /etc/resolv.conf, which a createContainer hook shows: add the one that `footbridge %s --print config` tells", hookCommandName)
	}
	netns := fmt.Sprintf("/proc/%d/ns/net", state.PID)
	_, err = os.Readlink(netns)
	hidden := errors.Is(err, unix.EACCES)
	if hidden && !inside {
		return fmt.Errorf("the runtime keeps process %d from its own user until it has become the container's command, and so its network namespace: let a createContainer hook show it, as `footbridge %s --print config` tells", state.PID, hookCommandName)
	}
	client, err := c.hookDaemon(ctx)
	if err != nil {
		return err
	}
	if err := detachEnded(ctx, client, state); err != nil {
		return err
	}
	d, err := c.dirs()
	if err != nil {
		return err
	}
	job := usherJob{Process: api.ProcessID{PID: req.PID, Start: req.PIDStart}, Request: req}
	if !hidden {
		// Not ended by a signal: what the daemon does meanwhile would stay.
		if job.ID, err = hookAttach(context.WithoutCancel(ctx), client, req, netns); err != nil {
			return err
		}
	}
	if inside {
		for name := range hookFiles(usherAnswer{}) {
			if !config.MountsAt("/" + name) {
				// Where none can be made the next hook says so, if it has none either.
				_ = ocihook.MakePlace(config.RootFolder(state.Bundle), name)
			}
		}
		if err := startUsher(d.usher(state), c.environ, job); err != nil {
			if job.ID != "" {
				detachQuietly(client, job.ID)
			}
			return err
		}
	}
	return nil
}

// hookDaemon returns a client of the user's daemon. In a user namespace of its own, as rootless podman's, none is started: the
// daemon would be no use to anybody outside.
func (c *cli) hookDaemon(ctx context.Context) (*api.Client, error) {
	if !plugin.InRuntime() {
		return c.daemon(ctx)
	}
	client, err := c.runningDaemon(ctx)
	if errors.Is(err, api.ErrNoDaemon) {
		return nil, fmt.Errorf("%w: start it outside of this user namespace, for example with `footbridge network ls`, and see to it that it stays (`systemctl --user enable footbridge`)", api.ErrNoDaemon)
	}
	return client, err
}

// ofRuntime reports whether this is the hook of a runtime that lives in a user namespace below
// the daemon's. The daemon takes no number of a process from such a one, but a namespace that it
// has open; and it is not told how the daemon is.
func ofRuntime(ctx context.Context, client *api.Client) bool {
	if !plugin.InRuntime() {
		return false
	}
	_, err := client.Status(ctx)
	return errdefs.IsPermissionDenied(err)
}

// hookAttach attaches the namespace of a process that can be looked at, and returns the container's id.
func hookAttach(ctx context.Context, client *api.Client, req api.NamespaceRequest, netns string) (string, error) {
	if !ofRuntime(ctx, client) {
		created, err := client.NamespaceAttach(ctx, req)
		return created.ID, err
	}
	f, err := os.Open(netns)
	if err != nil {
		return "", err
	}
	defer f.Close()
	req.PID, req.PIDStart, req.NetNS = 0, 0, netns
	created, err := client.NamespaceAttachFile(ctx, req, f)
	return created.ID, err
}

// hookPoststop detaches what the container has left. It does no harm where there is nothing.
func (c *cli) hookPoststop(ctx context.Context, state ocihook.State) error {
	client, err := c.runningDaemon(ctx)
	if errors.Is(err, api.ErrNoDaemon) || errors.Is(err, api.ErrUnsafeDir) {
		return nil // the next one finds that the process has ended
	}
	if err != nil {
		return err
	}
	return detachEnded(ctx, client, state)
}

// detachEnded detaches what was attached for a container of this id and bundle whose process has
// ended, and returns when nothing is left of it: the daemon does the same by itself, soon.
// Another one that lives has the same id by now.
func detachEnded(ctx context.Context, client *api.Client, state ocihook.State) error {
	list, err := client.ContainerList(ctx, api.ListOptions{All: true, Filters: api.Filters{}.
		Add("label", labelHookID+"="+state.ID).Add("label", labelHookBundle+"="+state.Bundle)})
	if err != nil {
		return err
	}
	var errs []error
	for _, found := range list {
		if pid, err := strconv.Atoi(found.Labels[labelHookPID]); err == nil {
			if _, err := foreign.Find(pid); !errors.Is(err, foreign.ErrGone) {
				continue
			}
		}
		if err := client.NamespaceDetach(ctx, found.ID); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
