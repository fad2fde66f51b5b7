package engine

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
)

// topTimeout bounds the run of ps.
const topTimeout = 10 * time.Second

// ContainerTop implements api.ContainerBackend: ps(1) of the host, and of what
// it prints the processes in the container's PID namespace, as the host sees
// them.
func (e *Engine) ContainerTop(ctx context.Context, nameOrID, args string) (container.TopResponse, error) {
	_, r, def, err := e.running(nameOrID)
	if err != nil {
		return container.TopResponse{}, err
	}
	if r == nil || !def.running() {
		return container.TopResponse{}, conflict("container %s is not running", def.ID)
	}
	if err := refuseForeign(def, "asked for its processes"); err != nil {
		return container.TopResponse{}, err
	}
	pids, err := namespacePIDs(def.State.Pid)
	if err != nil {
		return container.TopResponse{}, conflict("container %s is not running: %w", def.ID, err)
	}
	if strings.TrimSpace(args) == "" {
		args = "-ef"
	}
	ctx, cancel := context.WithTimeout(ctx, topTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ps", strings.Fields(args)...).Output()
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		return container.TopResponse{}, invalid("ps %s: %s", args, bytes.TrimSpace(failed.Stderr))
	case err != nil:
		return container.TopResponse{}, invalid("list the processes of container %s: %w; it takes the host's ps (package procps)", def.Name, err)
	}
	return parsePS(string(out), pids)
}

// namespacePIDs lists the processes in the PID namespace of one of them.
func namespacePIDs(pid int) ([]int, error) {
	inode := func(dir string) (uint64, error) {
		st, err := os.Stat(dir + "/ns/pid")
		if err != nil {
			return 0, err
		}
		return st.Sys().(*syscall.Stat_t).Ino, nil
	}
	ours, err := inode("/proc/" + strconv.Itoa(pid))
	if err != nil {
		return nil, err
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, dir := range dirs {
		// Most others' namespaces may not be looked at, and processes end meanwhile.
		if ns, err := inode(dir); err != nil || ns != ours {
			continue
		}
		if n, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, n)
		}
	}
	return pids, nil
}

// parsePS takes the lines about pids from the output of ps.
func parsePS(out string, pids []int) (container.TopResponse, error) {
	var top container.TopResponse
	top.Processes = [][]string{}
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	top.Titles = strings.Fields(lines[0])
	column := slices.Index(top.Titles, "PID")
	if column < 0 {
		return top, invalid("the output of ps has no column PID: add pid to its arguments")
	}
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		if len(fields) <= column {
			continue
		}
		pid, err := strconv.Atoi(fields[column])
		if err != nil || !slices.Contains(pids, pid) {
			continue
		}
		// The last column is the command, with blanks in it.
		if last := len(top.Titles) - 1; len(fields) > last+1 {
			fields = append(fields[:last:last], strings.Join(fields[last:], " "))
		}
		top.Processes = append(top.Processes, fields)
	}
	return top, nil
}
