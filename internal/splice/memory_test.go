package splice

import "testing"

// The more connections a container has, the less each of them holds of what
// nobody reads.
func TestTheMemoryOfManyConnectionsIsBounded(t *testing.T) {
	w := newWorld(t)
	held := func(n int) int {
		j := w.connect(t)
		Confine(j.pair.ep, n)
		go func() { j.ended <- j.pair.Run() }()
		fill(t, j.container) // the host does not read
		return int(j.pair.ep.SocketOptions().GetReceiveBufferSize())
	}
	few, many, most := held(64), held(1000), held(9000)
	if few < 1<<20 || many > 256<<10 || most > 16<<10 {
		t.Errorf("buffers of the 64th, 1000th and 9000th connection: %d, %d, %d bytes", few, many, most)
	}
	for _, n := range []int{1, 64, 65, 1024, 1025, 8192, 8193, 1 << 20} {
		if bufferOf(n) < bufferOf(n+1) && bufferOf(n) != 0 {
			t.Errorf("connection %d has less than the next", n)
		}
	}
}
