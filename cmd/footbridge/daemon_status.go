package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine"
)

func daemonStatusCommand(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "status [OPTIONS]",
		Short: "Show whether the daemon runs, and what it has done",
		Long:  "Show whether the daemon runs, and what it has done. The exit code is 3 when it does not run.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := c.runningDaemon(cmd.Context())
			if errors.Is(err, api.ErrNoDaemon) {
				if where := daemonElsewhere(c); where != nil {
					fmt.Fprintln(c.stdout, where)
				} else {
					fmt.Fprintln(c.stdout, "footbridge daemon is not running; the first command that needs it starts it")
					if n := leftRunning(c); n > 0 {
						fmt.Fprintf(c.stdout, "containers that it has left and that may still run, without a network until then: %d\n", n)
					}
				}
				return &statusError{code: exitNotRunning}
			}
			if err != nil {
				return err
			}
			status, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			if format == "" {
				return printStatus(c.stdout, status, c.now())
			}
			t, err := parseTemplate(format)
			if err != nil {
				return err
			}
			text, err := executeInspect(t, status)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.stdout, text)
			return nil
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", inspectFormatHelp)
	return cmd
}

// printStatus prints the daemon's status for people: the daemon, and a
// paragraph with its counters for each network that has something to count.
func printStatus(w io.Writer, s api.Status, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 1, 2, ' ', 0)
	fmt.Fprintf(table, "Daemon:\trunning, pid %d\n", s.PID)
	fmt.Fprintf(table, "Version:\t%s (%s)\n", s.Version, shortID(s.Commit, false))
	fmt.Fprintf(table, "Uptime:\t%s, since %s\n", strings.ToLower(units.HumanDuration(now.Sub(s.StartedAt))), s.StartedAt.Local().Format(time.RFC3339))
	if s.Keeper.PID != 0 { // else it is of a version that had no worker
		printWorker(table, s.Worker, now)
	}
	fmt.Fprintf(table, "Socket:\t%s\n", s.Socket)
	fmt.Fprintf(table, "State:\t%s\n", s.StateDir)
	if u := s.Upgrade; u != nil && u.Error == "" {
		fmt.Fprintf(table, "Upgraded:\tfrom %s, %s\n", u.From, u.At.Local().Format(time.RFC3339))
	} else if u != nil {
		fmt.Fprintf(table, "Upgrade:\tto %s failed, %s: %s\n", u.To, u.At.Local().Format(time.RFC3339), oneLine(u.Error))
	}
	for _, warning := range s.Warnings {
		fmt.Fprintf(table, "Warning:\t%s\n\t-> %s\n", warning.Text, warning.Remedy)
	}
	fmt.Fprintf(table, "Containers:\t%d (%d running)\n", s.Containers, s.Running)
	fmt.Fprintf(table, "Networks:\t%d\n", len(s.Networks))
	if err := table.Flush(); err != nil {
		return err
	}
	for _, n := range s.Networks {
		if n.Endpoints == 0 && len(counts(n.Counters)) == 0 {
			continue
		}
		fmt.Fprintf(w, "\nNetwork %s: %d endpoint(s), MTU %d\n", n.Name, n.Endpoints, n.MTU)
		for _, line := range counts(n.Counters) {
			fmt.Fprintf(w, "  %s\n", line)
		}
		for _, e := range n.Containers {
			text := strings.Join(counts(e.Counters), ", ")
			if text == "" {
				text = "nothing yet"
			}
			fmt.Fprintf(w, "  %s: %s\n", e.Container, text)
		}
	}
	return nil
}

// printWorker prints the process that carries the packets, what holds it, and why
// there was another before it.
func printWorker(w io.Writer, worker api.WorkerStatus, now time.Time) {
	restarts := "never restarted"
	switch n := worker.Restarts; {
	case n == 1:
		restarts = "restarted once"
	case n > 1:
		restarts = fmt.Sprintf("restarted %d times", n)
	}
	if worker.PID == 0 {
		fmt.Fprintf(w, "Worker:\tnone runs, %s\n", restarts)
	} else {
		fmt.Fprintf(w, "Worker:\tpid %d, %s, %s\n", worker.PID, strings.ToLower(units.HumanDuration(now.Sub(worker.StartedAt))), restarts)
		has, lacks := heldBy(worker.Sandbox)
		fmt.Fprintf(w, "Sandbox:\t%s\n", oneLine(strings.Join(append(lacks, has...), ", ")))
	}
	if worker.LastExit != "" {
		fmt.Fprintf(w, "Last worker:\t%s\n", oneLine(worker.LastExit))
	}
}

// daemonElsewhere returns an error that says where the daemon of the state
// folder is when the environment leads to another runtime folder, or when nobody can reach it; nil if none is.
func daemonElsewhere(c *cli) error {
	d, err := c.dirs()
	if err != nil {
		return nil //nolint:nilerr // told by whoever asked for the daemon
	}
	h := engine.StateHolder(d.state, socketFile)
	if h.Lost && isDaemon(h.PID) {
		return fmt.Errorf("the footbridge daemon (pid %d) has lost its socket in runtime folder %s, which was removed, so that no command can reach it: end it with `footbridge daemon stop`",
			h.PID, h.RuntimeDir)
	}
	other := h.RuntimeDir
	if other == "" || other == d.runtime {
		return nil
	}
	pid, err := findDaemon(dirs{runtime: other, state: d.state})
	if err != nil || pid == 0 {
		return nil //nolint:nilerr // what cannot be found out is not claimed
	}
	return fmt.Errorf("no footbridge daemon runs with runtime folder %s; that of your state folder %s (pid %d) has runtime folder %s: use it with `%s`, or end it with `%s`",
		d.runtime, d.state, pid, other, engine.InRuntimeDir(other, "footbridge ..."), engine.InRuntimeDir(other, "footbridge daemon stop"))
}

// counts returns "name value" for every counter that has counted.
func counts(counters map[string]uint64) []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		if n := counters[name]; n > 0 {
			lines = append(lines, fmt.Sprintf("%s %d", strings.ReplaceAll(name, "_", " "), n))
		}
	}
	return lines
}

func daemonStopCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Stop the daemon; containers that run go on, without a network until the next daemon",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			d, err := c.dirs()
			if err != nil {
				return err
			}
			pid, err := stopDaemon(d, lockPatience)
			switch {
			case err != nil:
				return err
			case pid == 0:
				if where := daemonElsewhere(c); where != nil {
					return where
				}
				fmt.Fprintln(c.stdout, "footbridge daemon is not running")
			default:
				fmt.Fprintf(c.stdout, "footbridge daemon (pid %d) has stopped\n", pid)
				if n := leftRunning(c); n > 0 {
					fmt.Fprintf(c.stdout, "containers that go on, without a network until the next command starts a daemon: %d\n", n)
				}
			}
			return nil
		},
	}
}

// leftRunning counts the containers that a daemon which is no more has left: each has
// a folder of its own as long as it is not known to have ended.
func leftRunning(c *cli) int {
	d, err := c.dirs()
	if err != nil {
		return 0
	}
	entries, err := os.ReadDir(filepath.Join(d.runtime, "c"))
	if err != nil {
		return 0
	}
	return len(entries)
}
