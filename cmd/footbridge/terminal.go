package main

import (
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/footbridge-net/footbridge/api"
)

// makeRaw takes the terminal's own line editing and signal keys away, so that
// every key reaches the container. restore gives them back; it may be called
// more than once, and must be called on every way out.
//
// A signal that ends this program would leave the terminal raw. Those that are
// not sent on to the container (--sig-proxy=false) restore it first and then do
// what they would have done.
func makeRaw(f *os.File) (restore func(), err error) {
	fd := int(f.Fd())
	state, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	fatal := make(chan os.Signal, 1)
	done := make(chan struct{})
	signal.Notify(fatal, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM)
	var once sync.Once
	restore = func() {
		once.Do(func() {
			signal.Stop(fatal)
			close(done)
			_ = term.Restore(fd, state)
		})
	}
	go func() {
		for {
			select {
			case sig := <-fatal:
				if proxied.Load() {
					continue // the container's, see sigproxy.go
				}
				restore()
				signal.Reset(sig)
				_ = syscall.Kill(os.Getpid(), sig.(syscall.Signal))
				return
			case <-done:
				return
			}
		}
	}()
	return restore, nil
}

// terminalSize returns the size of the terminal that f is.
func terminalSize(f *os.File) (api.TTYSize, bool) {
	if f == nil {
		return api.TTYSize{}, false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return api.TTYSize{}, false
	}
	return api.TTYSize{Height: uint16(height), Width: uint16(width)}, true
}

// followSize calls resize with the terminal's size, now and after every
// change, until stop is called.
func followSize(f *os.File, resize func(api.TTYSize)) (stop func()) {
	changed := make(chan os.Signal, 1)
	done := make(chan struct{})
	signal.Notify(changed, unix.SIGWINCH)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if size, ok := terminalSize(f); ok {
				resize(size)
			}
			select {
			case <-changed:
			case <-done:
				return
			}
		}
	})
	return func() {
		signal.Stop(changed)
		close(done)
		wg.Wait()
	}
}
