package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine"
	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/internal/sandbox"
	"github.com/footbridge-net/footbridge/tap"
)

// The verdicts of a check.
const (
	checkOK   = "ok"
	checkWarn = "warn" // works, but something is missing or slower
	checkFail = "FAIL" // containers or their networks do not work
)

// check is one line of doctor's table.
type check struct {
	Name   string
	Status string // ok, warn or FAIL
	Detail string // what was found
	Remedy string `json:",omitempty"` // what to do about it
}

func doctorCommand(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "doctor [OPTIONS]",
		Short: "Check whether this machine has what footbridge needs",
		Long: `Check whether this machine has what footbridge needs, by trying it.

Every line that is not ok says what to do about it. The exit code is 1 when
something is missing without which containers or their networks do not work.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			checks := examine(cmd.Context(), c)
			if err := printChecks(c.stdout, checks, format); err != nil {
				return err
			}
			for _, check := range checks {
				if check.Status == checkFail {
					return &statusError{code: exitFailure}
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&format, "format", "", "Format output: 'table', 'json' or a Go template, which gets one check at a time")
	return cmd
}

// examine makes all checks.
func examine(ctx context.Context, c *cli) []check {
	var wg sync.WaitGroup
	var probe tap.ProbeResult
	var findings []shim.Finding
	var support sandbox.Support
	wg.Go(func() { probe = tap.Probe(ctx) })
	wg.Go(func() { support = sandbox.Probe() })
	wg.Go(func() { findings = shim.Check(ctx) })
	wg.Wait()

	host := realHost()
	checks := []check{checkKernel(host)}
	checks = append(checks, fromProbe(probe)...)
	checks = append(checks, fromFindings(findings)...)
	checks = append(checks, fromSandbox(support)...)
	checks = append(checks, checkPing(host), checkLowPorts(host))
	checks = append(checks, checkDirs(c)...)
	status := runningStatus(ctx, c)
	checks = append(checks, checkWorker(status)...)
	checks = append(checks, checkState(c, status)...)
	return append(checks, checkResolvers(host), checkIPv6(host), checkOpenFiles(), checkCongestion(host))
}

// fromProbe says what the attempt to make a TAP device in a namespace gave.
func fromProbe(r tap.ProbeResult) []check {
	tun := check{Name: "/dev/net/tun", Status: checkOK, Detail: "can be opened, virtio header " + yesNo(r.Kernel.VirtioHeader)}
	if r.Tun != nil {
		tun.Status, tun.Detail = checkFail, r.Tun.Error()
		tun.Remedy = "as root: modprobe tun && chmod 0666 /dev/net/tun; in an outer container: give it the device (--device /dev/net/tun)"
	}
	entry := check{Name: "namespace entry", Status: checkOK}
	if r.Namespaces != nil {
		entry.Status, entry.Detail = checkFail, r.Namespaces.Error()
		entry.Remedy = "see user namespaces below"
		return []check{tun, entry}
	}
	var said []string
	for i, m := range r.Methods {
		if m.Err == nil {
			said = append(said, fmt.Sprintf("%s works", m.Name))
			continue
		}
		said = append(said, fmt.Sprintf("%s does not: %v", m.Name, m.Err))
		if i == 0 {
			entry.Status = checkWarn
			entry.Remedy = "nothing need be done: the next way is used, which takes a little longer"
		}
	}
	entry.Detail = strings.Join(said, "; ")
	features, ok := r.OK()
	if !ok {
		entry.Status, entry.Remedy = checkFail, "make /dev/net/tun and user namespaces work; the lines above and below say how"
		return []check{tun, entry}
	}

	offloads := check{Name: "offloads", Status: checkOK,
		Detail: fmt.Sprintf("checksum %s, TSO %s, USO %s",
			yesNo(features.Checksum), yesNo(features.TSO), yesNo(features.USO))}
	switch {
	case !features.TSO || !features.Checksum:
		offloads.Status, offloads.Remedy = checkWarn, "TCP will be several times slower: use Linux 2.6.27 or later with a tun driver that has offloads"
	case !features.USO:
		offloads.Status, offloads.Remedy = checkWarn, "bulk UDP will be slower: Linux 6.2 or later has UDP segmentation offload"
	}
	return []check{tun, entry, offloads}
}

// fromFindings takes over what the container's side has tried.
func fromFindings(findings []shim.Finding) []check {
	checks := make([]check, len(findings))
	for i, f := range findings {
		checks[i] = check{Name: f.Name, Status: checkOK, Detail: f.Detail, Remedy: f.Remedy}
		switch {
		case f.OK:
		case f.Required:
			checks[i].Status = checkFail
		default:
			checks[i].Status = checkWarn
		}
	}
	return checks
}

// runningStatus asks the daemon, if one runs. It starts none.
func runningStatus(ctx context.Context, c *cli) *api.Status {
	client, err := c.runningDaemon(ctx)
	if err != nil {
		return nil
	}
	status, err := client.Status(ctx)
	if err != nil {
		return nil
	}
	return &status
}

// checkState tells of what a daemon has found wrong with containers and their
// records; without one, of what was found by the last.
func checkState(c *cli, status *api.Status) []check {
	d, err := c.dirs()
	if err != nil {
		return nil // checkDirs said so
	}
	if where := daemonElsewhere(c); where != nil {
		text, remedy, _ := strings.Cut(where.Error(), ": ")
		return []check{{Name: "daemon", Status: checkWarn, Detail: text, Remedy: remedy}}
	}
	warnings := engine.Leftovers(d.state)
	if status != nil {
		warnings = status.Warnings
	}
	if len(warnings) == 0 {
		return []check{{Name: "state", Status: checkOK, Detail: "nothing was lost"}}
	}
	checks := make([]check, len(warnings))
	for i, w := range warnings {
		checks[i] = check{Name: "state", Status: checkWarn, Detail: w.Text, Remedy: w.Remedy}
	}
	return checks
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// printChecks prints a table, JSON or a template's lines.
func printChecks(w io.Writer, checks []check, format string) error {
	switch format {
	case "", "table":
		return printCheckTable(w, checks)
	case "json":
		text, err := json.MarshalIndent(checks, "", "    ")
		if err == nil {
			_, err = fmt.Fprintln(w, string(text))
		}
		return err
	}
	t, err := parseTemplate(format)
	if err != nil {
		return err
	}
	rows := make([]any, len(checks))
	for i, check := range checks {
		rows[i] = check
	}
	return execute(w, t, rows)
}

func printCheckTable(w io.Writer, checks []check) error {
	width := len("CHECK")
	counts := map[string]int{}
	for _, check := range checks {
		width = max(width, len(check.Name))
		counts[check.Status]++
	}
	if _, err := fmt.Fprintf(w, "%-*s   STATUS   FOUND\n", width, "CHECK"); err != nil {
		return err
	}
	for _, check := range checks {
		fmt.Fprintf(w, "%-*s   %-6s   %s\n", width, check.Name, check.Status, oneLine(check.Detail))
		if check.Status != checkOK && check.Remedy != "" {
			fmt.Fprintf(w, "%-*s            -> %s\n", width, "", oneLine(check.Remedy))
		}
	}
	_, err := fmt.Fprintf(w, "\n%d ok, %d warn, %d FAIL\n", counts[checkOK], counts[checkWarn], counts[checkFail])
	return err
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
