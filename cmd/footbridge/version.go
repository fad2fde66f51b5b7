package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/moby/moby/api/types/system"
	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/internal/buildinfo"
)

// versions is what version prints, in the shape of Docker's.
type versions struct {
	Client clientVersion
	Server *system.VersionResponse // nil: no daemon runs
}

type clientVersion struct {
	Version    string
	APIVersion string `json:"ApiVersion"`
	GoVersion  string
	GitCommit  string
	Os, Arch   string
	BuildTime  string
}

func versionCommand(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "version [OPTIONS]",
		Short: "Show the version information of footbridge and of its daemon",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return printVersion(cmd.Context(), c, format) },
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", inspectFormatHelp)
	return cmd
}

// printVersion asks a daemon that runs, of whatever version, and starts none.
func printVersion(ctx context.Context, c *cli, format string) error {
	info := buildinfo.Get()
	v := versions{Client: clientVersion{
		Version: info.Version, APIVersion: api.MaxVersion, GoVersion: info.GoVersion, GitCommit: info.Commit,
		Os: runtime.GOOS, Arch: runtime.GOARCH, BuildTime: info.Time,
	}}
	client, err := c.runningDaemon(ctx)
	if err == nil {
		var server system.VersionResponse
		if server, err = client.Version(ctx); err == nil {
			v.Server = &server
		}
	}
	if errors.Is(err, api.ErrNoDaemon) {
		err = nil
	}
	if format != "" {
		t, parseErr := parseTemplate(format)
		if parseErr != nil {
			return parseErr
		}
		text, execErr := executeInspect(t, v)
		if execErr != nil {
			return execErr
		}
		fmt.Fprintln(c.stdout, text)
		return err
	}
	fmt.Fprintf(c.stdout, "Client: footbridge\n")
	printBuild(c, v.Client.Version, v.Client.APIVersion, v.Client.GoVersion, v.Client.GitCommit, v.Client.Os, v.Client.Arch)
	switch {
	case v.Server != nil:
		fmt.Fprintf(c.stdout, "\nServer: footbridge daemon\n")
		printBuild(c, v.Server.Version, v.Server.APIVersion, v.Server.GoVersion, v.Server.GitCommit, v.Server.Os, v.Server.Arch)
	case err == nil:
		fmt.Fprintf(c.stdout, "\nServer: not running; the first command that needs it starts it\n")
	}
	return err
}

func printBuild(c *cli, version, apiVersion, goVersion, commit, os, arch string) {
	for _, row := range [][2]string{
		{"Version", version}, {"API version", apiVersion}, {"Go version", goVersion}, {"Git commit", commit}, {"OS/Arch", os + "/" + arch},
	} {
		fmt.Fprintf(c.stdout, " %-18s%s\n", row[0]+":", row[1])
	}
}
