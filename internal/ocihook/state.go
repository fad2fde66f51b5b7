package ocihook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
)

// maxDocument bounds a state and a config.json, in bytes. Those of podman with some hundred
// mounts and all system calls in a filter have 100 KiB.
const maxDocument = 4 << 20

// State is what a runtime says of a container on a hook's standard input.
type State struct {
	ID     string `json:"id"`
	Status string `json:"status"` // creating, created, running, stopped
	// PID is the container's process, as the runtime sees it; 0 when there is none any more.
	// createContainer hooks of some runtimes get the number that it has in the container.
	PID         int               `json:"pid"`
	Bundle      string            `json:"bundle"` // absolute
	Annotations map[string]string `json:"annotations"`
}

// Stopped is the status of a container whose process has ended.
const Stopped = "stopped"

// errDocument is why something is not a State: it is for people to read.
var errDocument = errors.New("standard input is not the state of a container, as an OCI runtime gives it to its hooks")

// ReadState reads a state to its end.
func ReadState(r io.Reader) (State, error) {
	var s State
	b, err := readBounded(r)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	switch {
	case err != nil:
		return State{}, fmt.Errorf("%w: %w", errDocument, err)
	case s.ID == "":
		return State{}, fmt.Errorf("%w: it has no id", errDocument)
	case s.PID < 0:
		return State{}, fmt.Errorf("%w: %d is no process", errDocument, s.PID)
	case !filepath.IsAbs(s.Bundle):
		return State{}, fmt.Errorf("%w: its bundle %q is no absolute path", errDocument, s.Bundle)
	}
	return s, nil
}

func readBounded(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err == nil && len(b) > maxDocument {
		err = fmt.Errorf("it has more than %d bytes", maxDocument)
	}
	return b, err
}
