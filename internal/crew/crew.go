package crew

import "sync/atomic"

// Idle is how many goroutines wait for work at most: as many as end and begin in one
// turn of a busy process. Each holds its stack, some 8 KB.
const Idle = 16

var (
	work = make(chan func()) // unbuffered: who sends has met somebody idle
	idle atomic.Int32
)

// Go runs f on a goroutine of its own, as the go statement does.
func Go(f func()) {
	select {
	case work <- f:
	default:
		go serve(f)
	}
}

func serve(f func()) {
	for {
		f() // what it held may go now: nothing below reads f
		if idle.Add(1) > Idle {
			idle.Add(-1)
			return
		}
		f = <-work
		idle.Add(-1)
	}
}
