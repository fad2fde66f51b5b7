package engine

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/foreign"
)

// ContainerOfUserNS implements api.RuntimeBackend.
func (e *Engine) ContainerOfUserNS(_ context.Context, id api.NamespaceID) (string, error) {
	asked := foreign.Owner(id)
	for _, c := range e.allContainers() {
		d := e.snapshot(c)
		if !d.running() {
			continue
		}
		if f := d.Foreign; f != nil {
			switch {
			case f.Bare: // in a runtime's own namespace, which is no container's
			case f.Owner == (foreign.Owner{}):
				return "", fmt.Errorf("container %s was attached by an older footbridge, and may live in it: detach it with `footbridge detach %s`", d.Name, d.Name)
			case f.Owner == asked && f.From != asked:
				return d.Name, nil
			}
			continue
		}
		dev, ino, err := foreign.Inode("/proc/" + itoa(d.State.Pid) + "/ns/user")
		switch {
		case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ESRCH): // it has ended
		case err != nil:
			return "", fmt.Errorf("container %s may live in it: %w", d.Name, err)
		case dev == id.Dev && ino == id.Ino:
			return d.Name, nil
		}
	}
	return "", nil
}

// NamespacePassedFrom implements api.RuntimeBackend.
func (e *Engine) NamespacePassedFrom(_ context.Context, nameOrID string) (from api.NamespaceID, id string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.findContainer(nameOrID)
	if err != nil {
		return from, "", err
	}
	if f := c.def.Foreign; f != nil {
		from = api.NamespaceID(f.From)
	}
	return from, c.def.ID, nil
}
