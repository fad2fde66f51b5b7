package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/store"
)

// LockFile is the file in the runtime folder that a daemon has a lock on from before it makes its Engine until that is
// closed.
const LockFile = "daemon.lock"

// Holder is the daemon that has a state folder.
type Holder struct {
	PID        int    // 0: there is none, or it cannot be told
	RuntimeDir string // where its socket is, or was, or will be; "" if that is not known
	Lost       bool   // its socket and its lock's file were removed, so nobody can reach it

	socket string // in RuntimeDir
}

// StateHolder says who has a state folder. socket is the name of a daemon's socket in its runtime folder.
func StateHolder(stateDir, socket string) Holder {
	h := Holder{
		PID: store.Holder(filepath.Join(stateDir, runtimeName)), RuntimeDir: RecordedRuntimeDir(stateDir), socket: socket,
	}
	if h.PID == 0 {
		return h
	}
	// One that starts has no socket yet, but the lock's file is there. Without a lock nothing can be told.
	path, held := store.HeldBy(h.PID, LockFile)
	switch {
	case held == nil:
	case !gone(path, held):
		h.RuntimeDir = filepath.Dir(path) // newer than the record in one that is taking the state, or whose folder was moved
	case h.RuntimeDir != "":
		// What is hidden in this mount namespace may be there in the daemon's.
		root := fmt.Sprintf("/proc/%d/root", h.PID)
		lock, socket := filepath.Join(h.RuntimeDir, LockFile), filepath.Join(h.RuntimeDir, socket)
		h.Lost = gone(root+path, held) && gone(root+lock, held) && gone(lock, held) && gone(root+socket, nil) && gone(socket, nil)
	}
	return h
}

// gone reports whether there is nothing at a path, or something other than was there.
func gone(path string, was os.FileInfo) bool {
	st, err := os.Stat(path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	return was != nil && !os.SameFile(st, was)
}

// Answers reports whether a daemon does at its socket, of whatever version, and means to go on. One that starts or ends
// does not.
func (h Holder) Answers(ctx context.Context) bool {
	if h.PID == 0 || h.RuntimeDir == "" {
		return false
	}
	_, err := api.New(filepath.Join(h.RuntimeDir, h.socket)).DaemonVersion(ctx)
	return err == nil
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
