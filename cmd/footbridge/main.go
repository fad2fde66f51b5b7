package main

import (
	"context"
	"fmt"
	"os"

	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/engine/worker"
	"github.com/footbridge-net/footbridge/tap"
)

func main() {
	// The helpers that this binary also is, before anything else: they are
	// started in namespaces where nothing of what follows would work.
	tap.Dispatch()
	shim.Dispatch()
	worker.Dispatch()
	dispatchUsher()

	slirpDispatch()
	os.Exit(newCLI().main(context.Background(), os.Args[1:]))
}

// main runs one command line and returns its exit code.
func (c *cli) main(ctx context.Context, args []string) int {
	root := newRoot(c, args...)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = c.outputError()
	}
	if err == nil {
		return 0
	}
	if text := errorText(err); text != "" {
		fmt.Fprintln(c.stderr, text)
	}
	return exitCodeOf(err)
}
