// Package visible makes texts of others fit for a terminal, a log or a list: what
// would not show as itself is written as Go quotes it.
//
//	"a\x1b[2J\rb" --Text--> a\x1b[2J\rb       one line
//	"a\nb\x07"    --Prose-> a                 lines and tabs stay
//	                        b\a
//
// It is done where texts leave (refusals of the API, messages of the command line), so
// that no message has to think of it, and a text that went through twice is the same.
//
// # Lifetime
//
// Nothing is kept.
//
// # Concurrency
//
// All functions are pure.
package visible

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns s as one line.
func Text(s string) string { return escape(s, "") }

// Prose returns s with its lines and tabs as they are.
func Prose(s string) string { return escape(s, "\n\t") }

// Is reports whether s shows as itself in one line.
func Is(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func escape(s, keep string) string {
	if Is(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) && !strings.ContainsRune(keep, r) {
			quoted := strconv.Quote(s[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}
