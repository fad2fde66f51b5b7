package splice

const (
	// turnBytes are carried before others run, if nobody has to be waited for:
	// some 150 microseconds. A netstack buffer of 8 MiB would be 2 ms.
	turnBytes = 512 << 10
	// turnLeast is what a piece costs at least, in the time of so many bytes.
	turnLeast = 16 << 10
)

// turn is what one direction has carried since others ran.
type turn struct {
	yield   func()
	carried int
}

// carry counts a piece of n bytes, and ends the turn if it was long enough.
func (t *turn) carry(n int) {
	if t.carried += max(n, turnLeast); t.carried >= turnBytes {
		t.carried = 0
		t.yield()
	}
}

// wait says that others run anyway.
func (t *turn) wait() { t.carried = 0 }
