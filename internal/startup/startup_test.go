package startup

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestWhatIsTheProgramsAndNeverWritten(t *testing.T) {
	mapping := func(head string, anonymous int) string {
		return head + "\nSize:               4 kB\nAnonymous:          " + strconv.Itoa(anonymous) + " kB\nVmFlags: rd mr mw me\n"
	}
	smaps := mapping("00400000-00b6d000 r-xp 00000000 fe:00 1234 /usr/bin/footbridge", 0) +
		mapping("00b6d000-0180a000 r--p 0076d000 fe:00 1234 /usr/bin/footbridge", 0) +
		mapping("0180a000-0180b000 r--p 0076e000 fe:00 1234 /usr/bin/footbridge", 4) + // relocated, then made read-only
		mapping("0180b000-0186b000 rw-p 0140a000 fe:00 1234 /usr/bin/footbridge", 0) +
		mapping("0186b000-03b00000 rw-p 00000000 00:00 0", 0) +
		mapping("c000000000-c000400000 r--p 00000000 00:00 0", 0) +
		mapping("7f0000000000-7f0000001000 r--s 00000000 fe:00 1234 /usr/bin/footbridge", 0) +
		mapping("7f0000002000-7f0000003000 r-xp 00000000 fe:00 9 /usr/lib/other", 0) +
		mapping("7f0000004000-7f0000004000 r--p 00000000 fe:00 1234 /usr/bin/footbridge", 0) +
		mapping("zz-yy r--p 00000000 fe:00 1234 /usr/bin/footbridge", 0) +
		mapping("00b6d000 r--p", 0)
	want := []region{{0x400000, 0xb6d000}, {0xb6d000, 0x180a000}}
	if got := untouched(smaps, "/usr/bin/footbridge"); !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	spaces := mapping("00400000-00b6d000 r-xp 00000000 fe:00 1234                       /home/a b/footbridge (deleted)", 0)
	if got := untouched(spaces, "/home/a b/footbridge (deleted)"); len(got) != 1 {
		t.Errorf("a path with spaces: %x", got)
	}
}

// resident is RssFile of this process, in kilobytes.
func resident(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "RssFile:" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("the kernel tells no RssFile")
	return 0
}

func TestTheProgramIsNotResidentAfterIt(t *testing.T) {
	before := resident(t)
	if err := Over(); err != nil {
		t.Fatal(err)
	}
	if after := resident(t); after >= before {
		t.Errorf("%d kB of files before, %d after", before, after)
	}
}
