package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/footbridge-net/footbridge/engine/slirp"
	"github.com/footbridge-net/footbridge/internal/buildinfo"
	"github.com/footbridge-net/footbridge/internal/visible"
)

// usageTemplate is Docker's layout of help texts.
const usageTemplate = `Usage:  {{if not .HasParent}}{{.CommandPath}} [OPTIONS] COMMAND{{else if .HasAvailableSubCommands}}{{.CommandPath}}{{if .HasAvailableLocalFlags}} [OPTIONS]{{end}} COMMAND{{else}}{{.UseLine}}{{end}}

{{with (or .Long .Short)}}{{.}}{{end}}
{{- if .Aliases}}

Aliases:
  {{.Annotations.aliases}}
{{- end}}
{{- if .HasExample}}

Examples:
{{.Example}}
{{- end}}
{{- if .HasAvailableSubCommands}}
{{- $root := .}}
{{- range $group := .Groups}}

{{.Title}}{{range $root.Commands}}{{if and (eq .GroupID $group.ID) .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{- end}}
{{- if not .Groups}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{- end}}
{{- end}}
{{- if .HasAvailableLocalFlags}}

Options:
{{flags .}}
{{- end}}
{{- if .HasAvailableSubCommands}}

Run '{{.CommandPath}} COMMAND --help' for more information on a command.
{{- end}}
`

// Groups of commands in the root's help.
const (
	groupCommon     = "common"
	groupManagement = "management"
	groupOther      = "other"
)

// A rootCommand is one that stands directly behind the program's name.
type rootCommand struct {
	name, group string
	build       func(*cli) *cobra.Command
}

// rootCommands are all of them that the help shows, but cobra's own.
var rootCommands = []rootCommand{
	{"run", groupCommon, runCommand},
	{"exec", groupCommon, execCommand},
	{"ps", groupCommon, psCommand},
	{"inspect", groupCommon, inspectCommand},
	{"logs", groupCommon, logsCommand},
	{"port", groupCommon, portCommand},

	{"container", groupManagement, containerCommand},
	{"network", groupManagement, networkCommand},
	{"daemon", groupManagement, daemonCommand},
	{"doctor", groupManagement, doctorCommand},
	{hookCommandName, groupManagement, ociHookCommand},
	{"libnetwork-plugin", groupManagement, libnetworkCommand},

	{"attach", groupOther, attachCommand},
	{"detach", groupOther, detachCommand},
	{"create", groupOther, createCommand},
	{"dial", groupOther, dialCommand},
	{"proxy", groupOther, proxyCommand},
	{"start", groupOther, startCommand},
	{"stop", groupOther, stopCommand},
	{"restart", groupOther, restartCommand},
	{"kill", groupOther, killCommand},
	{"rename", groupOther, renameCommand},
	{"top", groupOther, topCommand},
	{"wait", groupOther, waitCommand},
	{"rm", groupOther, rmCommand},
	{"publish", groupOther, publishCommand},
	{"unpublish", groupOther, unpublishCommand},
	{"events", groupOther, eventsCommand},
	{slirp.Name, groupOther, func(*cli) *cobra.Command { return slirpCommand() }},
	{"version", groupOther, versionCommand},
}

// newRoot puts the command line together: all of it, or what is needed for args. Where these begin with a command's
// name, that one is enough: to make all of them takes 0.6 MB and 1.2 ms, a quarter of what a command takes to start.
func newRoot(c *cli, args ...string) *cobra.Command {
	root := bareRoot(c)
	only := -1
	if len(args) > 0 {
		only = slices.IndexFunc(rootCommands, func(r rootCommand) bool { return r.name == args[0] })
	}
	for i, r := range rootCommands {
		if only == i || only < 0 {
			cmd := r.build(c)
			cmd.GroupID = r.group
			root.AddCommand(cmd)
		}
	}
	if only < 0 {
		root.AddCommand(manPagesCommand(c))
		addAbsent(root, absentCommands, absentOfContainers)
		refuseUnknownShells(root)
		refuseUnknownTopics(root)
	}
	root.CompletionOptions.DisableDefaultCmd = only >= 0
	finish(root)
	return root
}

