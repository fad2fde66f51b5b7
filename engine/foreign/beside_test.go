package foreign

import (
	"bufio"
	"os/exec"
	"strings"
	"testing"

	"github.com/footbridge-net/footbridge/internal/nstest"
	"github.com/footbridge-net/footbridge/tap"
)

func init() { nstest.Register("beside", startBeside) }

// startBeside starts a process in a network namespace of its own and returns its number. It
// ends when this one does, and with it its input.
func startBeside([]string) (string, error) {
	cmd := exec.Command("unshare", "--net", "sh", "-c", "echo $$; exec cat >/dev/null")
	if _, err := cmd.StdinPipe(); err != nil {
		return "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	pid, err := bufio.NewReader(out).ReadString('\n')
	return strings.TrimSpace(pid), err
}

// Beside a runtime's namespace are those that its own user namespace has made, and not those of others.
func TestBesideAreThoseOfTheSameOwner(t *testing.T) {
	runtime, other := nstest.New(t, 0), nstest.New(t, 0)
	inode := func(pid string) uint64 {
		_, ino, err := Inode("/proc/" + pid + "/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		return ino
	}
	pid := runtime.MustCall("beside")
	nested := other.MustCall("beside")
	ns, err := tap.OpenNamespaces(runtime.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	all, err := Beside(ns)
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for _, n := range all {
		_, ino, err := identity(n)
		if err != nil {
			t.Error(err)
		}
		got = append(got, ino)
		n.Close()
	}
	if len(got) != 1 || got[0] != inode(pid) {
		t.Errorf("beside are %v, want %d alone; another's is %d", got, inode(pid), inode(nested))
	}
}
