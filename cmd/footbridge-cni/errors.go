package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/cmd/internal/plugin"
)

// Codes of the specification that its library has no name for, and ours, which begin
// at 100.
const (
	codeUnavailable uint = 50  // STATUS: no ADD can be served
	codeRefused     uint = 100 // the daemon does not do it: a port that is taken, a namespace that is not the user's
	codeVersion     uint = 101 // plugin and daemon are of different versions
)

// coded gives an error a code.
func coded(code uint, err error) *types.Error { return types.NewError(code, err.Error(), "") }

// badConfig is an error about what the configuration says.
func badConfig(format string, args ...any) *types.Error {
	return types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf(format, args...), "")
}

// unsupported is the specification's error about a field; its text has key and value.
func unsupported(key string, value []byte, why string) *types.Error {
	const most = 200
	text := strings.ToValidUTF8(string(value), "\uFFFD")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return types.NewError(types.ErrUnsupportedField, fmt.Sprintf("unsupported field %q: %s", key, text), why)
}

// fromDaemon gives what the daemon or the way to it says its code.
func fromDaemon(err error) error {
	var done *types.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &done):
		return err
	case errors.Is(err, plugin.ErrNoNamespace), errdefs.IsNotFound(err):
		return coded(types.ErrUnknownContainer, err)
	case errors.Is(err, api.ErrOtherVersion):
		return coded(codeVersion, err)
	case errors.Is(err, api.ErrNoDaemon), errdefs.IsUnavailable(err):
		return coded(types.ErrTryAgainLater, err)
	case errdefs.IsInvalidArgument(err):
		return coded(types.ErrInvalidNetworkConfig, err)
	case errdefs.IsConflict(err), errdefs.IsPermissionDenied(err):
		return coded(codeRefused, err)
	}
	return coded(types.ErrInternal, err)
}
