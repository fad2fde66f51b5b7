package fdstore

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func FuzzFromSystemd(f *testing.F) {
	f.Add("1", "2", "a:b")
	f.Add("1", "0", "")
	f.Add("1", "1", "")
	f.Add("1", "-1", "a")
	f.Add("2", "1", "a")
	f.Add("1", "3", "a::b c")
	f.Add("1", "18446744073709551616", "a")
	f.Fuzz(func(t *testing.T, pid, count, names string) {
		env := map[string]string{pidVariable: pid, countVariable: count, namesVariable: names}
		entries, err := fromSystemd(func(name string) string { return env[name] }, 1)
		if err != nil {
			if !errors.Is(err, ErrEnvironment) || entries != nil {
				t.Errorf("%v with %v", err, entries)
			}
			return
		}
		for i, e := range entries {
			if e.fd != first+i || checkName(e.name) != nil {
				t.Errorf("entry %d is %+v", i, e)
			}
		}
	})
}

func FuzzTable(f *testing.F) {
	f.Add("3 a\n4 b.c_20\n")
	f.Add("3 a\n3 b\n")
	f.Add("3 a")
	f.Add("2 a\n")
	f.Add("+3 a\n")
	f.Add("2147483648 a\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := parseTable(text)
		if err != nil {
			if !errors.Is(err, ErrEnvironment) || entries != nil {
				t.Errorf("%v with %v", err, entries)
			}
			return
		}
		again, err := parseTable(formatTable(entries))
		if err != nil || !slices.Equal(again, entries) {
			t.Errorf("%v -> %v, %v", entries, again, err)
		}
	})
}

func FuzzName(f *testing.F) {
	f.Add("a", "b", "a.b", "")
	f.Add("", "", "", ".")
	f.Add("a_2e", "b", "a.", "b")
	f.Add(strings.Repeat("x", 300), "y", strings.Repeat("x", 300), "z")
	f.Fuzz(func(t *testing.T, a1, a2, b1, b2 string) {
		a, b := Name(a1, a2), Name(b1, b2)
		if err := errors.Join(checkName(a), checkName(b)); err != nil {
			t.Error(err)
		}
		if (a == b) != (a1 == b1 && a2 == b2) {
			t.Errorf("%q and %q from different parts", a, b)
		}
		if len(a1) < 50 && !ownedBy(a, Name(a1)) {
			t.Errorf("%q is not %q's", a, Name(a1))
		}
	})
}

func TestName(t *testing.T) {
	if got, want := Name("engine", "port", "0123abc", "eth0:é"), "engine.port.0123abc.eth0_3a_c3_a9"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, row := range []struct {
		name, owner string
		want        bool
	}{{"a.b", "a", true}, {"a", "a", true}, {"ab", "a", false}, {"a.b", "a.b.c", false}, {"b.a", "a", false}} {
		if ownedBy(row.name, row.owner) != row.want {
			t.Errorf("ownedBy(%q, %q) is %v", row.name, row.owner, !row.want)
		}
	}
}
