package engine

import (
	"github.com/containerd/errdefs"

	"github.com/footbridge-net/footbridge/api"
)

// The classes of errors that the engine uses, each with the HTTP status that it
// becomes. The class does not show in the text. An error without one becomes
// 500.

func invalid(format string, args ...any) error { // 400
	return api.Errorf(errdefs.ErrInvalidArgument, format, args...)
}

func forbidden(format string, args ...any) error { // 403
	return api.Errorf(errdefs.ErrPermissionDenied, format, args...)
}

func notFound(format string, args ...any) error { // 404
	return api.Errorf(errdefs.ErrNotFound, format, args...)
}

func conflict(format string, args ...any) error { // 409
	return api.Errorf(errdefs.ErrConflict, format, args...)
}

func notModified(format string, args ...any) error { // 304
	return api.Errorf(errdefs.ErrNotModified, format, args...)
}

func unavailable(format string, args ...any) error { // 503
	return api.Errorf(errdefs.ErrUnavailable, format, args...)
}
