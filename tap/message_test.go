package tap

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

func TestARequestComesAsItWasSent(t *testing.T) {
	o := testLink()
	o.Sysctls = map[string]string{"net.ipv4.conf.IFNAME.forwarding": "1"}
	want := request{Op: opAttach, Link: o}
	b, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeRequest(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	// Zero addresses stay zero.
	b, _ = request{Op: opDetach}.encode()
	if got, err := decodeRequest(b); err != nil || got.Link.Gateway4.IsValid() {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestTheLongestRequestFits(t *testing.T) {
	o := LinkOptions{Name: "fifteen-letters", Sysctls: map[string]string{}}
	for i := range maxList {
		a := netip.AddrFrom16([16]byte{0xfd, 1, 2, 3, 4, 5, 6, 7, 0xa, 0xb, 0xc, 0xd, 0xe, 0xf, 0xff, byte(i)})
		o.Addresses = append(o.Addresses, netip.PrefixFrom(a, 128))
		o.Neighbors = append(o.Neighbors, Neighbor{a, [6]byte{0xfe, 0xff, 0xff, 0xff, 0xff, byte(i)}})
		o.Sysctls[fmt.Sprintf("net.ipv6.conf.fifteen-letters.router_solicitation_max_interval%d", i)] = "1234567890"
	}
	o, err := o.complete()
	if err != nil {
		t.Fatal(err)
	}
	b, err := request{Op: opAttach, Link: o}.encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decodeRequest(b); err != nil {
		t.Error(err)
	}
	// It goes through the socket in one piece.
	ours, theirs, err := fdpass.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer theirs.Close()
	if err := ours.Send(b); err != nil {
		t.Error(err)
	}
	o.Sysctls["net.x.y"] = strings.Repeat("9", messageLimit)
	if _, err := (request{Op: opAttach, Link: o}).encode(); !errors.Is(err, ErrOptions) {
		t.Errorf("a request that is too long: %v", err)
	}
}

func TestAnErrorCrossesTheSocket(t *testing.T) {
	req := request{Op: opAttach, Link: LinkOptions{Name: "eth0", Queues: 1}}
	for _, test := range []struct {
		err error
		is  []error
	}{
		{fmt.Errorf("eth0: %w (bridge)", ErrNameTaken), []error{ErrNameTaken}},
		{tunError(unix.EACCES), []error{ErrNoTun, unix.EACCES, os.ErrPermission}},
		{tunError(unix.ENOENT), []error{ErrNoTun, os.ErrNotExist}},
		{fmt.Errorf("add 10.0.0.1: %w", unix.ENOBUFS), []error{unix.ENOBUFS}},
		{&os.PathError{Op: "open", Path: "/proc/sys", Err: syscall.EROFS}, []error{syscall.EROFS}},
	} {
		_, err := decodeReply(failed(test.err).encode(), req, 0)
		if err == nil || err.Error() != test.err.Error() {
			t.Errorf("%v came as %v", test.err, err)
		}
		for _, is := range test.is {
			if !errors.Is(err, is) {
				t.Errorf("%v came without %v", test.err, is)
			}
		}
		if errors.Is(err, ErrReply) || errors.Is(err, ErrBusy) {
			t.Errorf("%v came with an error it has not", test.err)
		}
	}
}

func TestRepliesThatMakeNoSense(t *testing.T) {
	req := request{Op: opAttach, Link: LinkOptions{Name: "eth0", Queues: 2}}
	for _, test := range []struct {
		reply       string
		descriptors int
		good        bool
	}{
		{`{"Index":2,"Queues":2,"MAC":[2,0,0,0,0,1],"Features":{}}`, 2, true},
		{`{"Index":2,"Queues":2}`, 1, false},
		{`{"Index":2,"Queues":3}`, 3, false},
		{`{"Index":2,"Queues":2}`, 0, false},
		{`{"Index":0,"Queues":2}`, 2, false},
		{`{"Index":-1,"Queues":2}`, 2, false},
		{`{"Index":2,"Queues":2}{}`, 2, false},
		{`{"Index":2,"Queues":2,"Else":1}`, 2, false},
		{`{"Index":2,"Queues":2,"Warnings":[` + strings.Repeat(`"",`, maxWarnings) + `""]}`, 2, false},
		{strings.Repeat(" ", messageLimit) + `{}`, 2, false},
		{``, 2, false},
		{`null`, 0, false},
		{`[]`, 2, false},
	} {
		_, err := decodeReply([]byte(test.reply), req, test.descriptors)
		if (err == nil) != test.good || (err != nil && !errors.Is(err, ErrReply)) {
			t.Errorf("%.60s with %d descriptors: %v", test.reply, test.descriptors, err)
		}
	}
	if _, err := decodeReply([]byte(`{"Queues":0}`), request{Op: opDetach}, 1); !errors.Is(err, ErrReply) {
		t.Errorf("a descriptor that nobody asked for: %v", err)
	}
}

func TestTextsOfTheHelperAreHarmless(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"plain, ünïcode", "plain, ünïcode"},
		{"\x1b[31mred\r\nline\x00\u009b", " [31mred  line  "},
		{"bad\xff", "bad?"},
	} {
		if got := clean(test.text); got != test.want {
			t.Errorf("clean(%q) = %q, want %q", test.text, got, test.want)
		}
	}
	if n := len(clean(strings.Repeat("ü", textLimit))); n > textLimit {
		t.Errorf("%d bytes are left of a long text", n)
	}
}

func TestOnlyQueuesAreTakenForQueues(t *testing.T) {
	_, ns := newWorld(t, 0)
	d := mustAttach(t, ns, testLink())
	fd := int(d.Queues()[0].fd)
	if err := checkQueue(fd, "eth0"); err != nil {
		t.Error(err)
	}
	if err := checkQueue(fd, "eth1"); err == nil {
		t.Error("a queue of eth0 was taken for one of eth1")
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, 12); err != nil {
		t.Fatal(err)
	}
	if err := checkQueue(fd, "eth0"); err == nil {
		t.Error("a queue with headers of 12 bytes was taken")
	}
	for _, path := range []string{"/dev/null", "/dev/net/tun", "/"} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkQueue(int(f.Fd()), "eth0"); err == nil {
			t.Errorf("%s was taken for a queue", path)
		}
		f.Close()
	}
}

func FuzzDecodeReply(f *testing.F) {
	f.Add([]byte(`{"Index":2,"Queues":1,"MAC":[2,0,0,0,0,1],"Features":{"TSO":true},"Warnings":["x"]}`), 1)
	f.Add([]byte(`{"Error":"no","Kind":"busy","Errno":16}`), 0)
	req := request{Op: opAttach, Link: LinkOptions{Name: "eth0", Queues: 1}}
	f.Fuzz(func(t *testing.T, b []byte, descriptors int) {
		r, err := decodeReply(b, req, descriptors)
		if err == nil && (descriptors != 1 || r.Queues != 1 || r.Index <= 0 || len(r.Warnings) > maxWarnings) {
			t.Errorf("accepted: %+v", r)
		}
		if err != nil && !errors.Is(err, ErrReply) && !utf8.ValidString(err.Error()) {
			t.Errorf("a text that is not UTF-8: %q", err)
		}
	})
}
