package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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

// newRoot puts the command line together.
func newRoot(c *cli) *cobra.Command {
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
	root.SetHelpTemplate("{{.UsageString}}")
	root.CompletionOptions.HiddenDefaultCmd = false

	root.AddGroup(
		&cobra.Group{ID: groupCommon, Title: "Common Commands:"},
		&cobra.Group{ID: groupManagement, Title: "Management Commands:"},
		&cobra.Group{ID: groupOther, Title: "Commands:"},
	)
	root.SetHelpCommandGroupID(groupOther)
	root.SetCompletionCommandGroupID(groupOther)
	add := func(group string, commands ...*cobra.Command) {
		for _, cmd := range commands {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add(groupCommon, runCommand(c), execCommand(c), psCommand(c), inspectCommand(c), logsCommand(c), portCommand(c))
	add(groupManagement, containerCommand(c), networkCommand(c), daemonCommand(c), doctorCommand(c))
	add(groupOther, attachCommand(c), detachCommand(c), createCommand(c), dialCommand(c), proxyCommand(c), startCommand(c), stopCommand(c), restartCommand(c), killCommand(c),
		renameCommand(c), topCommand(c), waitCommand(c), rmCommand(c), publishCommand(c), unpublishCommand(c), eventsCommand(c), slirpCommand(), versionCommand(c))
	root.AddCommand(manPagesCommand(c))
	add(groupManagement, ociHookCommand(c), libnetworkCommand(c))
	addAbsent(root, absentCommands, absentOfContainers)
	refuseUnknownShells(root)
	finish(root)
	return root
}

// refuseUnknownShells makes "completion foo" an error: cobra shows its help.
func refuseUnknownShells(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Args, cmd.RunE = unknownCommand, help
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
