package foreign

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/tap"
)

// Beside returns the network namespaces that processes live in and that belong to the same
// user namespace as ns, but for ns itself: where a runtime that made ns has its containers.
// The caller closes them.
func Beside(ns tap.Namespaces) ([]tap.Namespaces, error) {
	owner, err := OwnerOf(ns)
	if err != nil {
		return nil, err
	}
	dev, ino, err := identity(ns)
	if err != nil {
		return nil, err
	}
	dirs, err := processes()
	if err != nil {
		return nil, err
	}
	type place struct{ dev, ino uint64 }
	seen := map[place]bool{{dev, ino}: true}
	if dev, ino, err := Inode("/proc/self/ns/net"); err == nil {
		seen[place{dev, ino}] = true
	}
	var out []tap.Namespaces
	for _, dir := range dirs {
		dev, ino, err := Inode(dir + "/ns/net")
		if err != nil || seen[place{dev, ino}] { // others' processes are not to be looked at
			continue
		}
		seen[place{dev, ino}] = true
		if !ownedBy(dir+"/ns/net", owner) {
			continue
		}
		found, err := tap.OpenNamespacePath(dir + "/ns/net")
		if err == nil {
			out = append(out, found)
		}
	}
	return out, nil
}

// ownedBy reports whether the network namespace at path belongs to a user namespace.
func ownedBy(path string, owner Owner) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	fd, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && uint64(st.Dev) == owner.Dev && st.Ino == owner.Ino //nolint:unconvert // other widths elsewhere
}
