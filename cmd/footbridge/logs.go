package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
)

type logsOptions struct {
	follow, timestamps bool
	since, until, tail string
}

func logsCommand(c *cli) *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use:   "logs [OPTIONS] CONTAINER",
		Short: "Fetch the logs of a container",
		Args:  exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), c, args[0])
		},
		ValidArgsFunction: completeContainers(c, 1, true),
	}
	f := cmd.Flags()
	f.BoolVarP(&o.follow, "follow", "f", false, "Follow log output")
	f.BoolVarP(&o.timestamps, "timestamps", "t", false, "Show timestamps")
	f.StringVar(&o.since, "since", "", `Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`)
	f.StringVar(&o.until, "until", "", `Show logs before a timestamp or relative, as --since`)
	f.StringVarP(&o.tail, "tail", "n", "all", "Number of lines to show from the end of the logs")
	return cmd
}

func (o *logsOptions) run(ctx context.Context, c *cli, name string) error {
	options := api.LogsOptions{Stdout: true, Stderr: true, Follow: o.follow, Timestamps: o.timestamps, Tail: -1}
	if o.tail != "" && o.tail != "all" {
		n, err := strconv.Atoi(o.tail)
		if err != nil {
			return fmt.Errorf("invalid value for \"tail\": %q: it is a number of lines, or all", o.tail)
		}
		options.Tail = n // a negative number means all, as with Docker
	}
	var err error
	if options.Since, err = parseTime("since", o.since, c.now()); err != nil {
		return err
	}
	if options.Until, err = parseTime("until", o.until, c.now()); err != nil {
		return err
	}
	client, err := c.daemon(ctx)
	if err != nil {
		return err
	}
	logs, err := client.ContainerLogs(ctx, name, options)
	if err != nil {
		return err
	}
	if err = logs.Copy(c.stdout, c.stderr); isGone(err) {
		return errLogGone
	}
	return err
}

// errLogGone: the daemon went away while a log was read.
var errLogGone = errors.New("the daemon went away before the log's end; the container lives on, repeat the command to read on (see --since)")

// parseTime parses a point in time: RFC 3339 (the zone, the time of day and the
// fraction may be left out), seconds since 1970, or a duration before now.
func parseTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	whole, fraction, _ := strings.Cut(text, ".")
	if seconds, err := strconv.ParseInt(whole, 10, 64); err == nil {
		if fraction == "" {
			return time.Unix(seconds, 0), nil
		}
		if nanos, err := strconv.ParseUint((fraction + "000000000")[:9], 10, 32); err == nil {
			return time.Unix(seconds, int64(nanos)), nil
		}
	}
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15:04Z07:00", "2006-01-02", "2006-01-02Z07:00",
	} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("invalid value for %q: %q: it is a time like 2013-01-02T13:23:37Z or a duration like 42m", flag, text)
}
