package libnetwork

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/footbridge-net/footbridge/engine/store"
)

// record is which network of footbridge's one of Docker's is.
type record struct {
	Network string
	// Shared: it was there before, and stays.
	Shared bool
}

// maxRecord bounds the file of a record, in bytes.
const maxRecord = 4096

// records are files in a folder, each named after the id of a network of Docker's.
type records string

var errNoRecord = errors.New("this network of Docker's is not known here")

func (r records) path(id string) (string, error) {
	if !validID(id) {
		return "", fmt.Errorf("%q is not the id of a network", clip(id))
	}
	return filepath.Join(string(r), id), nil
}

func (r records) get(id string) (record, error) {
	path, err := r.path(id)
	if err != nil {
		return record{}, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return record{}, fmt.Errorf("%w (%s): remove it with `docker network rm`, and make it again", errNoRecord, short(id))
	}
	if err != nil {
		return record{}, err
	}
	var rec record
	if len(b) > maxRecord || json.Unmarshal(b, &rec) != nil || rec.Network == "" {
		return record{}, fmt.Errorf("%s is damaged: remove the network with `docker network rm`, and make it again: %w", path, errNoRecord)
	}
	return rec, nil
}

func (r records) put(id string, rec record) error {
	path, err := r.path(id)
	if err != nil {
		return err
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(string(r), 0o700); err != nil {
		return err
	}
	return store.WriteFile(path, b)
}

func (r records) remove(id string) error {
	path, err := r.path(id)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// validID: what Docker's ids are made of, and nothing that leads elsewhere.
func validID(id string) bool {
	return len(id) >= idLength && len(id) <= 128 && strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyz") == ""
}

// idLength is how much of an id stands in names: so much tells two apart.
const idLength = 12

func short(id string) string { return id[:min(len(id), idLength)] }

// clip bounds a text that somebody else has chosen.
func clip(s string) string { return s[:min(len(s), 80)] }
