package engine

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// shortLen is the length of a shortened id, in hex digits, as Docker shows it.
const shortLen = 12

// newID returns 64 random hex digits. An id whose first twelve digits are all
// decimal is not given: as a hostname and a name it would be taken for a number.
func newID() string {
	var b [32]byte
	for {
		_, _ = rand.Read(b[:]) // never fails
		id := hex.EncodeToString(b[:])
		if strings.ContainsAny(id[:shortLen], "abcdef") {
			return id
		}
	}
}

// short returns the first twelve digits of an id.
func short(id string) string {
	if len(id) > shortLen {
		return id[:shortLen]
	}
	return id
}
