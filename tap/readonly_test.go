package tap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nstest"
	"github.com/footbridge-net/footbridge/tap/internal/nsexec"
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
	var writable Namespaces
	writable.UseSettingsOf(os.Getpid())
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
	ns.settings = writable.settings
	o.MTU, o.Queues = 1500, 1
	for _, method := range []nsexec.Method{nsexec.Native, nsexec.Nsenter} {
		if again, err := attach(ctx, ns, o, []nsexec.Method{method}); err != nil || len(again.Warnings) > 0 {
			return "", fmt.Errorf("%s, with the settings of a process: %v, %v", method, again, err)
		} else if err := again.Close(); err != nil {
			return "", err
		}
	}
	stale := ns
	ns.ForgetSettings()
	o.Sysctls = map[string]string{"net.ipv4.conf.IFNAME.forwarding": "0"}
	for _, ns := range []Namespaces{ns, stale} {
		for _, method := range []nsexec.Method{nsexec.Native, nsexec.Nsenter} {
			if _, err := attach(ctx, ns, o, []nsexec.Method{method}); !errors.Is(err, unix.EROFS) {
				return "", fmt.Errorf("%s, with settings that were forgotten: %v, want EROFS", method, err)
			}
		}
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