// bareRoot is the program without any command.
func bareRoot(c *cli) *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:                   "footbridge",
		Short:                 "Docker's networks for containers without root",
		SilenceUsage:          true,
		SilenceErrors:         true,
		DisableFlagsInUseLine: true,
		TraverseChildren:      true,
		Args:                  unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version {
				fmt.Fprintf(c.stdout, "footbridge version %s, build %s\n", buildinfo.Get().Version, buildinfo.Get().Commit)
				return nil
			}
			return cmd.Help()
		},
	}
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.SetIn(c.stdin)
	root.Flags().BoolVarP(&version, "version", "v", false, "Print version information and quit")
	root.PersistentFlags().Bool("help", false, "Print usage")
	root.PersistentFlags().Lookup("help").Hidden = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if errors.Is(err, pflag.ErrHelp) { // -h, where no flag of that letter is
			return err
		}
		return usageError(cmd, exitUsage, "%s", visible.Text(flagText(cmd, err)))
	})
	cobra.AddTemplateFunc("flags", c.flagUsages)
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { fmt.Fprint(c.stdout, cmd.UsageString()) }) // see outputError
	root.CompletionOptions.HiddenDefaultCmd = false

	root.AddGroup(
		&cobra.Group{ID: groupCommon, Title: "Common Commands:"},
		&cobra.Group{ID: groupManagement, Title: "Management Commands:"},
		&cobra.Group{ID: groupOther, Title: "Commands:"},
	)
	root.SetHelpCommandGroupID(groupOther)
	root.SetCompletionCommandGroupID(groupOther)
	return root
}

// refuseUnknownShells makes "completion foo" an error: cobra shows its help.
func refuseUnknownShells(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Args, cmd.RunE = unknownCommand, help
			for _, shell := range cmd.Commands() { // which cobra explains for systems that footbridge does not run on, too
				linux, rest, _ := strings.Cut(shell.Long, "#### macOS:")
				if _, after, ok := strings.Cut(rest, "\n\nYou will"); ok {
					shell.Long = strings.Replace(linux, "#### Linux:\n\n", "", 1) + "You will" + after
				}
			}
		}
	}
}

// refuseUnknownTopics makes "help foo" an error: cobra's has none.
func refuseUnknownTopics(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "help" {
			cmd.Run = nil
			cmd.RunE = func(_ *cobra.Command, args []string) error {
				topic, rest, err := root.Find(args)
				if err != nil {
					return err
				}
				if err := unknownCommand(topic, rest); err != nil {
					return err
				}
				return topic.Help()
			}
		}
	}
}

// containerCommand is the noun form: "container ls" for "ps".
func containerCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "container", Short: "Manage containers", Args: unknownCommand, RunE: help}
	ls := psCommand(c)
	ls.Use, ls.Aliases = "ls [OPTIONS]", []string{"list", "ps"}
	cmd.AddCommand(runCommand(c), execCommand(c), ls, containerInspectCommand(c), logsCommand(c), portCommand(c),
		attachCommand(c), detachCommand(c), createCommand(c), startCommand(c), stopCommand(c), restartCommand(c), killCommand(c),
		renameCommand(c), topCommand(c), waitCommand(c), rmCommand(c), publishCommand(c), unpublishCommand(c), containerPruneCommand(c))
	addAbsent(cmd, absentOfContainers)
	return cmd
}

// finish sets what all commands have in common.
func finish(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	cmd.Flags().SortFlags = true
	if len(cmd.Aliases) > 0 {
		text := cmd.CommandPath()
		for _, alias := range cmd.Aliases {
			text += ", " + cmd.Parent().CommandPath() + " " + alias
		}
		cmd.Annotations = map[string]string{"aliases": text}
	}
	for _, sub := range cmd.Commands() {
		finish(sub)
	}
}

func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// unknownCommand refuses what is not a subcommand.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("footbridge: unknown command: %s %s\n", cmd.CommandPath(), visible.Text(args[0]))
	cmd.SuggestionsMinimumDistance = 2
	for i, s := range cmd.SuggestionsFor(args[0]) {
		if i == 0 {
			text += "\nDid you mean this?\n"
		}
		text += "  " + cmd.CommandPath() + " " + s + "\n"
	}
	text += fmt.Sprintf("\nRun '%s --help' for more information", cmd.CommandPath())
	return &statusError{code: exitFailure, whole: true, err: errors.New(text)}
}

// flagUsages renders a command's flags no wider than the terminal, or 80 columns.
func (c *cli) flagUsages(cmd *cobra.Command) string {
	width := 80
	if size, ok := terminalSize(c.outputTerminal()); ok && size.Width > 40 {
		width = int(size.Width)
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" {
			flags.AddFlag(f)
		}
	})
	text := flags.FlagUsagesWrapped(width - 1)
	for len(text) > 0 && text[len(text)-1] == '\n' {
		text = text[:len(text)-1]
	}
	return text
}
