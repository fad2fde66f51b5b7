package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/tap"
)

func TestFindDirs(t *testing.T) {
	env := func(kv ...string) func(string) string {
		return func(key string) string {
			for _, s := range kv {
				if value, ok := strings.CutPrefix(s, key+"="); ok {
					return value
				}
			}
			return ""
		}
	}
	for _, test := range []struct {
		env            []string
		runtime, state string
	}{
		{[]string{"XDG_RUNTIME_DIR=/run/user/7", "XDG_STATE_HOME=/s", "HOME=/h"}, "/run/user/7/footbridge", "/s/footbridge"},
		{[]string{"HOME=/h"}, "/tmp/footbridge-7", "/h/.local/state/footbridge"},
		{[]string{"XDG_RUNTIME_DIR=relative", "XDG_STATE_HOME=relative", "HOME=/h"}, "/tmp/footbridge-7", "/h/.local/state/footbridge"},
	} {
		d, err := findDirs(env(test.env...), 7)
		if err != nil || d.runtime != test.runtime || d.state != test.state {
			t.Errorf("%q: %+v (%v), want %s and %s", test.env, d, err, test.runtime, test.state)
		}
	}
	_, err := findDirs(env("XDG_RUNTIME_DIR=/"+strings.Repeat("x", 90), "HOME=/h"), 7)
	if !errors.Is(err, api.ErrUnsafeDir) || !strings.Contains(err.Error(), "shorter path") {
		t.Errorf("a path too long for sockets: %v", err)
	}
	if _, err := findDirs(env(), 1<<30); !errors.Is(err, api.ErrUnsafeDir) {
		t.Errorf("no home: %v", err)
	}
}

func TestPrepareDir(t *testing.T) {
	base := t.TempDir()
	prepare := func(name string) error { return prepareDir("runtime", filepath.Join(base, name), "XDG_RUNTIME_DIR") }

	if err := prepare("new/deep"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"new", "new/deep"} {
		if info, err := os.Stat(filepath.Join(base, name)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s was made as %v (%v)", name, info.Mode(), err)
		}
	}
	if err := prepare("new/deep"); err != nil {
		t.Errorf("the second time: %v", err)
	}

	for name, test := range map[string]struct {
		make func(path string) error
		want string
	}{
		"open":   {func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, 0o750)) }, "has mode 0750, so that others may enter or you may not: run chmod 700 "},
		"link":   {func(p string) error { return os.Symlink(filepath.Join(base, "new"), p) }, "is a symbolic link"},
		"broken": {func(p string) error { return os.Symlink("/nonexistent", p) }, "is a symbolic link"},
		"file":   {func(p string) error { return os.WriteFile(p, nil, 0o600) }, "is not a folder"},
	} {
		path := filepath.Join(base, name)
		if err := test.make(path); err != nil {
			t.Fatal(err)
		}
		err := prepare(name)
		if !errors.Is(err, api.ErrUnsafeDir) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}

	// A folder that anybody may replace is not made there either.
	anybodys := filepath.Join(base, "anybodys")
	if err := errors.Join(os.Mkdir(anybodys, 0o700), os.Chmod(anybodys, 0o777)); err != nil {
		t.Fatal(err)
	}
	if err := prepare("anybodys/mine"); !errors.Is(err, api.ErrUnsafeDir) || !strings.Contains(err.Error(), "sticky bit") {
		t.Errorf("below a folder of everybody's: %v", err)
	}
	if err := os.Chmod(anybodys, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := prepare("anybodys/mine"); err != nil {
		t.Errorf("below a folder like /tmp: %v", err)
	}

	// A folder of somebody else's, by its description: giving one away takes root.
	info, err := os.Stat(filepath.Join(base, "new"))
	if err != nil {
		t.Fatal(err)
	}
	info.Sys().(*syscall.Stat_t).Uid = 4711
	if err := checkDir("state", "/x", "XDG_STATE_HOME", info); err == nil || !strings.Contains(err.Error(), "belongs to uid 4711") {
		t.Errorf("a stranger's folder: %v", err)
	}
}

