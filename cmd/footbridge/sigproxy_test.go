package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A command that is over soon is asked to end by the same signals as one that stays.
func TestSignalsThatAskForTheEnd(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGTERM} {
		if !slices.Contains(endSignals, os.Signal(sig)) || !slices.Contains(proxiedSignals(), os.Signal(sig)) {
			t.Errorf("%v is not caught", sig)
			continue
		}
		ctx, p := catchEnds(t.Context())
		// Of no effect: else this process would be over, or they would be the cause below.
		if err := errors.Join(syscall.Kill(os.Getpid(), syscall.SIGUSR1), syscall.Kill(os.Getpid(), syscall.Signal(40))); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Second):
			t.Fatalf("waited 20 s for %v", sig)
		}
		if cause := context.Cause(ctx); !errors.Is(cause, errInterrupted) || !strings.HasSuffix(cause.Error(), " by "+signalName(sig)) || p.exitCode() != 128+int(sig) {
			t.Errorf("%v: %v, exit code %d", sig, cause, p.exitCode())
		}
		p.stop()
	}
}
