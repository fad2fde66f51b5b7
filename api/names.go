package api

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/containerd/errdefs"

	"github.com/footbridge-net/footbridge/internal/visible"
)

// maxName bounds names in bytes. Docker has no bound; names become parts of
// paths, whose elements have this one (NAME_MAX).
const maxName = 255

// namePattern is Docker's rule, as its messages print it.
const namePattern = "[a-zA-Z0-9][a-zA-Z0-9_.-]"

// checkNewName refuses names that no container or network may have.
func checkNewName(noun, name string) error {
	switch {
	case len(name) > maxName:
		return Errorf(errdefs.ErrInvalidArgument, "invalid %s name: it has %d bytes, and %d are allowed", noun, len(name), maxName)
	case !validName(name):
		return Errorf(errdefs.ErrInvalidArgument, "Invalid %s name (%s), only %s are allowed", noun, printable(name), namePattern)
	}
	return nil
}

func validName(name string) bool {
	for i, c := range []byte(name) {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case i > 0 && (c == '_' || c == '.' || c == '-'):
		default:
			return false
		}
	}
	return name != ""
}

// lookupName returns the name to look up, without the slash that Docker puts
// before containers' names. It refuses what can name nothing and would spoil a
// log or a terminal.
func lookupName(noun, name string) (string, error) {
	name = strings.TrimPrefix(name, "/")
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", Errorf(errdefs.ErrInvalidArgument, "invalid %s name or ID: %s", noun, printable(name))
	}
	return name, nil
}

// printable shortens a hostile string and makes it one line that shows.
func printable(s string) string {
	return visible.Text(shorten(s))
}
