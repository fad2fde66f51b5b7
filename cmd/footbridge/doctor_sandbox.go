package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/internal/sandbox"
)

// fromSandbox says what this machine has of the sandbox that the daemon's worker
// runs in.
func fromSandbox(s sandbox.Support) []check {
	const outer = "use Linux 5.10 or later with CONFIG_SECCOMP_FILTER; in an outer container: allow seccomp(2) and prctl(2) there (--security-opt seccomp=unconfined)"
	privileges := check{Name: "no_new_privs", Status: checkOK, Detail: "can be set"}
	if s.NoNewPrivs != nil {
		privileges.Status, privileges.Detail, privileges.Remedy = checkFail, s.NoNewPrivs.Error(), outer
	}
	seccomp := check{Name: "seccomp", Status: checkOK, Detail: "filters that kill can be set on all threads"}
	if s.Seccomp != nil {
		seccomp.Status, seccomp.Detail, seccomp.Remedy = checkFail, s.Seccomp.Error(), outer
	}
	landlock := check{Name: "Landlock", Status: checkOK, Detail: fmt.Sprintf("ABI %d", s.Landlock)}
	switch {
	case s.NoLandlock != nil:
		// Its remedy follows the last colon.
		text := s.NoLandlock.Error()
		landlock.Status, landlock.Detail = checkWarn, text
		if i := strings.LastIndex(text, ": "); i >= 0 {
			landlock.Detail, landlock.Remedy = text[:i], "nothing need be done, seccomp stands without it; else: "+text[i+2:]
		}
	case len(s.Notes) > 0:
		landlock.Detail += " (" + strings.Join(s.Notes, "; ") + ")"
	}
	return []check{privileges, seccomp, landlock}
}

// checkWorker says what holds the worker of a daemon that runs; nil: none runs. A
// daemon of a version that had no worker says nothing of a keeper either.
func checkWorker(status *api.Status) []check {
	if status == nil || status.Keeper.PID == 0 {
		return nil
	}
	w := status.Worker
	c := check{Name: "worker's sandbox", Status: checkOK}
	needed := slices.ContainsFunc(status.Networks, func(n api.NetworkStatus) bool { return n.Endpoints > 0 })
	if w.PID == 0 && !needed && w.LastExit == "" {
		c.Detail = "no worker runs while no container is on a network"
		return []check{c}
	}
	if w.PID == 0 {
		c.Status, c.Detail = checkWarn, "no worker runs, so nothing is carried"
		if !needed {
			// A container gets onto no network without one, so none is on one now.
			c.Detail = "no worker runs, and not because none is needed"
		}
		if w.LastExit != "" {
			c.Detail += "; the last one: " + w.LastExit
		}
		c.Remedy = "the daemon starts one by itself: its log, daemon.log in the runtime folder, says why it could not"
		return []check{c}
	}
	has, lacks := heldBy(w.Sandbox)
	c.Detail = fmt.Sprintf("pid %d: %s", w.PID, strings.Join(append(lacks, has...), ", "))
	if len(lacks) > 0 {
		c.Status = checkWarn
		c.Remedy = "a container that breaks into the worker has what its user has: take " + sandbox.Variable + "=off out of the daemon's environment and run `footbridge daemon stop`; the next command starts a daemon with a sandbox"
	}
	return []check{c}
}

// heldBy says in words what holds the worker, with the kernel's notes, and what does
// not though it should.
func heldBy(held api.Sandbox) (has, lacks []string) {
	for _, part := range []struct {
		there     bool
		has, lack string
	}{
		{held.NoNewPrivs, "no_new_privs", "it has no no_new_privs"},
		{held.Capabilities == 0, "no capabilities", fmt.Sprintf("it has capabilities %#x", held.Capabilities)},
		{held.Seccomp == sandbox.SeccompFilter, "seccomp filter", "it has no seccomp filter"},
		{held.Landlock > 0, fmt.Sprintf("Landlock ABI %d", held.Landlock), ""},
	} {
		switch {
		case part.there:
			has = append(has, part.has)
		case part.lack != "":
			lacks = append(lacks, part.lack)
		}
	}
	return append(has, held.Notes...), lacks
}
