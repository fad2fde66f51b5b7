package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
	"github.com/footbridge-net/footbridge/internal/buildinfo"
	"github.com/footbridge-net/footbridge/internal/netavark"
)

// forwarderName is what podman calls its port forwarder.
const forwarderName = "rootlessport"

func main() {
	p := &program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, connect: connect}
	ctx := context.Background()
	if filepath.Base(os.Args[0]) == forwarderName {
		os.Exit(p.forward(ctx))
	}
	os.Exit(p.main(ctx, os.Args[1:]))
}

// program is one call of the plugin.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	connect        func(ctx context.Context, o plugin.Options) (daemon, error)
}

func connect(ctx context.Context, o plugin.Options) (daemon, error) { return plugin.Connect(ctx, o) }

// errUsage: the command line is not one of the API's.
var errUsage = errors.New("footbridge's netavark plugin is started by podman and netavark, as: create | setup NETNS | teardown NETNS | info; it is in a folder of netavark_plugin_dirs under the name footbridge")

// main answers one command of the plugin API and returns the exit status.
func (p *program) main(ctx context.Context, args []string) int {
	answer, err := p.run(ctx, args)
	if err != nil {
		answer = netavark.Failure{Error: err.Error()}
	}
	if answer != nil {
		if werr := json.NewEncoder(p.stdout).Encode(answer); werr != nil {
			fmt.Fprintln(p.stderr, "footbridge:", werr)
			return 1
		}
	}
	if err != nil {
		return 1
	}
	return 0
}

// run does one command and returns what it answers, nil for nothing.
func (p *program) run(ctx context.Context, args []string) (any, error) {
	if len(args) == 0 {
		return nil, errUsage
	}
	switch command, args := args[0], args[1:]; {
	case command == "info" && len(args) == 0:
		return netavark.Info{Version: buildinfo.Get().Version, APIVersion: netavark.APIVersion}, nil
	case command == "create" && len(args) == 0:
		n, err := netavark.ReadNetwork(p.stdin)
		if err != nil {
			return nil, err
		}
		return p.create(ctx, n)
	case command == "setup" && len(args) == 1:
		e, err := netavark.ReadExec(p.stdin)
		if err != nil {
			return nil, err
		}
		return p.setup(ctx, args[0], e)
	case command == "teardown" && len(args) == 1:
		e, err := netavark.ReadExec(p.stdin)
		if err != nil {
			return nil, err
		}
		return nil, p.teardown(ctx, e)
	}
	return nil, errUsage
}
