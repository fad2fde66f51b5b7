package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func init() { parts = append(parts, installation) }

// installation is make install, below the user's home folder, and what comes with the programs.
var installation = part{
	name:     "installation",
	packages: []string{"make", "man-db", "bash-completion", "zsh", "fish"},
	programs: []program{{name: "make", version: []string{"make", "--version"}}, {name: "man", version: []string{"man", "--version"}, optional: true},
		{name: "bash", version: []string{"bash", "--version"}, optional: true},
		{name: "zsh", version: []string{"zsh", "--version"}, optional: true}, {name: "fish", version: []string{"fish", "--version"}, optional: true}},
	setup: func(s *stage) error {
		_, err := placed(s)
		return err
	},
	cells: []cell{
		{feature: "programs run where PREFIX has put them", run: func(s *stage) error {
			p := s.user.with("PATH=" + s.home + "/.local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
			if at := p.run("sh", "-c", "command -v footbridge"); at != s.home+"/.local/bin/footbridge" {
				return fmt.Errorf("found at %s", at)
			}
			p.run("footbridge", "run", "--rm", "true")
			p.run("footbridge", "daemon", "stop")
			return nil
		}},
		{feature: "manual pages", needs: []string{"man"}, run: func(s *stage) error {
			pages := s.user.with("MANPATH="+s.home+"/.local/share/man", "MANWIDTH=100", "LC_ALL=C.UTF-8")
			for _, name := range []string{"footbridge", "footbridge-run", "footbridge-network-create", "footbridge-container-run", "footbridge-cni", "footbridge-netavark"} {
				text := pages.run("man", "--warnings", name)
				for _, want := range []string{"SYNOPSIS", "footbridge-"} {
					if !strings.Contains(text, want) {
						return fmt.Errorf("man %s does not say %s: %s", name, want, text)
					}
				}
			}
			// Nothing in any of them is a mistake to the formatter, which tells of them on its errors.
			said := pages.run("sh", "-c", `cd "$0"; for p in man1/footbridge*; do man --warnings -l "$p" 2>&1 >/dev/null; done`, s.home+"/.local/share/man")
			if said != "" {
				return fmt.Errorf("the formatter says %s", said)
			}
			return nil
		}},
		{feature: "completion in bash", needs: []string{"bash"}, run: func(s *stage) error {
			if _, err := os.Stat("/usr/share/bash-completion/bash_completion"); err != nil {
				return leftOut("bash-completion is not installed")
			}
			p := s.user.with("PATH=" + s.home + "/.local/bin:/usr/bin:/bin")
			p.run("footbridge", "network", "create", "backbone")
			for line, want := range map[string]string{"footbridge net": "network", "footbridge run --net": "--network", "footbridge network connect back": "backbone"} {
				// As bash does it when Tab is pressed: the loader finds the file by the command's name.
				got := p.run("bash", "--norc", "-c", `
					. /usr/share/bash-completion/bash_completion
					_completion_loader footbridge
					function=$(complete -p footbridge | sed 's/.*-F \([^ ]*\).*/\1/')
					COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMP_KEY=9
					read -ra COMP_WORDS <<<"$1"
					COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
					$function footbridge "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
					printf '%s\n' "${COMPREPLY[@]}"`, "bash", line)
				if !slices.ContainsFunc(strings.Split(got, "\n"), func(w string) bool { return strings.HasPrefix(w, want) }) {
					return fmt.Errorf("%q is completed with %q, not %q", line, got, want)
				}
			}
			p.run("footbridge", "network", "rm", "backbone")
			return nil
		}},
		{feature: "completion in fish", needs: []string{"fish"}, run: func(s *stage) error {
			p := s.user.with("PATH=" + s.home + "/.local/bin:/usr/bin:/bin")
			for line, want := range map[string]string{"footbridge net": "network", "footbridge run --net": "--network"} {
				if got := p.run("fish", "--no-config", "-c", `source $argv[1]; complete -C $argv[2]`, s.home+"/.local/share/fish/vendor_completions.d/footbridge.fish", line); !strings.Contains(got, want) {
					return fmt.Errorf("%q is completed with %q, not %q", line, got, want)
				}
			}
			return nil
		}},
		{feature: "completion in zsh", needs: []string{"zsh"}, run: func(s *stage) error {
			p := s.user.with("PATH=" + s.home + "/.local/bin:/usr/bin:/bin")
			got := p.run("zsh", "-fc", zshDialog, "zsh", s.home+"/.local/share/zsh/site-functions", "footbridge net")
			if !strings.Contains(got, "footbridge network") {
				return fmt.Errorf("after Tab the line is %q", got)
			}
			return nil
		}},
		{feature: "slirp4netns is taken by SLIRP4NETNS=1 alone, and never from another program", run: func(s *stage) error {
			prefix := filepath.Join(s.dir, "named")
			if err := makeInstall(s, "install", prefix); err != nil {
				return err
			}
			name := filepath.Join(prefix, "bin", "slirp4netns")
			if _, err := os.Lstat(name); err == nil {
				return fmt.Errorf("%s is there unasked", name)
			}
			if err := os.WriteFile(name, []byte("another"), 0o755); err != nil {
				return err
			}
			if err := makeInstall(s, "install", prefix, "SLIRP4NETNS=1"); err == nil || !strings.Contains(err.Error(), "is another program") {
				return fmt.Errorf("another slirp4netns was met with %v", err)
			}
			if err := os.Remove(name); err != nil {
				return err
			}
			if err := makeInstall(s, "install", prefix, "SLIRP4NETNS=1"); err != nil {
				return err
			}
			if at, err := os.Readlink(name); err != nil || at != "footbridge" {
				return fmt.Errorf("slirp4netns leads to %q, %v", at, err)
			}
			return makeInstall(s, "uninstall", prefix)
		}},
		{feature: "make uninstall leaves nothing", run: func(s *stage) error {
			prefix := filepath.Join(s.dir, "gone")
			if err := makeInstall(s, "install", prefix, "SLIRP4NETNS=1"); err != nil {
				return err
			}
			if list := filesBelow(prefix); len(list) < 60 {
				return fmt.Errorf("only %q were installed", list)
			}
			if err := makeInstall(s, "uninstall", prefix); err != nil {
				return err
			}
			if list := filesBelow(prefix); len(list) > 0 {
				return fmt.Errorf("left: %q", list)
			}
			return nil
		}},
	},
}

// zshDialog presses Tab in a zsh of its own, and prints what then stands in its line.
const zshDialog = `
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; fpath=($1 \$fpath); autoload -U compinit; compinit -u -D; print rea''dy"
zpty -r shell line '*ready*'
zpty -w -n shell "$2"$'\t'
zpty -r shell line '*network*'
print -r -- "$line"
zpty -d shell
`

// sourceTop is the source tree's top folder.
func sourceTop() string { return filepath.Dir(docsFolder()) }

// outside runs a program on the machine where the source tree is, and not in the world.
func outside(s *stage, env []string, args ...string) (string, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = sourceTop()
	// make's own variables are of the make that has started this program.
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !strings.HasPrefix(name, "MAKE") && name != "MFLAGS" {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	s.enter("outside$ "+strings.Join(args, " "), string(out), 0)
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// makeInstall runs make install or uninstall with the programs of the stage.
func makeInstall(s *stage, verb, prefix string, more ...string) error {
	extras := filepath.Join(s.dir, "extras")
	if _, err := os.Stat(extras); err != nil {
		if _, err := outside(s, nil, "internal/dist/extras.sh", filepath.Join(s.bin, "footbridge"), extras); err != nil {
			return err
		}
	}
	_, err := outside(s, nil, append([]string{"make", verb, "PREFIX=" + prefix, "BIN=" + s.bin, "EXTRAS=" + extras}, more...)...)
	return err
}

// placed installs below the user's home folder, once, and returns the prefix.
func placed(s *stage) (string, error) {
	prefix := filepath.Join(s.home, ".local")
	if _, err := os.Stat(filepath.Join(prefix, "bin", "footbridge")); err == nil {
		return prefix, nil
	}
	if err := makeInstall(s, "install", prefix); err != nil {
		return "", err
	}
	if isRoot() {
		s.root.run("chown", "-R", "1000:1000", prefix)
	}
	return prefix, nil
}

// filesBelow lists what is not a folder.
func filesBelow(dir string) []string {
	var list []string
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, path)
		}
		return nil
	})
	return list
}
