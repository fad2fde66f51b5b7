package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/footbridge-net/footbridge/internal/buildinfo"
)

const (
	manSection = "1"
	// homepage is named by every page.
	homepage = "https://github.com/footbridge-net/footbridge"
)

// manPagesCommand writes what `man footbridge` shows. It is for whoever makes packages, so the
// help does not show it.
func manPagesCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:    "man-pages FOLDER",
		Short:  "Write the manual pages of all commands and plugins into a folder",
		Hidden: true,
		Args:   exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pages := manPages(cmd.Root(), buildinfo.Get())
			addPluginPages(pages, buildinfo.Get())
			for name, text := range pages {
				if err := os.WriteFile(filepath.Join(args[0], name), []byte(text), 0o644); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// manPages returns the pages of a command and of all below it, by their files' names. The same
// build gives the same pages, whenever and wherever it writes them.
func manPages(cmd *cobra.Command, build buildinfo.Info) map[string]string {
	pages := map[string]string{}
	addManPages(pages, cmd, build)
	return pages
}

func addManPages(pages map[string]string, cmd *cobra.Command, build buildinfo.Info) {
	file := manName(cmd) + "." + manSection
	if twin := rootTwin(cmd); twin != nil {
		pages[file] = ".so man" + manSection + "/" + manName(twin) + "." + manSection + "\n"
	} else {
		pages[file] = manPage(cmd, build)
	}
	for _, sub := range shownCommands(cmd) {
		addManPages(pages, sub, build)
	}
}

// rootTwin finds the command that "container run" is another name of: "run".
func rootTwin(cmd *cobra.Command) *cobra.Command {
	if !cmd.HasParent() || cmd.Parent().Name() != "container" {
		return nil
	}
	for _, twin := range shownCommands(cmd.Root()) {
		if twin.Name() == cmd.Name() && twin.Short == cmd.Short {
			return twin
		}
	}
	return nil
}

func shownCommands(cmd *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(cmd.Commands()), func(sub *cobra.Command) bool { return !sub.IsAvailableCommand() })
}

// manName is a page's name: "footbridge-network-create".
func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage renders one command in man(7).
func manPage(cmd *cobra.Command, build buildinfo.Info) string {
	var p page
	p.head(manName(cmd), cmd.Short, build)

	p.section("SYNOPSIS")
	p.line(`\fB%s\fR%s`, roff(cmd.CommandPath()), roff(strings.TrimPrefix(synopsis(cmd), cmd.CommandPath())))

	p.section("DESCRIPTION")
	p.prose(firstOf(cmd.Long, cmd.Short+"."))

	p.options(cmd.LocalFlags())
	if subs := shownCommands(cmd); len(subs) > 0 {
		p.section("COMMANDS")
		for _, sub := range subs {
			target := sub
			if twin := rootTwin(sub); twin != nil {
				target = twin
			}
			p.item(`\fB`+roff(manName(target))+`\fR(`+manSection+`)`, sub.Short)
		}
	}
	if len(cmd.Aliases) > 0 {
		p.section("OTHER NAMES")
		p.prose(cmd.Annotations["aliases"])
	}
	if cmd.Example != "" {
		p.section("EXAMPLES")
		p.verbatim(cmd.Example)
	}
	if !cmd.HasParent() {
		p.afterword()
	}
	p.section("SEE ALSO")
	if cmd.HasParent() {
		p.line(`\fB%s\fR(%s),`, roff(manName(cmd.Parent())), manSection)
	} else {
		for _, plugin := range pluginPages {
			p.line(`\fB%s\fR(%s),`, roff(plugin.name), manSection)
		}
	}
	p.line("%s", roff(homepage))
	return p.String()
}

