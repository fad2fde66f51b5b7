package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/footbridge-net/footbridge/tests/world"
)

// system is one way of giving containers a network.
type system interface {
	name() string
	// find says which version is there, or why there is none.
	find(b *bench) (version string, err error)
	// box makes container number i at an MTU, from 0 on.
	box(b *bench, mtu, i int) (*box, error)
}

// Names of the systems, as tables say them.
const (
	footbridgeName  = "footbridge"
	kernelName      = "kernel veth+bridge"
	slirpName       = "slirp4netns"
	pastaName       = "pasta"
	longPastaName   = "pasta with txqueuelen 10000"
	rootlesskitName = "RootlessKit builtin"
	gvisorName      = "gvisor-tap-vsock"
)

// systems in the order of the tables. Footbridge is the first: the others are its peers.
var systems = []system{
	footbridge{}, kernelBridge{}, slirp{}, pasta{}, pasta{queue: 10_000},
	rootlesskit{title: rootlesskitName, net: "slirp4netns", driver: "builtin"},
	rootlesskit{title: gvisorName, net: "gvisor-tap-vsock", driver: "gvisor-tap-vsock"},
}

func systemNamed(name string) system {
	for _, s := range systems {
		if s.name() == name {
			return s
		}
	}
	panic("bench: there is no system " + name)
}

// errAbsent is returned by find for what is not installed.
var errAbsent = errors.New("not installed")

// Programs of the peers. Newer ones than the distribution's are given by flag or environment.
var (
	slirpPath       = program("slirp4netns", "SLIRP4NETNS")
	pastaPath       = program("pasta", "PASTA")
	rootlesskitPath = program("rootlesskit", "ROOTLESSKIT")
)

func program(name, variable string) *string {
	return flag.String(name, os.Getenv(variable), "`path` of "+name+"; default: $"+variable+", or what is installed")
}

// located returns the path of a program that was given or is installed.
func located(name, given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", errAbsent
	}
	return path, nil
}

// givenFolders are those that hold given programs: the world has to see them although its /tmp is its own.
func givenFolders() []string {
	var folders []string
	for _, given := range []*string{slirpPath, pastaPath, rootlesskitPath} {
		if *given != "" {
			if path, err := filepath.Abs(*given); err == nil {
				folders = append(folders, filepath.Dir(path))
			}
		}
	}
	return folders
}

// version returns the first line of what a program says of itself in the world.
func (b *bench) version(path string) (string, error) {
	r := b.w.Run(world.Host, path, "--version")
	if r.Err != nil || r.Code != 0 {
		return "", fmt.Errorf("%s --version: exit status %d, %v%s", path, r.Code, r.Err, suffix(r.Stderr))
	}
	line, _, _ := strings.Cut(r.Stdout, "\n")
	return strings.TrimSpace(line), nil
}
