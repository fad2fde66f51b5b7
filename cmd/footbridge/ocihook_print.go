package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"

	"github.com/footbridge-net/footbridge/internal/ocihook"
)

// hookTimeout is how long a runtime is to wait for a hook, in seconds. An attachment takes
// milliseconds; a daemon that is to be started first, on a machine that swaps, more.
const hookTimeout = 60

// podmanHooks is a file in a folder of hooks, which podman and CRI-O read (oci-hooks(5)).
type podmanHooks struct {
	Version string       `json:"version"`
	Hook    ocihook.Hook `json:"hook"`
	When    struct {
		Annotations map[string]string `json:"annotations"`
	} `json:"when"`
	Stages []string `json:"stages"`
}

// printHooks writes what makes a runtime call this program.
func (c *cli) printHooks(form string) error {
	stages := []string{stageCreateRuntime, stageCreateContainer, stagePoststop}
	var out any
	switch form {
	case "config":
		hooks := map[string][]ocihook.Hook{}
		for _, stage := range stages {
			h, err := c.hook(stage)
			if err != nil {
				return err
			}
			hooks[stage] = []ocihook.Hook{h}
		}
		out = map[string]any{"hooks": hooks}
	case "hooks.d":
		h, err := c.hook() // one command for all of them
		if err != nil {
			return err
		}
		f := podmanHooks{Version: "1.0.0", Hook: h, Stages: stages}
		f.When.Annotations = map[string]string{"^" + regexp.QuoteMeta(ocihook.Prefix): ".*"}
		out = f
	default:
		return fmt.Errorf(`--print %q: it is "config" or "hooks.d"`, form)
	}
	e := json.NewEncoder(c.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

// hook is this program as a hook, for this user. Runtimes give some hooks the
// container's environment if they are given none.
func (c *cli) hook(stage ...string) (ocihook.Hook, error) {
	path, err := os.Executable()
	if err != nil {
		return ocihook.Hook{}, err
	}
	h := ocihook.Hook{Path: path, Args: append([]string{"footbridge", hookCommandName}, stage...), Timeout: hookTimeout}
	for _, name := range []string{"HOME", "PATH", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"} {
		if value := c.getenv(name); value != "" {
			h.Env = append(h.Env, name+"="+value)
		}
	}
	return h, nil
}