// synopsis is the usage line as the help prints it.
func synopsis(cmd *cobra.Command) string {
	switch {
	case !cmd.HasParent():
		return cmd.CommandPath() + " [OPTIONS] COMMAND"
	case cmd.HasAvailableSubCommands() && cmd.HasAvailableLocalFlags():
		return cmd.CommandPath() + " [OPTIONS] [COMMAND]"
	case cmd.HasAvailableSubCommands():
		return cmd.CommandPath() + " COMMAND"
	}
	return cmd.UseLine()
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// page is a page under way.
type page struct{ strings.Builder }

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// head begins a page.
func (p *page) head(name, short string, build buildinfo.Info) {
	date := ""
	if at, err := time.Parse(time.RFC3339, build.Time); err == nil {
		date = at.UTC().Format(time.DateOnly)
	}
	p.line(`.\" Made by the program itself.`)
	p.line(".TH %q %s %q %q %q", strings.ToUpper(name), manSection, date, "footbridge "+build.Version, "User Commands")
	// No hyphens in the middle of options, no spaces stretched to fill a line.
	p.line(".nh\n.ad l")
	p.section("NAME")
	p.line(`%s \- %s`, roff(name), roff(short))
}

func (p *page) section(name string) { p.line(".SH %s", name) }

func (p *page) item(tag, text string) {
	p.line(".TP\n%s", tag)
	p.line("%s", roff(strings.Join(strings.Fields(text), " ")))
}

// prose fills paragraphs, which empty lines divide. One whose lines are all indented stays as it is.
func (p *page) prose(text string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(strings.ReplaceAll(text, "\t", "    ")), "\n\n") {
		paragraph = strings.Trim(paragraph, "\n")
		if paragraph == "" {
			continue
		}
		if strings.HasPrefix(paragraph, "  ") {
			p.verbatim(paragraph)
			continue
		}
		if i > 0 {
			p.line(".PP")
		}
		for line := range strings.Lines(paragraph) {
			p.line("%s", roff(strings.TrimSpace(line)))
		}
	}
}

// verbatim keeps lines, in a narrower column.
func (p *page) verbatim(text string) {
	p.line(".PP\n.RS 4\n.nf")
	for line := range strings.Lines(strings.Trim(text, "\n")) {
		p.line("%s", roff(strings.TrimPrefix(strings.TrimRight(line, " \n"), "  ")))
	}
	p.line(".fi\n.RE")
}

// options lists flags in the words of the help: name, kind of value, what it does, default.
func (p *page) options(flags *pflag.FlagSet) {
	first := true
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Deprecated != "" || f.Name == "help" {
			return
		}
		if first {
			p.section("OPTIONS")
			first = false
		}
		alone := pflag.NewFlagSet("", pflag.ContinueOnError)
		alone.AddFlag(f)
		// "  -m, --name kind   What it does": the first gap of two spaces ends the name.
		name, text, _ := strings.Cut(strings.TrimSpace(alone.FlagUsages()), "  ")
		name, kind, _ := strings.Cut(name, "--"+f.Name)
		tag := `\fB` + roff(name+"--"+f.Name) + `\fR`
		if kind != "" {
			tag += ` \fI` + roff(strings.TrimPrefix(kind, " ")) + `\fR`
		}
		p.item(tag, text)
	})
}

// afterword is what holds for all commands. The first page has it.
func (p *page) afterword() {
	p.section("EXIT STATUS")
	p.prose(`run and exec end with their command's own status, and with 125 when footbridge itself failed, 126 when the
command could not be executed, 127 when it was not found. Other commands end with 1 on failure, and with 125 when their
options cannot be understood.`)
	p.section("ENVIRONMENT")
	p.item(`\fBXDG_RUNTIME_DIR\fR, \fBXDG_STATE_HOME\fR, \fBXDG_CONFIG_HOME\fR, \fBHOME\fR`, "lead to the files below.")
	p.item(`\fB`+idleVariable+`\fR, \fB`+levelVariable+`\fR`, "are the daemon's --idle-timeout and --log-level, for a daemon that a command starts.")
	p.section("FILES")
	p.item(`\fI`+roff("$XDG_RUNTIME_DIR/footbridge/footbridge.sock")+`\fR`, "The daemon's socket, which speaks Docker's API. Without the variable it is /tmp/footbridge-UID/footbridge.sock.")
	p.item(`\fI`+roff("$XDG_RUNTIME_DIR/footbridge/daemon.log")+`\fR`, "What the daemon has to say.")
	p.item(`\fI`+roff("~/.local/state/footbridge/")+`\fR`, "Networks and containers, and what containers print; $XDG_STATE_HOME/footbridge/ if the variable is set.")
	p.item(`\fI`+roff("~/.config/footbridge/footbridge.toml")+`\fR`, "Settings of the daemon; $XDG_CONFIG_HOME/footbridge/footbridge.toml if the variable is set.")
}

// roff writes text so that nothing in it is a command, and what is copied from a page is what was
// typed: groff prints typographic dashes and quotes for the bare ones.
func roff(text string) string {
	text = roffEscapes.Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}

var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)
