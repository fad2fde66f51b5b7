package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
)

type eventsOptions struct {
	since, until, format string
	filter               filterFlag
}

func eventsCommand(c *cli) *cobra.Command {
	var o eventsOptions
	cmd := &cobra.Command{
		Use:   "events [OPTIONS]",
		Short: "Get real time events from the daemon",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), c) },
	}
	f := cmd.Flags()
	f.StringVar(&o.since, "since", "", `Show events since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`)
	f.StringVar(&o.until, "until", "", "Stream events until this timestamp, as --since")
	f.StringVar(&o.format, "format", "", "Format output: 'json' or a Go template")
	f.VarP(&o.filter, "filter", "f", `Filter output based on conditions provided (e.g. "type=network")`)
	return cmd
}

// errEventsGone: no more events come, though none has been asked to be the last.
var errEventsGone = errors.New("the stream of events was cut off: the daemon ended, or events came faster than they were read; repeat the command (see --since)")

func (o *eventsOptions) run(ctx context.Context, c *cli) error {
	options := api.EventsOptions{Filters: o.filter.filters}
	var err error
	if options.Since, err = parseTime("since", o.since, c.now()); err != nil {
		return err
	}
	if options.Until, err = parseTime("until", o.until, c.now()); err != nil {
		return err
	}
	var t *template.Template // nil: for people
	if o.format != "" {
		if t, err = parseTemplate(o.format); err != nil {
			return err
		}
	}
	client, err := c.daemon(ctx)
	if err != nil {
		return err
	}
	stream, err := client.Events(ctx, options)
	if err != nil {
		return err
	}
	for m := range stream {
		if err := printEvent(c.stdout, t, m); err != nil {
			return err
		}
	}
	if ctx.Err() == nil && (options.Until.IsZero() || c.now().Before(options.Until)) {
		return errEventsGone
	}
	return nil
}

// eventTime is Docker's: all fractions have the same length.
const eventTime = "2006-01-02T15:04:05.000000000Z07:00"

// printEvent prints one event on a line, by the template if there is one.
func printEvent(w io.Writer, t *template.Template, m events.Message) error {
	if t != nil {
		var b strings.Builder
		if err := t.Execute(&b, m); err != nil {
			return fmt.Errorf("template parsing error: %w", err)
		}
		_, err := fmt.Fprintln(w, b.String())
		return err
	}
	attributes := ""
	for _, k := range slices.Sorted(maps.Keys(m.Actor.Attributes)) {
		if attributes != "" {
			attributes += ", "
		}
		attributes += k + "=" + oneLine(m.Actor.Attributes[k])
	}
	if attributes != "" {
		attributes = " (" + attributes + ")"
	}
	_, err := fmt.Fprintf(w, "%s %s %s %s%s\n", time.Unix(0, m.TimeNano).Format(eventTime), m.Type, m.Action, m.Actor.ID, attributes)
	return err
}
