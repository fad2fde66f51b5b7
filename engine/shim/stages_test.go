package shim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func marshal(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// stageDaemon is an engine in a process of its own: it runs a container and copies its output.
func stageDaemon() int {
	var spec Spec
	if err := json.Unmarshal([]byte(os.Getenv("SHIM_TEST_SPEC")), &spec); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code, err := runHere(spec)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func runHere(spec Spec) (int, error) {
	ctx := context.Background()
	s, err := Create(ctx, spec)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	stream, err := s.Attach(ctx, AttachOptions{Stdout: true, Stderr: true})
	if err != nil {
		return 0, err
	}
	if err := s.Start(ctx); err != nil {
		return 0, err
	}
	if err := stream.CopyOutput(os.Stdout, io.Discard); err != nil {
		return 0, err
	}
	exit, err := s.Wait(ctx)
	if err != nil {
		return 0, err
	}
	return exit.Code, s.Ack(ctx)
}

// outerNamespaces make the caller root of a small world.
func outerNamespaces() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
}

// stageOddHost puts up an /etc where /etc/resolv.conf leads nowhere, hosts and hostname are missing,
// and shows a folder twice; then it runs a container that looks at all that.
func stageOddHost() int {
	dir := os.Getenv("SHIM_TEST_DIR")
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) func() error {
		return func() error { return os.WriteFile(name, []byte(text), 0o644) }
	}
	mkdir := func(name string) func() error { return func() error { return os.Mkdir(name, 0o755) } }
	for _, f := range []func() error{
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount("tmpfs", "/etc", "tmpfs", 0, "mode=0755") },
		func() error { return os.Symlink("../run/no-such-resolver/stub.conf", "/etc/resolv.conf") },
		write("/etc/kept", "kept\n"),
		mkdir(at("data")), mkdir(at("data/secret")), mkdir(at("again")),
		write(at("data/secret/x"), ""),
		func() error { return unix.Mount(at("data"), at("again"), "", unix.MS_BIND, "") },
		write(at("resolv.conf"), "our resolv.conf\n"), write(at("hosts"), "our hosts\n"), write(at("hostname"), "our hostname\n"),
	} {
		if err := f(); err != nil {
			fmt.Fprintln(os.Stderr, "odd host:", err)
			return 1
		}
	}
	code, err := runHere(Spec{
		ID: "odd", Dir: at("r"), Env: []string{"PATH=" + defaultPath},
		Args: sh(`cat /etc/resolv.conf /etc/hosts /etc/hostname /etc/kept
			[ -e ` + at("data/secret/x") + ` ] && echo visible || echo hidden
			[ -e ` + at("again/secret/x") + ` ] && echo visible || echo hidden again`),
		ResolvConf: at("resolv.conf"), Hosts: at("hosts"), HostnameFile: at("hostname"),
		Mask: []string{at("data/secret")},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