// A command that cannot go on for want of the one folder does not leave the other.
func TestPrepareLeavesNothing(t *testing.T) {
	base := t.TempDir()
	d := dirs{runtime: filepath.Join(base, "run", "footbridge"), state: filepath.Join(base, "state")}
	if err := os.WriteFile(d.state, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.prepare(); !errors.Is(err, api.ErrUnsafeDir) {
		t.Fatal(err)
	}
	if _, err := os.Stat(d.runtime); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left %s: %v", d.runtime, err)
	}
	if err := os.MkdirAll(d.runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.prepare(); !errors.Is(err, api.ErrUnsafeDir) {
		t.Fatal(err)
	}
	if _, err := os.Stat(d.runtime); err != nil {
		t.Errorf("one that was there is gone: %v", err)
	}
}

func TestHostChecks(t *testing.T) {
	host := func(files map[string]string) hostFiles {
		m := fstest.MapFS{}
		for path, text := range files {
			m[strings.TrimPrefix(path, "/")] = &fstest.MapFile{Data: []byte(text)}
		}
		return hostFiles{root: m, release: "6.18.0-1-amd64", gids: []int{100, 1000}}
	}
	const (
		ping  = "/proc/sys/net/ipv4/ping_group_range"
		ports = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
		inet6 = "/proc/net/if_inet6"
	)
	for _, test := range []struct {
		name   string
		check  func(hostFiles) check
		files  map[string]string
		status string
		want   string // in detail or remedy
	}{
		{"ping", checkPing, map[string]string{ping: "0\t2147483647\n"}, checkOK, "allowed for group 100"},
		{"ping second group", checkPing, map[string]string{ping: "1000 1000"}, checkOK, "allowed for group 1000"},
		{"ping forbidden", checkPing, map[string]string{ping: "1\t0\n"}, checkWarn, `sysctl -w net.ipv4.ping_group_range="0 2147483647"`},
		{"ping unreadable", checkPing, nil, checkWarn, "net.ipv4.ping_group_range"},
		{"low ports", checkLowPorts, map[string]string{ports: "0\n"}, checkOK, "all ports"},
		{"low ports closed", checkLowPorts, map[string]string{ports: "1024\n"}, checkWarn, "net.ipv4.ip_unprivileged_port_start=80"},
		{"low ports odd", checkLowPorts, map[string]string{ports: "x"}, checkWarn, "from 1024 on"},
		{"resolvers", checkResolvers, map[string]string{"/etc/resolv.conf": "# x\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n"}, checkOK, "192.0.2.1, fe80::1%eth0"},
		{"no resolvers", checkResolvers, map[string]string{"/etc/resolv.conf": "search x\nnameserver nope\n"}, checkWarn, "names no server"},
		{"no resolv.conf", checkResolvers, nil, checkWarn, "nameserver"},
		{"ipv6", checkIPv6, map[string]string{inet6: "fe800000000000000000000000000001 02 40 20 80 eth0\n20010db8000000000000000000000001 02 40 00 80 eth0\n"}, checkOK, "eth0"},
		{"ipv6 local only", checkIPv6, map[string]string{inet6: "00000000000000000000000000000001 01 80 10 80 lo\n"}, checkWarn, "no global"},
		{"no ipv6", checkIPv6, nil, checkWarn, "no IPv6"},
		{"congestion", checkCongestion, map[string]string{"/proc/sys/net/ipv4/tcp_congestion_control": "cubic\n"}, checkOK, "cubic"},
		{"kernel", checkKernel, nil, checkOK, "6.18.0"},
	} {
		got := test.check(host(test.files))
		if got.Status != test.status || !strings.Contains(got.Detail+" "+got.Remedy, test.want) {
			t.Errorf("%s: %+v, want %s and %q", test.name, got, test.status, test.want)
		}
		if got.Status != checkOK && got.Remedy == "" {
			t.Errorf("%s has no remedy: %+v", test.name, got)
		}
	}
	for release, status := range map[string]string{"5.9.1": checkFail, "4.18.0-el8": checkFail, "5.15.0": checkOK, "7.0": checkOK, "x": checkWarn} {
		if got := checkKernel(hostFiles{release: release}); got.Status != status {
			t.Errorf("kernel %s: %+v, want %s", release, got, status)
		}
	}
}

func TestProbeChecks(t *testing.T) {
	all := tap.Features{VirtioHeader: true, Checksum: true, TSO: true, USO: true}
	noUSO := all
	noUSO.USO = false
	refused := errors.New("refused")
	for name, test := range map[string]struct {
		result tap.ProbeResult
		want   string
	}{
		"all works":     {tap.ProbeResult{Methods: []tap.MethodResult{{Name: "native", Features: all}, {Name: "nsenter", Features: all}}}, "ok ok ok"},
		"second way":    {tap.ProbeResult{Methods: []tap.MethodResult{{Name: "native", Err: refused}, {Name: "nsenter", Features: all}}}, "ok warn ok"},
		"no way":        {tap.ProbeResult{Methods: []tap.MethodResult{{Name: "native", Err: refused}, {Name: "nsenter", Err: refused}}}, "ok FAIL"},
		"old kernel":    {tap.ProbeResult{Methods: []tap.MethodResult{{Name: "native", Features: noUSO}}}, "ok ok warn"},
		"no tun":        {tap.ProbeResult{Tun: tap.ErrNoTun, Methods: []tap.MethodResult{{Name: "native", Err: tap.ErrNoTun}}}, "FAIL FAIL"},
		"no namespaces": {tap.ProbeResult{Namespaces: refused}, "ok FAIL"},
	} {
		var got []string
		for _, c := range fromProbe(test.result) {
			got = append(got, c.Status)
			if c.Status != checkOK && c.Remedy == "" {
				t.Errorf("%s: %+v has no remedy", name, c)
			}
		}
		if s := strings.Join(got, " "); s != test.want {
			t.Errorf("%s: %s, want %s", name, s, test.want)
		}
	}
	for want, f := range map[string]shim.Finding{
		checkOK: {OK: true, Required: true}, checkFail: {Required: true}, checkWarn: {},
	} {
		if got := fromFindings([]shim.Finding{f}); got[0].Status != want {
			t.Errorf("%+v is %s, want %s", f, got[0].Status, want)
		}
	}
}

func TestCheckTable(t *testing.T) {
	var b strings.Builder
	checks := []check{
		{Name: "one", Status: checkOK, Detail: "fine"},
		{Name: "another thing", Status: checkFail, Detail: "several\nlines", Remedy: "do this"},
		{Name: "third", Status: checkWarn, Detail: "slow", Remedy: "do that"},
	}
	for _, format := range []string{"", "json", "{{.Name}}={{.Status}}"} {
		if err := printChecks(&b, checks, format); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b)
	}
	golden(t, "doctor.txt", b.String())
}
