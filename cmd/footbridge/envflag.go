package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// defaultPath is where commands are looked for when the caller has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// baseEnv is the environment of a container's command before -e and
// --env-file: clean, but for what says where programs, the home folder and the
// language are. The container sees the host's files, so they mean the same inside.
func baseEnv(environ []string, tty bool) []string {
	keep := map[string]string{"PATH": defaultPath}
	for _, kv := range environ {
		key, value, ok := strings.Cut(kv, "=")
		if !ok || value == "" {
			continue
		}
		switch {
		case key == "PATH", key == "HOME", key == "USER", key == "LANG", strings.HasPrefix(key, "LC_"):
			keep[key] = value
		case key == "TERM" && tty:
			keep[key] = value
		}
	}
	if tty && keep["TERM"] == "" {
		keep["TERM"] = "xterm"
	}
	env := make([]string, 0, len(keep))
	for key, value := range keep {
		env = append(env, key+"="+value)
	}
	slices.Sort(env)
	return env
}

// checkEnv checks one -e. Docker takes any name that is not empty.
func checkEnv(value string) (string, error) {
	if name, _, _ := strings.Cut(value, "="); name == "" {
		return "", errors.New("invalid environment variable: " + value)
	}
	return value, nil
}

// resolveEnv gives the settings of -e and --env-file their values: "K=V" as it
// is, "K" from the caller's environment, and nothing if it is not set there.
func resolveEnv(settings []string, lookup func(string) (string, bool)) []string {
	var env []string
	for _, setting := range settings {
		if strings.Contains(setting, "=") {
			env = append(env, setting)
		} else if value, ok := lookup(setting); ok {
			env = append(env, setting+"="+value)
		}
	}
	return env
}

// mergeEnv joins lists; of several settings of a name the last one holds, in
// the place of the first.
func mergeEnv(lists ...[]string) []string {
	var env []string
	place := map[string]int{}
	for _, list := range lists {
		for _, kv := range list {
			key, _, _ := strings.Cut(kv, "=")
			if i, ok := place[key]; ok {
				env[i] = kv
				continue
			}
			place[key] = len(env)
			env = append(env, kv)
		}
	}
	return env
}

// readEnvFile reads a file of K=V or K lines; blank lines and lines that begin
// with # are not looked at.
func readEnvFile(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // a byte order mark
	var settings []string
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimLeft(lines.Text(), " \t")
		if !utf8.ValidString(line) {
			return nil, fmt.Errorf("env file %s: line %d is not UTF-8", path, n)
		}
		if line == "" || line[0] == '#' {
			continue
		}
		name, _, _ := strings.Cut(line, "=")
		switch {
		case name == "":
			return nil, fmt.Errorf("env file %s: line %d has no variable name", path, n)
		case strings.ContainsAny(name, " \t"):
			return nil, fmt.Errorf("env file %s: line %d: variable %q contains whitespace", path, n, name)
		}
		settings = append(settings, line)
	}
	return settings, lines.Err()
}
