package main

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// output is where a command prints to. It remembers the first thing that went wrong, since most commands do not look:
// main does, for all of them.
type output struct {
	file *os.File

	mu     sync.Mutex
	failed error
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.file.Write(b)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.failed == nil {
			o.failed = err
		}
	}
	return n, err
}

// ReadFrom lets the kernel copy where it can. Whoever copies looks at the error, which may be the source's.
func (o *output) ReadFrom(r io.Reader) (int64, error) { return o.file.ReadFrom(r) }

// outputError is why what a command that did not fail has printed did not arrive.
func (c *cli) outputError() error {
	o, ok := c.stdout.(*output)
	if !ok {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed == nil {
		return nil
	}
	return fmt.Errorf("the output could not be written: %w; what the command was to do is done", o.failed)
}
