package absent

import (
	"runtime"
	"strings"
	"testing"
)

// docker's command line looks for these words, see doc.go.
func TestOperationsAreNotSupported(t *testing.T) {
	for _, sentence := range []string{Images, Volumes, Swarm, Plugins, Build, Login, Cgroups, Files, Changes, Pause, DiskUsage, Checkpoints,
		WebSocket, Compose, Context, System, Info} {
		if !strings.Contains(sentence, "not supported by footbridge: ") {
			t.Errorf("%q does not say that it is not supported, and why", sentence)
		}
	}
}

func TestValues(t *testing.T) {
	for _, tt := range []struct {
		f       func(string) string
		is, not string
	}{
		{RestartPolicy, "no", "always"}, {PIDMode, "private", "host"}, {IPCMode, "shareable", "host"}, {UTSMode, "", "host"},
		{SecurityOption, "seccomp=unconfined", "seccomp=profile.json"}, {SecurityOption, "no-new-privileges:false", "no-new-privileges"},
		{PullPolicy, "missing", "always"}, {Platform, "linux/" + runtime.GOARCH, "plan9/" + runtime.GOARCH}, {Platform, "linux", "linux/pdp11"},
		{SecurityOption, "label:disable", "label:type:x"}, {SecurityOption, "systempaths=unconfined", "apparmor=mine"},
	} {
		if said := tt.f(tt.is); said != "" {
			t.Errorf("%q, which is so, is refused: %s", tt.is, said)
		}
		if said := tt.f(tt.not); !strings.Contains(said, `"`+tt.not+`"`) || !strings.Contains(said, "not available") {
			t.Errorf("%q: %q", tt.not, said)
		}
	}
}
