package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/tests/world"
)

// ErrNoDaemon is returned by Status when no daemon runs.
var ErrNoDaemon = errors.New("no daemon runs")

// noDaemonCode is the exit status of `footbridge daemon status` without a daemon.
const noDaemonCode = 3

// Status asks the daemon for its status. It starts none.
func (s *Stage) Status() (api.Status, error) {
	var status api.Status
	r := s.Try("daemon", "status", "--format", "json")
	switch {
	case r.Err != nil:
		return status, r.Err
	case r.Code == noDaemonCode:
		return status, ErrNoDaemon
	case r.Code != 0:
		return status, fmt.Errorf("footbridge daemon status: exit status %d: %s", r.Code, strings.TrimSpace(r.Stderr))
	}
	if err := json.Unmarshal([]byte(r.Stdout), &status); err != nil {
		return status, fmt.Errorf("footbridge daemon status: %w", err)
	}
	return status, nil
}

// Definitions is all that footbridge tells of its containers and networks, as lines: two of them differ in what
// Differences lists. It starts a daemon if there is none.
func (s *Stage) Definitions() ([]string, error) {
	var lines []string
	for _, noun := range []string{"container", "network"} {
		list := map[string][]string{"container": {"ps", "-aq", "--no-trunc"}, "network": {"network", "ls", "-q", "--no-trunc"}}[noun]
		ids, err := s.Footbridge(list...)
		if err != nil {
			return nil, err
		}
		for _, id := range slices.Sorted(slices.Values(strings.Fields(ids))) {
			text, err := s.Footbridge(noun, "inspect", id)
			if err != nil {
				return nil, err
			}
			var told []any
			if err := json.Unmarshal([]byte(text), &told); err != nil {
				return nil, fmt.Errorf("footbridge %s inspect: %w", noun, err)
			}
			lines = flatten(lines, noun+" "+id[:min(12, len(id))], told)
		}
	}
	return lines, nil
}

// flatten adds a line for each value of a JSON document, but for those that count what passes.
func flatten(lines []string, path string, value any) []string {
	switch value := value.(type) {
	case map[string]any:
		for name, v := range value {
			if name != "Counters" {
				lines = flatten(lines, path+"."+name, v)
			}
		}
	case []any:
		for i, v := range value {
			lines = flatten(lines, fmt.Sprintf("%s[%d]", path, i), v)
		}
	default:
		lines = append(lines, fmt.Sprintf("%s = %v", path, value))
	}
	return lines
}

// Differences lists the lines that only one of two lists has, marked as a diff marks them.
func Differences(before, after []string) []string {
	count := make(map[string]int)
	for _, line := range before {
		count[line]--
	}
	for _, line := range after {
		count[line]++
	}
	var list []string
	for line, n := range count {
		if n < 0 {
			list = append(list, "-"+line)
		} else if n > 0 {
			list = append(list, "+"+line)
		}
	}
	slices.Sort(list)
	return list
}

// processID is the number in a snapshot's line about a process.
var processID = regexp.MustCompile(`^process \d+ `)

// Things lists the processes, listeners, mounts, links and files on the host, the processes without their ids: what
// there is before and after a fault is the same.
func (s *Stage) Things() []string {
	var list []string
	for line := range s.World.Snapshot() {
		switch {
		case strings.HasPrefix(line, "process"):
			line = processID.ReplaceAllString(line, "process ")
		case strings.HasPrefix(line, "udp "), strings.Contains(line, world.Stage()) && strings.HasPrefix(line, "file "):
			continue // sockets of flows, which come and go
		}
		list = append(list, line)
	}
	slices.Sort(list)
	return list
}

// Interfaces lists the network interfaces of each container that has an agent.
func (s *Stage) Interfaces() ([]string, error) {
	var list []string
	for _, a := range s.Hub.Agents() {
		names, err := a.Links()
		if errors.Is(err, ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, a.Name+": "+strings.Join(names, " "))
	}
	return list, nil
}
