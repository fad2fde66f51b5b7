package engine

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"syscall"

	"github.com/footbridge-net/footbridge/engine/store"
)

// Holder is the daemon that has a state folder.
type Holder struct {
	PID        int    // 0: there is none, or it cannot be told
	RuntimeDir string // where its socket is, or was; "" if that is not known
	Lost       bool   // there is nothing at its socket's path, so nobody can reach it
	Ends       bool   // it does not take connections any more
}

// StateHolder says who has a state folder. socket is the name of a daemon's socket in its runtime folder.
func StateHolder(stateDir, socket string) Holder {
	h := Holder{PID: store.Holder(filepath.Join(stateDir, runtimeName)), RuntimeDir: RecordedRuntimeDir(stateDir)}
	if h.PID == 0 || h.RuntimeDir == "" {
		return h
	}
	c, err := net.Dial("unix", filepath.Join(h.RuntimeDir, socket))
	switch {
	case err == nil:
		_ = c.Close()
	case errors.Is(err, syscall.ENOENT):
		h.Lost = true
	case errors.Is(err, syscall.ECONNREFUSED):
		h.Ends = true
	}
	return h
}

// Explain says who it is to somebody with a runtime folder, and what to do.
func (h Holder) Explain(runtime string) error {
	who := "the daemon"
	if h.PID != 0 {
		who = fmt.Sprintf("the daemon (pid %d)", h.PID)
	}
	stop := "footbridge daemon stop"
	switch {
	case h.Lost:
		return fmt.Errorf("%s has lost its socket in runtime folder %s, which was removed: end it with `%s`", who, h.RuntimeDir, stop)
	case h.RuntimeDir == "" || sameDir(h.RuntimeDir, runtime):
		return fmt.Errorf("%s: end it with `%s`, or wait", who, stop)
	}
	return fmt.Errorf("%s with runtime folder %s, and this is %s: use that one with `%s`, or end it with `%s`",
		who, h.RuntimeDir, runtime, InRuntimeDir(h.RuntimeDir, "footbridge ..."), InRuntimeDir(h.RuntimeDir, stop))
}
