package netavark

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Taken returns the subnets of podman's networks. A plugin is not told of them, so it
// looks where podman keeps them unless it is told otherwise. What cannot be read is left
// out: two networks with one subnet are refused when they are used at once.
func Taken(getenv func(string) string) []netip.Prefix {
	dirs := []string{"/etc/containers/networks"}
	if data := getenv("XDG_DATA_HOME"); filepath.IsAbs(data) {
		dirs = append(dirs, filepath.Join(data, "containers/storage/networks"))
	} else if home := getenv("HOME"); filepath.IsAbs(home) {
		dirs = append(dirs, filepath.Join(home, ".local/share/containers/storage/networks"))
	}
	var out []netip.Prefix
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".json") || !e.Type().IsRegular() {
				continue
			}
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			var n Network
			if err != nil || json.Unmarshal(b, &n) != nil {
				continue
			}
			for _, s := range n.Subnets {
				if s.Subnet.IsValid() {
					out = append(out, s.Subnet.Masked())
				}
			}
		}
	}
	return out
}
