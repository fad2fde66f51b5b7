package splice

import (
	"io"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/footbridge-net/footbridge/internal/turn"
)

// Whoever never has to wait lets others run all the same.
func TestABusyDirectionTakesTurns(t *testing.T) {
	j := newWorld(t).connect(t)
	var turns atomic.Int64
	j.pair.turn = turn.New(func() { turns.Add(1) })
	ended := make(chan error, 1)
	go func() { ended <- j.pair.Run() }()
	const size = 64 << 20
	go func() {
		j.host.Write(make([]byte, size))
		j.host.CloseWrite()
	}()
	n, err := io.Copy(io.Discard, j.container)
	if n != size || err != nil {
		t.Fatal(n, err)
	}
	j.container.CloseWrite()
	wait(t, ended, "the end")
	if turns.Load() == 0 {
		t.Errorf("no turn for others in %d bytes", n)
	}
}

// alone is the turn of whoever has nobody to wait for.
var alone = turn.New(runtime.Gosched)
