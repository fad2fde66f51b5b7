package tap

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

func init() { nstest.Register("inner-network", makeInner) }

// makeInner makes one more network namespace and returns its path.
func makeInner([]string) (string, error) {
	path, failed := make(chan string), make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread is the namespace
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			failed <- err
			return
		}
		path <- fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
		select {}
	}()
	select {
	case p := <-path:
		return p, nil
	case err := <-failed:
		return "", err
	}
}

// bareLink is one of many such interfaces in a namespace.
func bareLink(last byte) LinkOptions {
	return LinkOptions{Name: fmt.Sprintf("fb%d", last), MAC: [6]byte{2, 0x42, 10, 0, 0, last}, MTU: 1400, Bare: true, Guest: true, Existing: Refuse}
}

// A runtime makes a bare interface its container's, and what has its queue goes on.
func TestABareInterfaceIsMovedAndRenamed(t *testing.T) {
	w, ns := newWorld(t, 0)
	inner := w.MustCall("inner-network")
	other := mustAttach(t, ns, bareLink(7))
	i, err := Attach(testContext(t), ns, bareLink(9))
	if err != nil {
		t.Fatal(err)
	}
	v := viewLink(t, w, "fb9")
	if slices.Contains(v.Flags, "UP") || len(v.addresses()) > 0 || v.hasLinkLocal() {
		t.Errorf("a bare interface is set up: %+v", v)
	}
	in := func(args ...string) string {
		t.Helper()
		return w.Run(append([]string{"nsenter", "--net=" + inner}, args...)...)
	}
	w.Run("ip", "link", "set", "fb9", "netns", inner, "name", "eth0")
	in("ip", "addr", "add", "10.0.0.9/24", "dev", "eth0")
	in("ip", "link", "set", "eth0", "up")
	if out := in("ip", "link", "show", "eth0"); !strings.Contains(out, "mtu 1400") || !strings.Contains(out, "02:42:0a:00:00:09") {
		t.Errorf("it became %s", out)
	}
	if err := i.Check(); err != nil {
		t.Errorf("the queue after the move: %v", err)
	}
	// Whoever held the queue is gone, and the next one looks where it is now.
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	again := bareLink(9)
	again.Existing = Keep
	if _, err := Attach(testContext(t), ns, again); !errors.Is(err, ErrNoDevice) {
		t.Errorf("where it is no more: %v, want ErrNoDevice", err)
	}
	innerNS, err := OpenNamespacePath(inner)
	if err != nil {
		t.Fatal(err)
	}
	defer innerNS.Close()
	if i, err = Attach(testContext(t), innerNS, again); err != nil {
		t.Fatal(err)
	}
	if i.Name != "eth0" || i.Created {
		t.Errorf("found again: %+v, want eth0 as it is", i)
	}
	if out := in("ip", "addr", "show", "eth0"); !strings.Contains(out, "inet 10.0.0.9/24") || !strings.Contains(out, ",UP") {
		t.Errorf("finding it again made of it %s", out)
	}
	if _, err := Attach(testContext(t), innerNS, again); !errors.Is(err, ErrBusy) {
		t.Errorf("a second holder: %v, want ErrBusy", err)
	}
	// The one with the other address is nobody's but its own.
	if err := DetachBare(testContext(t), ns, "fb9", again.MAC); !errors.Is(err, ErrNoDevice) {
		t.Errorf("removed where it is not: %v, want ErrNoDevice", err)
	}
	if err := DetachBare(testContext(t), innerNS, "fb9", again.MAC); err != nil {
		t.Errorf("removed: %v", err)
	}
	if out := in("ip", "-o", "link"); strings.Contains(out, "eth0") {
		t.Errorf("it is still there: %s", out)
	}
	if i.Check() == nil {
		t.Error("a queue without a device was not noticed")
	}
	i.Close()
	viewLink(t, w, "fb7")
	other.Close()
}

// What a bare interface is not to be, and names that are taken.
func TestABareInterfaceIsRefused(t *testing.T) {
	_, ns := newWorld(t, 0)
	for what, change := range map[string]func(*LinkOptions){
		"no MAC":     func(o *LinkOptions) { o.MAC = [6]byte{} },
		"an address": func(o *LinkOptions) { o.Addresses = prefixes("10.0.0.9/24") },
		"a sysctl":   func(o *LinkOptions) { o.Sysctls = map[string]string{"net.ipv4.conf.IFNAME.forwarding": "1"} },
	} {
		o := bareLink(9)
		change(&o)
		if _, err := Attach(testContext(t), ns, o); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v, want ErrOptions", what, err)
		}
	}
	d := mustAttach(t, ns, bareLink(9))
	defer d.Close()
	if _, err := Attach(testContext(t), ns, bareLink(9)); !errors.Is(err, ErrExists) {
		t.Errorf("a second one of that name: %v, want ErrExists", err)
	}
}
