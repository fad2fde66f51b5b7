package visible

import (
	"testing"
)

func TestWhatDoesNotShowIsQuoted(t *testing.T) {
	for _, c := range []struct{ in, text, prose string }{
		{"", "", ""},
		{`plain "words" \ ü 世`, `plain "words" \ ü 世`, `plain "words" \ ü 世`},
		{"a\x1b[2J\rb", `a\x1b[2J\rb`, `a\x1b[2J\rb`},
		{"one\n\ttwo\a", `one\n\ttwo\a`, "one\n\ttwo\\a"},
		{"a\xffb", `a\xffb`, `a\xffb`},
		{"a\u009bb", `a\u009bb`, `a\u009bb`},
		{"a\u202eb", `a\u202eb`, `a\u202eb`},
		{"a\x00b\x7f", `a\x00b\x7f`, `a\x00b\x7f`},
		{"a\ufffdb", "a\ufffdb", "a\ufffdb"},
	} {
		if got := Text(c.in); got != c.text {
			t.Errorf("Text(%q) = %q, want %q", c.in, got, c.text)
		}
		if got := Prose(c.in); got != c.prose {
			t.Errorf("Prose(%q) = %q, want %q", c.in, got, c.prose)
		}
		if got := Is(c.in); got != (c.in == c.text) {
			t.Errorf("Is(%q) = %v", c.in, got)
		}
	}
}

func TestOnceIsEnough(t *testing.T) {
	const hostile = "a\x1b\xff\n\u202e\\x1b"
	for _, f := range []func(string) string{Text, Prose} {
		if once := f(hostile); f(once) != once {
			t.Errorf("%q became %q", once, f(once))
		}
	}
}
