package fdstore

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// maxName is systemd's limit (FDNAME_MAX), in bytes.
const maxName = 255

// ErrName is returned by Put for a name that is empty, longer than 255 bytes or holds
// other characters than letters, digits, '.', '_' and '-'.
var ErrName = errors.New("not a name for a descriptor")

// Name joins parts by dots to a name. The first part says whose it is. Different parts
// make different names, whatever is in them: what is not a letter, a digit or '-' becomes
// '_' and two hexadecimal digits, and a name that would be too long ends in a hash.
func Name(parts ...string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i, part := range parts {
		if i > 0 {
			b.WriteByte('.')
		}
		for j := range len(part) {
			if c := part[j]; plain(c) {
				b.WriteByte(c)
			} else {
				b.Write([]byte{'_', digits[c>>4], digits[c&15]})
			}
		}
	}
	name := b.String()
	if len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	// "_-" comes from no part, so no short name is the same.
	tail := "_-" + hex.EncodeToString(sum[:])
	return name[:maxName-len(tail)] + tail
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-'
}

func checkName(name string) error {
	ok := name != "" && len(name) <= maxName
	for i := range len(name) {
		ok = ok && (plain(name[i]) || name[i] == '.' || name[i] == '_')
	}
	if !ok {
		return fmt.Errorf("%w: %.300q", ErrName, name)
	}
	return nil
}

// ownedBy reports whether name is owner's.
func ownedBy(name, owner string) bool {
	rest, ok := strings.CutPrefix(name, owner)
	return ok && (rest == "" || rest[0] == '.')
}
