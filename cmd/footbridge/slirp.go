package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/engine/slirp"
)

// slirpDispatch returns at once unless this program was started under the name of
// slirp4netns; else it never returns.
func slirpDispatch() {
	if filepath.Base(os.Args[0]) == slirp.Name {
		os.Exit(slirp.Main(os.Args[1:]))
	}
}

// slirpCommand is the same by the first word. The command line is slirp4netns's own, so
// cobra does not read it.
func slirpCommand() *cobra.Command {
	return &cobra.Command{
		Use:                slirp.Name + " [OPTIONS] PID|PATH|FD [TAPNAME]",
		Short:              "Stand in for slirp4netns: network access for one namespace",
		Long:               "Under the name of slirp4netns, or by this command, footbridge is what podman, buildah, RootlessKit and Docker\nwithout root start for a namespace's way out. Options are that program's: footbridge slirp4netns --help.",
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if code := slirp.Main(args); code != 0 {
				return &statusError{code: code}
			}
			return nil
		},
	}
}
