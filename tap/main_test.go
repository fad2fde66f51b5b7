package tap

import (
	"context"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

func TestMain(m *testing.M) { nstest.Main(m, Dispatch) }

// newWorld makes namespaces with a process in them that can be told what to do.
func newWorld(t testing.TB, uid int) (*nstest.World, Namespaces) {
	t.Helper()
	w := nstest.New(t, uid)
	ns, err := OpenNamespaces(w.Pid)
	if err != nil {
		t.Fatal("open the new namespaces:", err)
	}
	t.Cleanup(func() { ns.Close() })
	return w, ns
}

// testContext ends before go test does, so that what hangs is named.
func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
