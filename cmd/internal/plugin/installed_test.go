package plugin

import (
	"os"
	"path/filepath"
	"testing"
)

// Where a plugin is installed under the program's own name it does not take itself for it.
func TestTheProgramIsFoundWherePluginsAreInstalled(t *testing.T) {
	prefix := t.TempDir()
	put := func(path string, mode os.FileMode) string {
		t.Helper()
		path = filepath.Join(prefix, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	netavark, cni := put("lib/netavark/footbridge", 0o755), put("lib/cni/footbridge-cni", 0o755)
	if found, ok := installedWith(netavark); ok {
		t.Errorf("where there is none: %s", found)
	}
	put("bin/footbridge", 0o644)
	if found, ok := installedWith(cni); ok {
		t.Errorf("what is not executable: %s", found)
	}
	program := filepath.Join(prefix, "bin/footbridge")
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatal(err)
	}
	beside := put("bin/footbridge-cni", 0o755)
	for _, plugin := range []string{netavark, cni, beside} {
		if found, ok := installedWith(plugin); !ok || found != program {
			t.Errorf("%s finds %q, %v", plugin, found, ok)
		}
	}
}
