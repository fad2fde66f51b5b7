package splice

import (
	"io"
	"sync/atomic"
	"testing"
)

// Whoever never has to wait lets others run all the same.
func TestABusyDirectionTakesTurns(t *testing.T) {
	j := newWorld(t).connect(t)
	var turns atomic.Int64
	j.pair.yield = func() { turns.Add(1) }
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

func TestATurnEnds(t *testing.T) {
	n := 0
	turn := turn{yield: func() { n++ }}
	for range turnBytes / turnLeast {
		turn.carry(1)
	}
	if n != 1 {
		t.Errorf("%d turns for small pieces, want 1", n)
	}
	turn.carry(turnBytes - 1)
	turn.wait()
	turn.carry(turnBytes - 1)
	if n != 1 {
		t.Errorf("a turn after others ran anyway")
	}
	turn.carry(64 << 10)
	if n != 2 {
		t.Errorf("%d turns, want 2", n)
	}
}
