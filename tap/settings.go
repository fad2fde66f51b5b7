package tap

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// settingsDir is where settings are; those of net are the network namespace's of whoever opens them, whatever procfs
// it is.
const settingsDir = "/proc/sys"

// UseSettingsOf has helpers change settings through the procfs at /proc of a process, until ForgetSettings. The kernel
// keeps the names in one procfs that are of all network namespaces in one list, which it walks for
// each new name: where 1,000 containers' helpers have come through the daemon's /proc, that is 2 ms for the next. A
// container's own has the names of one.
//
// Only of a process in whose mount namespace nobody else has been: what is mounted there decides which files are written
// to. The caller makes sure afterwards that the process lives, so that its number meant it. Where this cannot be
// done, the daemon's procfs serves.
func (ns *Namespaces) UseSettingsOf(pid int) {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/root%s", pid, settingsDir), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	ns.ForgetSettings()
	ns.settings = os.NewFile(uintptr(fd), settingsDir)
}

// ForgetSettings ends what UseSettingsOf began. A Namespaces made by copying before goes on to work.
func (ns *Namespaces) ForgetSettings() {
	if ns.settings != nil {
		ns.settings.Close()
		ns.settings = nil
	}
}

// settingsPath is where a helper finds a setting: its working directory may be such a folder.
func settingsPath(path string) string {
	var st unix.Statfs_t
	if unix.Statfs(".", &st) != nil || st.Type != unix.PROC_SUPER_MAGIC || unix.Access("kernel/ostype", unix.F_OK) != nil {
		return settingsDir + "/" + path
	}
	return path
}
