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
	few, many, most := held(8), held(64), held(1000)
	if few != 1<<20 || many > 128<<10 || most > 16<<10 {
		t.Errorf("buffers of the 8th, 64th and 1000th connection: %d, %d, %d bytes", few, many, most)
	}
	for n := 1; n < 1<<16; n++ {
		if bufferOf(n) < bufferOf(n+1) && bufferOf(n) != 0 {
			t.Errorf("connection %d has less than the next", n)
		}
	}
	for n, most := range map[int]int64{2: 32, 64: 58, 512: 86, 1000: 102, 10000: 383} {
		sum := int64(0)
		for i := range n {
			if size := bufferOf(i + 1); size > 0 {
				sum += 2 * size
			} else {
				sum += 2 * 8 << 20
			}
		}
		if sum > most<<20 {
			t.Errorf("%d connections hold %d MiB, want %d at most", n, sum>>20, most)
		}
	}
}
