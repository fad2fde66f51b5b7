package buildinfo

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestFrom(t *testing.T) {
	vcs := func(modified string) *debug.BuildInfo {
		return &debug.BuildInfo{
			GoVersion: "go1.26.3",
			Main:      debug.Module{Version: "(devel)"},
			Settings: []debug.BuildSetting{
				{Key: "vcs.revision", Value: "abc123"},
				{Key: "vcs.time", Value: "2026-01-02T03:04:05Z"},
				{Key: "vcs.modified", Value: modified},
			},
		}
	}
	stamped := vcs("false")
	stamped.Main.Version = "v1.4.0"
	for _, tt := range []struct {
		name            string
		build           *debug.BuildInfo
		version, commit string
		want            Info
	}{
		{"nothing known", nil, "", "", Info{Version: "0.0.0-dev", Commit: "unknown"}},
		{"linker wins", vcs("false"), "v1.2.3", "fff", Info{Version: "1.2.3", Commit: "fff", Time: "2026-01-02T03:04:05Z", GoVersion: "go1.26.3"}},
		{"commit of a checkout", vcs("false"), "", "", Info{Version: "0.0.0-dev+abc123", Commit: "abc123", Time: "2026-01-02T03:04:05Z", GoVersion: "go1.26.3"}},
		{"changed checkout", vcs("true"), "", "", Info{Version: "0.0.0-dev+abc123-dirty", Commit: "abc123-dirty", Time: "2026-01-02T03:04:05Z", GoVersion: "go1.26.3"}},
		{"module version", stamped, "", "", Info{Version: "1.4.0", Commit: "abc123", Time: "2026-01-02T03:04:05Z", GoVersion: "go1.26.3"}},
		{"no header can be split by it", nil, "1.2 3\r\nX: y", "", Info{Version: "1.23Xy", Commit: "unknown"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := from(tt.build, tt.version, tt.commit); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestGetDescribesThisBinary(t *testing.T) {
	got := Get()
	if got.GoVersion != runtime.Version() {
		t.Errorf("GoVersion = %q, the runtime says %q", got.GoVersion, runtime.Version())
	}
	if got.Version == "" || got.Commit == "" {
		t.Errorf("%+v has empty fields", got)
	}
}
