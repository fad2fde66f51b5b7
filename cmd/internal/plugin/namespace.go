package plugin

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/moby/moby/api/types/container"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/tap"
)

// LabelCNI is the label of a namespace that the CNI plugin has attached: the container's id
// in the runtime.
const LabelCNI = "com.footbridge.cni.container"

// ErrNoNamespace: the path leads to no network namespace.
var ErrNoNamespace = errors.New("no network namespace")

// Open opens the network namespace that a runtime names. Its path is perhaps seen in our
// own mount namespace only.
//
// Errors: ErrNoNamespace, and those of open(2).
func Open(path string) (*os.File, error) {
	f, err := tap.OpenNetwork(path)
	switch {
	case errors.Is(err, tap.ErrNotNamespace), errors.Is(err, os.ErrNotExist):
		return nil, api.Errorf(ErrNoNamespace, "there is no network namespace at %s: %w", path, err)
	case err != nil:
		return nil, err
	}
	return f, nil
}

// Attach attaches the network namespace at path, which is opened here and passed.
func Attach(ctx context.Context, client *api.Client, path string, req api.NamespaceRequest) (container.CreateResponse, error) {
	f, err := Open(path)
	if err != nil {
		return container.CreateResponse{}, err
	}
	defer f.Close()
	if req.NetNS, err = filepath.Abs(path); err != nil {
		return container.CreateResponse{}, err
	}
	return client.NamespaceAttachFile(ctx, req, f)
}
