package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// placing is a prefix of a test's own, and what is installed there: files with the names of those that are built.
type placing struct {
	root   string // DESTDIR
	prefix string
	bin    string
	extras string
}

func newPlacing(t *testing.T) placing {
	t.Helper()
	dir := t.TempDir()
	p := placing{root: filepath.Join(dir, "root"), prefix: "/opt/tested", bin: filepath.Join(dir, "bin"), extras: filepath.Join(dir, "extras")}
	for _, name := range []string{"footbridge", "footbridge-cni", "footbridge-netavark"} {
		write(t, filepath.Join(p.bin, name), name)
		write(t, filepath.Join(p.extras, "man", name+".1.gz"), name)
	}
	for _, name := range []string{"footbridge.bash", "_footbridge", "footbridge.fish"} {
		write(t, filepath.Join(p.extras, name), name)
	}
	return p
}

// run runs place.sh as make does.
func (p placing) run(t *testing.T, verb string) {
	t.Helper()
	cmd := exec.Command("internal/dist/place.sh", verb)
	cmd.Dir = "../.."
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "PREFIX=" + p.prefix, "DESTDIR=" + p.root, "BIN=" + p.bin, "EXTRAS=" + p.extras, "SLIRP4NETNS=1"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("place.sh %s: %v: %s", verb, err, out)
	}
}

// list returns what is below the prefix, folders with a slash behind them.
func (p placing) list(t *testing.T) (list []string) {
	t.Helper()
	top := filepath.Join(p.root, p.prefix)
	err := filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == top {
			return err
		}
		name := strings.TrimPrefix(path, top+"/")
		if d.IsDir() {
			name += "/"
		}
		list = append(list, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Folders that are everybody's stay, though nothing is left in them.
func TestUninstallLeavesNoFolderOfItsOwn(t *testing.T) {
	p := newPlacing(t)
	p.run(t, "install")
	installed := p.list(t)
	for _, want := range []string{"bin/footbridge", "bin/slirp4netns", "lib/cni/footbridge-cni", "lib/netavark/footbridge", "lib/footbridge/podman/rootlessport",
		"share/man/man1/footbridge.1.gz", "share/man/man1/footbridge-cni.1.gz", "share/man/man1/footbridge-netavark.1.gz", "share/systemd/user/footbridge.socket",
		"share/bash-completion/completions/footbridge", "share/zsh/site-functions/_footbridge", "share/fish/vendor_completions.d/footbridge.fish", "share/doc/footbridge/README.md"} {
		if !slices.Contains(installed, want) {
			t.Errorf("%s was not installed", want)
		}
	}
	p.run(t, "uninstall")
	if left, want := p.list(t), []string{"bin/", "lib/", "share/", "share/doc/", "share/man/", "share/man/man1/"}; !slices.Equal(left, want) {
		t.Errorf("left: %q, want %q", left, want)
	}
	p.run(t, "uninstall") // of what is not there
}

// Whatever others have there stays with its folders, and so do empty folders beside.
func TestUninstallLeavesWhatIsOthers(t *testing.T) {
	p := newPlacing(t)
	top := filepath.Join(p.root, p.prefix)
	others := []string{"lib/cni/bridge", "share/fish/vendor_functions.d/x.fish", "share/man/man1/other.1", "share/doc/other/README", "share/systemd/user/other.service", "share/zsh/other"}
	for _, name := range others {
		write(t, filepath.Join(top, name), name)
	}
	for _, name := range []string{"share/bash-completion/helpers", "share/empty", "lib/empty", "sbin"} {
		if err := os.MkdirAll(filepath.Join(top, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	before := p.list(t)
	p.run(t, "install")
	p.run(t, "uninstall")
	left := p.list(t)
	for _, name := range before {
		if !slices.Contains(left, name) {
			t.Errorf("%s is gone", name)
		}
	}
	for _, name := range left {
		if !slices.Contains(before, name) && name != "bin/" {
			t.Errorf("%s is left", name)
		}
	}
}
