package ocihook

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Config is what matters here of a bundle's config.json.
type Config struct {
	Root struct {
		Path string `json:"path"` // absolute, or below the bundle
	} `json:"root"`
	Hostname string `json:"hostname"`
	Mounts   []struct {
		Destination string `json:"destination"`
	} `json:"mounts"`
	Hooks struct {
		CreateContainer []Hook `json:"createContainer"`
	} `json:"hooks"`
	Linux struct {
		Namespaces []struct {
			Type string `json:"type"`
		} `json:"namespaces"`
	} `json:"linux"`
}

// Hook is one entry of config.json's hooks.
type Hook struct {
	Path    string   `json:"path"`
	Args    []string `json:"args,omitempty"` // the first one is the program's name
	Env     []string `json:"env,omitempty"`
	Timeout int      `json:"timeout,omitempty"` // in seconds
}

// ReadConfig reads a bundle's config.json.
func ReadConfig(bundle string) (Config, error) {
	var c Config
	name := filepath.Join(bundle, "config.json")
	// Whatever lies there: opening does not wait.
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return c, fmt.Errorf("the bundle's configuration: %w", err)
	}
	defer f.Close()
	b, err := readBounded(f)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return c, fmt.Errorf("the bundle's configuration %s: %w", name, err)
	}
	return c, nil
}

// RootFolder is the path of the container's root folder.
func (c *Config) RootFolder(bundle string) string {
	if filepath.IsAbs(c.Root.Path) {
		return c.Root.Path
	}
	return filepath.Join(bundle, c.Root.Path)
}

// Has reports whether the container gets a namespace that is not the runtime's own:
// "network", "mount".
func (c *Config) Has(namespace string) bool {
	for _, ns := range c.Linux.Namespaces {
		if ns.Type == namespace {
			return true
		}
	}
	return false
}

// MountsAt reports whether the bundle mounts something at this very path of the container.
func (c *Config) MountsAt(file string) bool {
	for _, m := range c.Mounts {
		if path.Clean("/"+m.Destination) == file {
			return true
		}
	}
	return false
}

// CreatesContainerWith reports whether one of the createContainer hooks has this word among
// its arguments.
func (c *Config) CreatesContainerWith(word string) bool {
	return slices.ContainsFunc(c.Hooks.CreateContainer, func(h Hook) bool { return slices.Contains(h.Args, word) })
}
