package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/footbridge-net/footbridge/internal/absent"
)

// absentCommands are Docker's commands that footbridge has not. They are not shown, and
// refused with the API's own sentence, whatever follows them.
var absentCommands = map[string][]string{
	absent.Images:      {"images", "image", "pull", "push", "rmi", "tag", "history", "save", "load", "import", "commit", "search", "manifest", "trust"},
	absent.Volumes:     {"volume"},
	absent.Build:       {"build", "builder", "buildx"},
	absent.Login:       {"login", "logout"},
	absent.Compose:     {"compose"},
	absent.Context:     {"context"},
	absent.System:      {"system"},
	absent.Info:        {"info"},
	absent.Swarm:       {"swarm", "node", "service", "stack", "secret", "config"},
	absent.Plugins:     {"plugin"},
	absent.Checkpoints: {"checkpoint"},
}

// absentOfContainers are those that exist as "container COMMAND" as well.
var absentOfContainers = map[string][]string{
	absent.Cgroups: {"stats", "update"},
	absent.Files:   {"cp", "export"},
	absent.Changes: {"diff"},
	absent.Pause:   {"pause", "unpause"},
	absent.Images:  {"commit"},
}

func addAbsent(cmd *cobra.Command, tables ...map[string][]string) {
	known := map[string]bool{}
	for _, table := range tables {
		for sentence, names := range table {
			for _, name := range names {
				if known[name] {
					continue
				}
				known[name] = true
				cmd.AddCommand(&cobra.Command{
					Use: name, Hidden: true, DisableFlagParsing: true,
					RunE: func(*cobra.Command, []string) error { return errors.New(sentence) },
				})
			}
		}
	}
}
