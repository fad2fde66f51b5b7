package buildinfo

import (
	"runtime/debug"
	"strings"
	"sync"
)

// version, commit and date are set by the linker (-X); empty in a plain go build.
var (
	version string
	commit  string
	date    string // of the commit, RFC 3339
)

// unreleased is the version of a build that nobody named.
const unreleased = "0.0.0-dev"

// Info describes the build.
type Info struct {
	Version   string // "1.2.3", without a leading v; made of characters that HTTP allows in a product's version
	Commit    string // full hash, with "-dirty" when files were changed; "unknown" when not recorded
	Time      string // of the commit, RFC 3339; may be empty
	GoVersion string // as "go1.26.3"
}

// Get describes this program's build.
func Get() Info { return once() }

var once = sync.OnceValue(func() Info {
	b, _ := debug.ReadBuildInfo()
	info := from(b, version, commit)
	if date != "" {
		info.Time = date
	}
	return info
})

// from puts together what the linker was told, which wins, and what the go
// command recorded; b may be nil.
func from(b *debug.BuildInfo, version, commit string) Info {
	if b == nil {
		b = &debug.BuildInfo{}
	}
	settings := make(map[string]string, len(b.Settings))
	for _, s := range b.Settings {
		settings[s.Key] = s.Value
	}
	info := Info{Version: version, Commit: commit, Time: settings["vcs.time"], GoVersion: b.GoVersion}
	if info.Version == "" && b.Main.Version != "(devel)" {
		info.Version = b.Main.Version
	}
	if info.Commit == "" && settings["vcs.revision"] != "" {
		info.Commit = settings["vcs.revision"]
		if settings["vcs.modified"] == "true" {
			info.Commit += "-dirty"
		}
	}
	info.Version = strings.TrimPrefix(token(info.Version), "v")
	if info.Version == "" {
		info.Version = unreleased
		// Two unnamed builds of different commits are different versions.
		if info.Commit != "" {
			info.Version += "+" + token(info.Commit)
		}
	}
	if info.Commit == "" {
		info.Commit = "unknown"
	}
	return info
}

// token drops what may not stand in an HTTP product version (RFC 9110, 5.6.2).
func token(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', strings.ContainsRune(".-+_~", r):
			return r
		}
		return -1
	}, s)
}
