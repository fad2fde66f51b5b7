package main

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
)

const formatHelp = "Format output: 'table', 'table TEMPLATE', 'json' or a Go template"

type psOptions struct {
	all, quiet, latest, noTrunc bool
	last                        int
	format                      string
	filter                      filterFlag
}

func psCommand(c *cli) *cobra.Command {
	var o psOptions
	cmd := &cobra.Command{
		Use:   "ps [OPTIONS]",
		Short: "List containers",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), c) },
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "Show all containers (default shows just running)")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Only display container IDs")
	f.IntVarP(&o.last, "last", "n", -1, "Show n last created containers (includes all states)")
	f.BoolVarP(&o.latest, "latest", "l", false, "Show the latest created container (includes all states)")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Don't truncate output")
	f.StringVar(&o.format, "format", "", formatHelp)
	f.VarP(&o.filter, "filter", "f", "Filter output based on conditions provided")
	return cmd
}

func (o *psOptions) run(ctx context.Context, c *cli) error {
	client, err := c.daemon(ctx)
	if err != nil {
		return err
	}
	limit := o.last
	if o.latest && limit < 0 {
		limit = 1
	}
	containers, err := client.ContainerList(ctx, api.ListOptions{All: o.all, Limit: limit, Filters: o.filter.filters})
	if err != nil {
		return err
	}
	rows := make([]any, len(containers))
	for i, summary := range containers {
		rows[i] = containerRow{c: summary, now: c.now(), whole: o.noTrunc}
	}
	return containerListing.print(c.stdout, rows, o.format, o.quiet)
}

var containerListing = listing{
	headings: headings{
		"ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT",
		"RunningFor": "CREATED", "Status": "STATUS", "State": "STATE", "Ports": "PORTS", "Names": "NAMES",
		"Labels": "LABELS", "Networks": "NETWORKS", "Mounts": "MOUNTS", "LocalVolumes": "LOCAL VOLUMES", "Size": "SIZE",
	},
	table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
	quiet: "{{.ID}}",
}

// containerRow is a container as templates of ps see it.
type containerRow struct {
	c     container.Summary
	now   time.Time
	whole bool // nothing is shortened
}

func (r containerRow) ID() string { return shortID(r.c.ID, r.whole) }

func (r containerRow) Image() string { return r.c.Image }

func (r containerRow) Command() string {
	command := r.c.Command
	if !r.whole {
		command = ellipsis(command, 20)
	}
	return strconv.Quote(command)
}

func (r containerRow) CreatedAt() string { return time.Unix(r.c.Created, 0).String() }

func (r containerRow) RunningFor() string {
	return units.HumanDuration(r.now.Sub(time.Unix(r.c.Created, 0))) + " ago"
}

func (r containerRow) Status() string { return r.c.Status }
func (r containerRow) State() string  { return string(r.c.State) }
func (r containerRow) Ports() string  { return displayPorts(r.c.Ports) }

func (r containerRow) Names() string {
	var names []string
	for _, name := range r.c.Names {
		name = strings.TrimPrefix(name, "/")
		// A name with a slash is a link's: of another container's view.
		if r.whole || !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

func (r containerRow) Labels() string           { return joinLabels(r.c.Labels) }
func (r containerRow) Label(name string) string { return r.c.Labels[name] }

func (r containerRow) Networks() string {
	if r.c.NetworkSettings == nil {
		return ""
	}
	names := make([]string, 0, len(r.c.NetworkSettings.Networks))
	for name := range r.c.NetworkSettings.Networks {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

func (r containerRow) Mounts() string {
	var names []string
	for _, m := range r.c.Mounts {
		name := m.Source
		if m.Name != "" {
			name = m.Name
		}
		if !r.whole {
			name = ellipsis(name, 15)
		}
		names = append(names, name)
	}
	return strings.Join(names, ",")
}

func (containerRow) LocalVolumes() string { return "0" }

func (r containerRow) Size() string { return units.HumanSizeWithPrecision(float64(r.c.SizeRw), 3) }

// MarshalJSON implements json.Marshaler.
func (r containerRow) MarshalJSON() ([]byte, error) { return rowJSON(r) }

// shortID returns the twelve characters of an id that are enough to tell it from others.
func shortID(id string, whole bool) string {
	if whole || len(id) <= 12 {
		return id
	}
	return id[:12]
}

// ellipsis shortens a text to width characters, the last of them the sign of it.
func ellipsis(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	return string(runes[:width-1]) + "…"
}

func joinLabels(labels map[string]string) string {
	list := make([]string, 0, len(labels))
	for key, value := range labels {
		list = append(list, key+"="+value)
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}

// filterFlag collects --filter name=value.
type filterFlag struct {
	filters api.Filters
}

func (*filterFlag) Type() string   { return "filter" }
func (*filterFlag) String() string { return "" }

func (f *filterFlag) Set(value string) error {
	if value == "" {
		return nil
	}
	name, want, ok := strings.Cut(value, "=")
	if !ok {
		return errors.New("bad format of filter (expected name=value)")
	}
	// label!=key reads as the name "label!".
	name = strings.ToLower(strings.TrimSpace(name))
	if f.filters == nil {
		f.filters = api.Filters{}
	}
	f.filters.Add(name, strings.TrimSpace(want))
	return nil
}
