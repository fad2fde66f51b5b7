package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// reapInherited reaps the children that the program before this one has left: those
// containers' shims that it had started, and its worker. They would stay zombies,
// since whoever waited for them is no more. It must come before anything is started.
func reapInherited(ctx context.Context, log *slog.Logger) {
	children, err := childrenOf(os.Getpid())
	if err != nil {
		log.Warn("children of the program before are not reaped", "error", err)
		return
	}
	go reap(ctx, children)
}

// reap returns when all of the children have ended and are reaped. Nobody else may wait
// for them.
func reap(ctx context.Context, children []int) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	defer signal.Stop(ended)
	children = slices.Clone(children)
	for {
		children = slices.DeleteFunc(children, func(pid int) bool {
			got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
			return got == pid || errors.Is(err, unix.ECHILD)
		})
		if len(children) == 0 {
			return
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return
		}
	}
}

// childrenOf lists the children of a process.
func childrenOf(parent int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var children []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid ..., and the name may hold anything.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 {
			continue
		}
		if ppid, err := strconv.Atoi(string(fields[1])); err == nil && ppid == parent {
			children = append(children, pid)
		}
	}
	return children, nil
}
