package dgram

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// gathered receives until there is nothing, and says what came in which calls.
func gathered(t *testing.T, g *Gatherer, fd int) string {
	t.Helper()
	var all []string
	for room := new(Room); ; {
		var call []string
		bytes := 0
		n, e := g.Receive(fd, room, func(m Message) {
			bytes += len(m.Payload)
			var pieces []string
			size := m.Segment
			if size == 0 {
				size = len(m.Payload)
			}
			for piece := range slices.Chunk(m.Payload, size) {
				pieces = append(pieces, string(piece))
			}
			call = append(call, strings.Join(pieces, "+"))
		})
		if e == unix.EAGAIN {
			return strings.Join(all, " ")
		}
		if e != 0 || n != bytes {
			t.Fatalf("%d bytes, %v; received %d", n, e, bytes)
		}
		all = append(all, strings.Join(call, ","))
	}
}

func TestDatagramsOfARowAreReceivedTogether(t *testing.T) {
	one, server, _, to, _ := both(t, local4)
	two, _ := open(t, local4)
	long := strings.Repeat("x", 30000)
	for _, c := range []struct {
		sent  string // the last byte of each says of whom
		apart bool
		want  string
	}{
		{"a1", false, "a1"},
		{"a1 b1 c1 d1", false, "a1 b1+c1+d1"},
		{"a1 b1 c1 d1", true, "a1 b1 c1 d1"},
		{"a1 b1 1 d1 e1", false, "a1 b1+1 d1+e1"},
		{"a1 b1 c1 xx1 yy1 zz1", false, "a1 b1+c1,xx1 yy1+zz1"},
		{"a1 b1 c1 d2 e2 f2", false, "a1 b1+c1,d2 e2+f2"},
		{"a1 b2 c1 d2", false, "a1 b2 c1 d2"},
		{strings.Repeat("ab1 ", 2*Together+1) + "c1", false, "ab1" + strings.Repeat(" ab1"+strings.Repeat("+ab1", Together-1), 2) + " c1"},
		{strings.Repeat(long+"1 ", 4) + "c1", false, long + "1 " + long + "1+" + long + "1 " + long + "1+c1"},
	} {
		g := Gatherer{Apart: c.apart}
		for range 2 { // the second time it has received something before
			for _, s := range strings.Fields(c.sent) {
				fd := one
				if s[len(s)-1] == '2' {
					fd = two
				}
				if e := to.SendTo(uintptr(fd), []byte(s)); e != 0 {
					t.Fatal(e)
				}
			}
			if got := gathered(t, &g, server); got != c.want {
				t.Errorf("%.100q: %.300q, want %.300q", c.sent, got, c.want)
			}
		}
	}
}

// What the kernel has put together stays as it is.
func TestWhatCameTogetherIsNotPutTogether(t *testing.T) {
	client, server, _, to, _ := both(t, local4)
	var out Sender
	for _, payload := range []string{"abcd", "abcd", "ab", "ab", "abcd"} {
		if n, e := out.Send(client, &to, nil, []byte(payload), 2); e != 0 {
			t.Fatal(n, e)
		}
	}
	if got, want := gathered(t, new(Gatherer), server), "ab+cd ab+cd ab ab,ab+cd"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestGatheringAllocatesNothing(t *testing.T) {
	client, server, _, to, _ := both(t, local4)
	var g Gatherer
	var room Room
	sum := 0
	received := func(m Message) { sum += len(m.Payload) }
	payload := make([]byte, 1400)
	if n := testing.AllocsPerRun(100, func() {
		for range 3 {
			if e := to.SendTo(uintptr(client), payload); e != 0 {
				t.Fatal(e)
			}
		}
		for range 2 {
			if _, e := g.Receive(server, &room, received); e != 0 {
				t.Fatal(e)
			}
		}
		if _, e := g.Receive(server, &room, received); e != unix.EAGAIN {
			t.Fatal(e)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if sum == 0 {
		t.Error("nothing was received")
	}
}
