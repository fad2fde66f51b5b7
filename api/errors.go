package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/common"

	"github.com/footbridge-net/footbridge/internal/visible"
)

// Errors of finding and being the daemon.
var (
	// ErrNoDaemon is returned by every method of a Client when nobody listens on
	// the socket.
	ErrNoDaemon = errors.New("no footbridge daemon is running")
	// ErrOtherVersion is returned by Client.CheckVersion when the daemon was
	// built from another version than the client.
	ErrOtherVersion = errors.New("the footbridge daemon has another version")
	// ErrForeignDaemon is returned by every method of a Client when the socket's
	// other end belongs to another user.
	ErrForeignDaemon = errors.New("the socket belongs to another user's process")
	// ErrUnsafeDir is returned by CheckDir and Listen when somebody else could
	// put a socket of his own in the directory.
	ErrUnsafeDir = errors.New("the socket's directory is not safe")
	// ErrSocketInUse is returned by Listen when a daemon answers there already.
	ErrSocketInUse = errors.New("another daemon answers on the socket")
	// ErrSocketPath is returned by Listen and by a Client when the path cannot be
	// a unix socket's: longer than 107 bytes, or taken by another kind of file.
	ErrSocketPath = errors.New("unusable socket path")
)

// Errors that say why a command could not be run; they cross the wire. Docker's
// command line ends with status 127 and 126 for them.
var (
	ErrCommandNotFound      = errors.New("command not found")
	ErrCommandNotExecutable = errors.New("command cannot be executed")
)

// codes names the sentinels that cross the wire beside the HTTP status, in the
// field "code" of an error's body. Docker's clients ignore the field.
var codes = map[string]error{
	"command-not-found":      ErrCommandNotFound,
	"command-not-executable": ErrCommandNotExecutable,
}

// errorBody is the body of every answer that is an error.
type errorBody struct {
	common.ErrorResponse
	Code string `json:"code,omitempty"`
}

// Errorf returns an error with the formatted text alone and with class in its
// chain, beside what the format wraps with %w. Class is one of
// containerd/errdefs' errors or another sentinel.
func Errorf(class error, format string, args ...any) error {
	return &classedError{error: fmt.Errorf(format, args...), class: class}
}

type classedError struct {
	error
	class error
}

func (e *classedError) Unwrap() []error { return []error{e.error, e.class} }

// StatusCode returns the HTTP status for an error of a backend.
func StatusCode(err error) int {
	switch {
	case errdefs.IsNotFound(err):
		return http.StatusNotFound
	case errors.Is(err, errBodyTooLarge):
		return http.StatusRequestEntityTooLarge
	case errdefs.IsInvalidArgument(err), errdefs.IsOutOfRange(err),
		errors.Is(err, ErrCommandNotFound), errors.Is(err, ErrCommandNotExecutable):
		return http.StatusBadRequest
	case errdefs.IsConflict(err), errdefs.IsAlreadyExists(err), errdefs.IsFailedPrecondition(err):
		return http.StatusConflict
	case errdefs.IsUnauthorized(err):
		return http.StatusUnauthorized
	case errdefs.IsPermissionDenied(err):
		return http.StatusForbidden
	case errdefs.IsNotModified(err):
		return http.StatusNotModified
	case errdefs.IsNotImplemented(err):
		return http.StatusNotImplemented
	case errdefs.IsResourceExhausted(err):
		return http.StatusTooManyRequests
	case errdefs.IsUnavailable(err):
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// classOf is the inverse of StatusCode.
func classOf(status int) error {
	switch status {
	case http.StatusNotFound:
		return errdefs.ErrNotFound
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return errdefs.ErrInvalidArgument
	case http.StatusConflict:
		return errdefs.ErrConflict
	case http.StatusUnauthorized:
		return errdefs.ErrUnauthenticated
	case http.StatusForbidden:
		return errdefs.ErrPermissionDenied
	case http.StatusNotModified:
		return errdefs.ErrNotModified
	case http.StatusNotImplemented:
		return errdefs.ErrNotImplemented
	case http.StatusTooManyRequests:
		return errdefs.ErrResourceExhausted
	case http.StatusServiceUnavailable:
		return errdefs.ErrUnavailable
	case http.StatusInternalServerError:
		return errdefs.ErrInternal
	default:
		return errdefs.ErrUnknown
	}
}

// encodeError returns the body for an error.
func encodeError(err error) []byte {
	body := errorBody{ErrorResponse: common.ErrorResponse{Message: sentence(err.Error())}}
	for code, sentinel := range codes {
		if errors.Is(err, sentinel) {
			body.Code = code
		}
	}
	b, jsonErr := json.Marshal(body)
	if jsonErr != nil { // two strings always marshal
		panic(jsonErr)
	}
	return append(b, '\n')
}

// sentence is a text as it is shown: errors end on terminals and may quote what
// somebody else has chosen.
func sentence(s string) string {
	return visible.Prose(s)
}

// decodeError makes an error of a status and a body again.
func decodeError(status int, body []byte) error {
	var e errorBody
	err := json.Unmarshal(body, &e)
	switch {
	case status == http.StatusNotModified: // has no body by HTTP's rules
		e.Message = "nothing to do: it is so already"
	case err != nil:
		e.Message = strings.TrimSpace(string(body))
	}
	if e.Message == "" {
		e.Message = fmt.Sprintf("the daemon answered %d %s and gave no reason", status, http.StatusText(status))
	}
	class := classOf(status)
	if sentinel, ok := codes[e.Code]; ok {
		class = errors.Join(class, sentinel)
	}
	return Errorf(class, "%s", e.Message)
}
