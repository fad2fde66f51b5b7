package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// linkedPackage is a package that is part of a program, as go list tells it.
type linkedPackage struct {
	ImportPath string
	Dir        string
	Standard   bool
	Root       string // GOROOT, of the standard library's
	Module     *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// component is what has a licence of its own: a module, or Go itself.
type component struct {
	name  string // with its version
	root  string
	files []string // below root, sorted
}

// architectures are what programs are built for: each links packages of its own.
var architectures = []string{"amd64", "arm64"}

// linkedPackages asks the go command for all that is linked into programs.
func linkedPackages(programs []string) ([]linkedPackage, error) {
	var all []linkedPackage
	for _, arch := range architectures {
		cmd := exec.Command("go", append([]string{"list", "-deps", "-json=ImportPath,Dir,Standard,Root,Module"}, programs...)...)
		cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("go list for %s: %w", arch, err)
		}
		for d := json.NewDecoder(bytes.NewReader(out)); ; {
			var p linkedPackage
			if err := d.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, fmt.Errorf("go list for %s: %w", arch, err)
			}
			all = append(all, p)
		}
	}
	return all, nil
}

// legal is how files are called that must go with copies of a program.
var legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

// collect finds the licences of packages: in their folders, and in those above up to their
// module's. A module without any is an error, as it must not be given away.
func collect(packages []linkedPackage) ([]*component, error) {
	known := map[string]*component{}
	for _, p := range packages {
		var name, root string
		switch {
		case p.Standard:
			name, root = "Go "+strings.TrimPrefix(runtime.Version(), "go"), p.Root
		case p.Module == nil:
			return nil, fmt.Errorf("%s belongs to no module", p.ImportPath)
		case p.Module.Main:
			continue
		default:
			name, root = p.Module.Path+" "+p.Module.Version, p.Module.Dir
		}
		c := known[name]
		if c == nil {
			c = &component{name: name, root: root}
			known[name] = c
		}
		if err := c.addFrom(p.Dir); err != nil {
			return nil, err
		}
	}
	var list []*component
	for _, c := range known {
		if len(c.files) == 0 {
			return nil, fmt.Errorf("%s has no file with a licence in %s", c.name, c.root)
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *component) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

// addFrom adds what lies in a folder and in those above it, up to the component's.
func (c *component) addFrom(dir string) error {
	for {
		rel, err := filepath.Rel(c.root, dir)
		if err != nil || !filepath.IsLocal(rel) {
			return fmt.Errorf("%s: %s is not below %s", c.name, dir, c.root)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			file := filepath.Join(rel, e.Name())
			if e.Type().IsRegular() && legal.MatchString(e.Name()) && !strings.HasSuffix(e.Name(), ".go") && !slices.Contains(c.files, file) {
				c.files = append(c.files, file)
			}
		}
		if rel == "." {
			slices.Sort(c.files)
			return nil
		}
		dir = filepath.Dir(dir)
	}
}

const noticesHead = `footbridge is licensed under the Apache License 2.0. Its programs contain the
following works of others, each under the licence that is given below its name.
`

// writeNotices writes all licences, each text in full.
func writeNotices(w io.Writer, components []*component) error {
	if _, err := io.WriteString(w, noticesHead); err != nil {
		return err
	}
	for _, c := range components {
		for _, file := range c.files {
			text, err := os.ReadFile(filepath.Join(c.root, file))
			if err != nil {
				return err
			}
			rule := strings.Repeat("=", 80)
			if _, err := fmt.Fprintf(w, "\n%s\n%s: %s\n%s\n\n%s\n", rule, c.name, filepath.ToSlash(file), rule, bytes.TrimSpace(text)); err != nil {
				return err
			}
		}
	}
	return nil
}
