package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/internal/sandbox"
)

func TestSandboxChecks(t *testing.T) {
	refused := errors.New("seccomp: operation not permitted")
	for name, test := range map[string]struct {
		support    sandbox.Support
		want, says string
	}{
		"all there":   {sandbox.Support{Landlock: 7}, "ok ok ok", "ABI 7"},
		"an old one":  {sandbox.Support{Landlock: 4, Notes: []string{"knows no signals"}}, "ok ok ok", "ABI 4 (knows no signals)"},
		"no Landlock": {sandbox.Support{NoLandlock: fmt.Errorf("%w: switched off: boot with lsm=landlock", sandbox.ErrNoLandlock)}, "ok ok warn", "no Landlock: switched off|nothing need be done, seccomp stands without it; else: boot with lsm=landlock"},
		"no seccomp":  {sandbox.Support{Landlock: 7, Seccomp: refused}, "ok FAIL ok", "not permitted|CONFIG_SECCOMP_FILTER"},
		"nothing":     {sandbox.Support{NoNewPrivs: refused, Seccomp: refused, NoLandlock: refused}, "FAIL FAIL warn", "not permitted"},
	} {
		var got []string
		var all strings.Builder
		for _, c := range fromSandbox(test.support) {
			got = append(got, c.Status)
			fmt.Fprintln(&all, c.Detail, c.Remedy)
			if c.Status != checkOK && c.Remedy == "" {
				t.Errorf("%s: %+v has no remedy", name, c)
			}
		}
		if s := strings.Join(got, " "); s != test.want {
			t.Errorf("%s: %s, want %s", name, s, test.want)
		}
		for _, text := range strings.Split(test.says, "|") {
			if !strings.Contains(all.String(), text) {
				t.Errorf("%s: nothing says %q in\n%s", name, text, all.String())
			}
		}
	}
}

func TestNoWorkerIsNeededWithoutEndpoints(t *testing.T) {
	s := &api.Status{Keeper: api.ProcessStatus{PID: 6}, Networks: []api.NetworkStatus{{}}}
	got := checkWorker(s)
	if len(got) != 1 || got[0].Status != checkOK || got[0].Detail != "no worker runs while no container is on a network" {
		t.Errorf("%+v", got)
	}
}

// Containers get onto no network while the worker cannot be started: there are no endpoints then either.
func TestAWorkerThatCannotStartIsNoIdleOne(t *testing.T) {
	s := &api.Status{Keeper: api.ProcessStatus{PID: 6}, Networks: []api.NetworkStatus{{}}}
	s.Worker.LastExit = "start a worker: no memory"
	got := checkWorker(s)
	if len(got) != 1 || got[0].Status != checkWarn || got[0].Remedy == "" ||
		got[0].Detail != "no worker runs, and not because none is needed; the last one: start a worker: no memory" {
		t.Errorf("%+v", got)
	}
}

func TestWorkerCheck(t *testing.T) {
	for _, s := range []*api.Status{nil, {PID: 7}} {
		if got := checkWorker(s); len(got) != 0 {
			t.Errorf("no daemon, or one without workers: %+v", got)
		}
	}
	held := api.Sandbox{NoNewPrivs: true, Seccomp: sandbox.SeccompFilter, Landlock: 7}
	off := api.Sandbox{NoNewPrivs: true, Seccomp: sandbox.SeccompOff, Notes: []string{"THE SANDBOX IS OFF"}}
	capable := held
	capable.Capabilities = 1 << 12
	bare := held
	bare.Landlock, bare.Notes = 0, []string{"no Landlock"}
	for name, test := range map[string]struct {
		pid            int
		held           api.Sandbox
		status, detail string
	}{
		"held":             {7, held, checkOK, "pid 7: no_new_privs, no capabilities, seccomp filter, Landlock ABI 7"},
		"no Landlock":      {7, bare, checkOK, "pid 7: no_new_privs, no capabilities, seccomp filter, no Landlock"},
		"off":              {7, off, checkWarn, "pid 7: it has no seccomp filter, no_new_privs, no capabilities, THE SANDBOX IS OFF"},
		"with privileges":  {7, capable, checkWarn, "pid 7: it has capabilities 0x1000, no_new_privs, seccomp filter, Landlock ABI 7"},
		"not to be seen":   {7, api.Sandbox{}, checkWarn, "pid 7: it has no no_new_privs, it has no seccomp filter, no capabilities"},
		"no worker at all": {0, api.Sandbox{}, checkWarn, "no worker runs, so nothing is carried; the last one: killed"},
	} {
		var s api.Status
		s.Keeper.PID = 6
		s.Networks = []api.NetworkStatus{{}, {Endpoints: 1}}
		s.Worker.PID, s.Worker.Sandbox, s.Worker.LastExit = test.pid, test.held, "killed"
		got := checkWorker(&s)
		if len(got) != 1 || got[0].Status != test.status || got[0].Detail != test.detail || (got[0].Status != checkOK) != (got[0].Remedy != "") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
