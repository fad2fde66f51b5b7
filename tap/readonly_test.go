package tap

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

func init() { nstest.Register("attach-readonly", attachReadonly) }

// attachReadonly attaches where /proc/sys is read-only, as it is in many a
// container that has containers: in a mount namespace of this thread.
func attachReadonly([]string) (string, error) {
	runtime.LockOSThread() // for good: the thread cannot go back
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return "", fmt.Errorf("unshare: %w", err)
	}
	const path = "/proc/sys"
	if err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount(path, path, "", unix.MS_BIND, ""),
		unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""),
	); err != nil {
		return "", fmt.Errorf("make %s read-only: %w", path, err)
	}
	ctx := context.Background()
	ns, err := throwAway(ctx)
	if err != nil {
		return "", err
	}
	defer ns.Close()
	o := LinkOptions{Name: "eth0", Addresses: prefixes("10.9.0.2/24"), DisableIPv6: true}
	d, err := Attach(ctx, ns, o)
	if err != nil {
		return "", err
	}
	d.Close()
	o.Sysctls = map[string]string{"net.ipv4.conf.IFNAME.forwarding": "1"}
	if _, err := Attach(ctx, ns, o); !errors.Is(err, unix.EROFS) {
		return "", fmt.Errorf("a sysctl that was asked for: %v, want EROFS", err)
	}
	return strings.Join(d.Warnings, "\n"), nil
}

func TestAReadOnlyProcSysIsAWarning(t *testing.T) {
	w, _ := newWorld(t, 0)
	warnings := w.MustCall("attach-readonly")
	if !strings.Contains(warnings, "accept_ra: read-only") || !strings.Contains(warnings, "IPv6 has no addresses instead") {
		t.Errorf("warnings:\n%s", warnings)
	}
}
