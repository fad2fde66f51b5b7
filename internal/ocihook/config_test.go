package ocihook

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheBundleSaysWhatMatters(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"root":{"path":"rootfs","readonly":true},"hostname":"box","mounts":[{"destination":"/etc/hosts/","type":"bind"},{"destination":"proc"}],
		"hooks":{"createContainer":[{"path":"/x","args":["x","oci-hook"]}]},"linux":{"namespaces":[{"type":"pid"},{"type":"network","path":"/n"}]}}`)
	c, err := ReadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	for what, right := range map[string]bool{
		"root":           c.RootFolder("/b") == "/b/rootfs",
		"host name":      c.Hostname == "box",
		"network":        c.Has("network") && !c.Has("mount"),
		"mounts":         c.MountsAt("/etc/hosts") && c.MountsAt("/proc") && !c.MountsAt("/etc/resolv.conf") && !c.MountsAt("/etc"),
		"hook":           c.CreatesContainerWith("oci-hook") && !c.CreatesContainerWith("/x"),
		"hook elsewhere": !(&Config{}).CreatesContainerWith("oci-hook"),
	} {
		if !right {
			t.Errorf("%s: %+v", what, c)
		}
	}
	write(`{"root":{"path":"/r"}}`)
	if c, err := ReadConfig(dir); err != nil || c.RootFolder("/b") != "/r" {
		t.Errorf("absolute: %+v, %v", c, err)
	}

	write(`{"root":`)
	if _, err := ReadConfig(dir); err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("half a file: %v", err)
	}
	if _, err := ReadConfig(filepath.Join(dir, "nowhere")); err == nil || !strings.Contains(err.Error(), "the bundle's configuration") {
		t.Errorf("no bundle: %v", err)
	}
	// A pipe without a writer holds nobody up.
	if err := os.Remove(filepath.Join(dir, "config.json")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "config.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadConfig(dir); err == nil {
		t.Error("a pipe is a configuration")
	}
}
