package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/footbridge-net/footbridge/tests/busybox"
	"github.com/footbridge-net/footbridge/tests/world"
)

const module = "github.com/footbridge-net/footbridge"

func isRoot() bool { return os.Geteuid() == 0 }

// everywhere is what the stage itself is made with.
var everywhere = []struct{ program, pkg string }{
	{"ip", "iproute2"}, {"setpriv", "util-linux"}, {"busybox", "busybox-static"}, {"curl", "curl"}, {"newuidmap", "uidmap"}, {"tar", "tar"},
}

// install gets the packages whose programs are missing, and returns why something could not be had.
func install(chosen []part) error {
	var packages []string
	for _, e := range everywhere {
		if !found(e.program) || e.program == "busybox" && !busybox.IsStatic() {
			packages = append(packages, e.pkg)
		}
	}
	for _, p := range chosen {
		if slices.ContainsFunc(p.programs, func(g program) bool { return !found(g.name) }) {
			packages = append(packages, p.packages...)
		}
	}
	slices.Sort(packages)
	packages = slices.DeleteFunc(slices.Compact(packages), installed)
	if len(packages) == 0 {
		return nil
	}
	if !isRoot() {
		return fmt.Errorf("not installed: %s. As root: apt-get install %[1]s", strings.Join(packages, " "))
	}
	fmt.Fprintln(os.Stderr, "interop: installing", strings.Join(packages, " "))
	var problems []string
	// One by one: a package that this Debian does not have keeps no other away.
	for _, name := range packages {
		if err := apt("install", "-y", "--no-install-recommends", name); err != nil {
			problems = append(problems, err.Error())
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("%s", strings.Join(problems, "\n"))
	}
	return nil
}

var update = sync.OnceValue(func() error { return aptGet("update") })

func apt(args ...string) error {
	if err := update(); err != nil {
		return err
	}
	return aptGet(args...)
}

func aptGet(args ...string) error {
	cmd := exec.Command("apt-get", append([]string{"-q", "-o", "DPkg::Lock::Timeout=300"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, lastLine(string(out)))
	}
	return nil
}

func installed(pkg string) bool {
	out, err := exec.Command("dpkg-query", "-W", "-f", "${db:Status-Status}", pkg).Output()
	return err == nil && string(out) == "installed"
}

// found says whether a command is on this machine, in the folders where the stage looks for it.
func found(name string) bool {
	for _, dir := range searched {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode()&0o111 != 0 && !info.IsDir() {
			return true
		}
	}
	return false
}

var searched = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// gather puts footbridge, its companions and this program into a folder.
func gather(dir string) error {
	if given := os.Getenv(world.BinaryVariable); given != "" {
		// Its companions stand beside it, under names that begin with its own.
		list, err := filepath.Glob(filepath.Join(filepath.Dir(given), "footbridge-*"))
		if err != nil {
			return err
		}
		for _, path := range list {
			if err := copyProgram(path, filepath.Join(dir, filepath.Base(path))); err != nil {
				return err
			}
		}
		if err := copyProgram(given, filepath.Join(dir, "footbridge")); err != nil {
			return err
		}
	} else if err := goBuild(dir, module+"/cmd/..."); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return copyProgram(self, filepath.Join(dir, "interop"))
}

// build builds what a part wants into its folder of programs.
func (p part) build(dir string) error {
	if len(p.builds) == 0 {
		return nil
	}
	return goBuild(dir, p.builds...)
}

func goBuild(dir string, paths ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-o", dir + "/"}, paths...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", strings.Join(paths, " "), err, out.String())
	}
	return nil
}

func copyProgram(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o755)
}

var versionNumber = regexp.MustCompile(`\d+\.\d+[-+~.\w]*`)

// versionOf asks a program for its version, on the stage.
func (s *stage) versionOf(g program) string {
	if len(g.version) == 0 {
		return ""
	}
	return parseVersion(s.user.look(g.version...).All())
}

// parseVersion finds the version in what a program says of itself, "" if there is none.
func parseVersion(text string) string { return versionNumber.FindString(text) }
