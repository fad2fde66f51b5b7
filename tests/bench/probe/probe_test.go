package probe

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// programVariable makes the test program be probe itself.
const programVariable = "FOOTBRIDGE_TEST_PROBE"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		os.Exit(Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	c.Env = append(os.Environ(), programVariable+"=1")
	c.Stderr = t.Output()
	return c
}

// serve starts a server on an address and returns its port.
func serve(t *testing.T, listen string) string {
	t.Helper()
	c := program(t, "serve", "-port", "0", "-listen", listen)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // it may have ended with the test's context
		_ = c.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server says %q: %v", line, err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "serving "))
}

// result runs a measurement as a program of its own.
func result(t *testing.T, args ...string) Result {
	t.Helper()
	out, err := program(t, args...).Output()
	if err != nil {
		t.Fatalf("probe %s: %v", strings.Join(args, " "), err)
	}
	var r Result
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("probe %s prints %q: %v", strings.Join(args, " "), out, err)
	}
	return r
}

func TestEveryKindMeasuresBothFamilies(t *testing.T) {
	port := serve(t, "::")
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		to := host + ":" + port
		for _, args := range [][]string{
			{"rr"},
			{"rr", "-parallel", "3", "-size", "32768"},
			{"crr"},
			{"crr", "-parallel", "4", "-size", "100"},
			{"crr", "-close", "client", "-time", "20ms"},
			{"udprr"},
			{"udprr", "-parallel", "3", "-size", "1400"},
			{"udpburst", "-rate", "2000", "-parallel", "2"},
		} {
			args := append([]string{args[0], "-to", to, "-time", "100ms"}, args[1:]...)
			t.Run(strings.Join(args, " "), func(t *testing.T) {
				r := result(t, args...)
				if r.Kind != args[0] || r.Ops < 3 || r.Errors != 0 || r.Problem != "" {
					t.Fatalf("measured %+v", r)
				}
				if r.P50 <= 0 || r.P50 > r.P90 || r.P90 > r.P99 || r.P99 > r.Max || r.Max > r.Seconds*1e6 {
					t.Errorf("percentiles out of order: %+v", r)
				}
				// Seconds are rounded to thousandths.
				if ops := float64(r.Ops); r.Rate < ops/(r.Seconds+0.001) || r.Rate > ops/(r.Seconds-0.001) {
					t.Errorf("%d operations in %v s are not %v a second", r.Ops, r.Seconds, r.Rate)
				}
				if r.Seconds < 0.02 {
					t.Errorf("it ended after %v s", r.Seconds)
				}
			})
		}
	}
}

func TestBurstKeepsItsRateAndCountsWhatIsLost(t *testing.T) {
	to := "127.0.0.1:" + serve(t, "127.0.0.1")
	r := result(t, "udpburst", "-to", to, "-time", "500ms", "-rate", "4000", "-parallel", "2")
	if r.Sent > 2002 || r.Sent < 1000 || r.Ops+r.Errors != r.Sent {
		t.Errorf("of 4000 a second for half a second: %+v", r)
	}
}

func TestCRRLeavesTheClientsPortsAlone(t *testing.T) {
	port := serve(t, "127.0.0.1")
	r := result(t, "crr", "-to", "127.0.0.1:"+port, "-time", "200ms")
	if r.Errors != 0 {
		t.Fatalf("measured %+v", r)
	}
	// TIME-WAIT (6) stands in the table with the local port of the side that closed first.
	table, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	var n int
	fmt.Sscan(port, &n)
	server := fmt.Sprintf(":%04X", n)
	atServer, atClient := 0, 0
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 4 || f[3] != "06" {
			continue
		}
		if strings.HasSuffix(f[1], server) {
			atServer++
		}
		if strings.HasSuffix(f[2], server) {
			atClient++
		}
	}
	if atServer == 0 || atClient != 0 {
		t.Errorf("after %d connections the server's side keeps %d, the client's %d", r.Ops, atServer, atClient)
	}
}

func TestNothingThereIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := l.Addr().String()
	l.Close()
	for _, args := range [][]string{{"rr"}, {"crr"}, {"hold"}} {
		r := result(t, append(args, "-to", to, "-time", "100ms")...)
		if r.Ops != 0 || r.Errors == 0 || !strings.Contains(r.Problem, "connection refused") {
			t.Errorf("%s of a closed port: %+v", args[0], r)
		}
	}
}

func TestLostDatagramsAreErrors(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var seen atomic.Int64
	go func() { // every second one comes back
		b := make([]byte, 2048)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if seen.Add(1)%2 == 0 {
				_, _ = c.WriteTo(b[:n], from)
			}
		}
	}()
	r := result(t, "udprr", "-to", c.LocalAddr().String(), "-time", "500ms", "-size", "8")
	if r.Ops == 0 || r.Errors == 0 || r.Ops > r.Errors+1 || r.Errors > r.Ops+1 {
		t.Errorf("every second one lost: %+v", r)
	}
}

func TestHoldKeepsConnectionsOpen(t *testing.T) {
	to := "127.0.0.1:" + serve(t, "127.0.0.1")
	c := program(t, "hold", "-to", to, "-parallel", "20", "-time", "1h")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer c.Process.Kill()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var r Result
	if err := json.Unmarshal(line, &r); err != nil || r.Ops != 20 || r.Errors != 0 {
		t.Fatalf("%s: %v", line, err)
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	sockets := 0
	for _, fd := range fds {
		if to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", c.Process.Pid, fd.Name())); strings.HasPrefix(to, "socket:") {
			sockets++
		}
	}
	if sockets < 20 {
		t.Errorf("%d sockets are open", sockets)
	}
}

// nameServer answers questions for db, and drops each one in eight.
func nameServer(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	s := &miekg.Server{PacketConn: c, Handler: miekg.HandlerFunc(func(w miekg.ResponseWriter, q *miekg.Msg) {
		if n++; n%8 == 0 {
			return
		}
		m := new(miekg.Msg).SetReply(q)
		if q.Question[0].Name == "db." && q.Question[0].Qtype == miekg.TypeA {
			m.Answer = append(m.Answer, &miekg.A{Hdr: miekg.RR_Header{Name: "db.", Rrtype: miekg.TypeA, Class: miekg.ClassINET}, A: net.IPv4(10, 0, 0, 1)})
		} else {
			m.Rcode = miekg.RcodeNameError
		}
		_ = w.WriteMsg(m)
	})}
	done := make(chan error, 1)
	go func() { done <- s.ActivateAndServe() }()
	t.Cleanup(func() {
		_ = s.Shutdown()
		<-done
	})
	return c.LocalAddr().String()
}

func TestLookupsGoOnAfterLostAnswers(t *testing.T) {
	to := nameServer(t)
	r := result(t, "dns", "-to", to, "-name", "db", "-parallel", "4", "-sockets", "2", "-time", "700ms")
	// Each of eight slots waits 200 ms for an answer that was dropped, then asks again.
	if r.Ops < 30 || r.Errors < 8 || r.Problem != errNoAnswer.Error() {
		t.Errorf("measured %+v", r)
	}
	if r := result(t, "dns", "-to", to, "-name", "nobody", "-time", "50ms"); r.Ops != 0 || r.Errors == 0 || r.Problem != "the answer's code is 3" {
		t.Errorf("of a name that nobody has: %+v", r)
	}
}

func TestNamesThatCannotBeAskedForAreErrors(t *testing.T) {
	for _, name := range []string{"", ".", "a..b", strings.Repeat("x", 64)} {
		if q, err := dnsQuestion(name); err == nil {
			t.Errorf("%q is asked for by %x", name, q)
		}
	}
	q, err := dnsQuestion("c1.net.")
	if err != nil {
		t.Fatal(err)
	}
	m := new(miekg.Msg)
	if err := m.Unpack(q); err != nil || m.Question[0].Name != "c1.net." || m.Question[0].Qtype != miekg.TypeA {
		t.Errorf("%x is %v: %v", q, m, err)
	}
}

func TestWrongUseIsToldOff(t *testing.T) {
	for _, args := range [][]string{
		{}, {"walk", "-to", "127.0.0.1:1"}, {"rr"}, {"rr", "-to", "localhost:1"}, {"rr", "-to", "127.0.0.1:1", "-size", "32769"},
		{"rr", "-to", "127.0.0.1:1", "-parallel", "0"}, {"crr", "-to", "127.0.0.1:1", "-close", "both"}, {"serve", "-port", "65536"},
		{"serve", "-listen", "here"},
	} {
		c := program(t, args...)
		var said bytes.Buffer
		c.Stderr = &said
		if err := c.Run(); err == nil || said.Len() == 0 {
			t.Errorf("probe %q: %v, and it says %q", args, err, said.String())
		}
	}
}

func TestATallysPercentilesAreWithinABucket(t *testing.T) {
	var a, b tally
	for i := 1; i <= 1000; i++ {
		x := &a
		if i%3 == 0 {
			x = &b
		}
		x.done(time.Duration(i) * time.Microsecond)
	}
	b.failed(io.ErrClosedPipe)
	a.add(&b)
	if a.ops != 1000 || a.errors != 1 || a.problem != io.ErrClosedPipe || a.max != time.Millisecond {
		t.Errorf("of 1,000 and an error: %d, %d, %v, max %v", a.ops, a.errors, a.problem, a.max)
	}
	for part, micros := range map[float64]int{0.5: 500, 0.9: 900, 0.99: 990, 1: 1000} {
		want := time.Duration(micros) * time.Microsecond
		if got := a.percentile(part); got < want || got > want+want/subBuckets {
			t.Errorf("%v of all: %v, not %v", part, got, want)
		}
	}
	if got := new(tally).percentile(0.5); got != 0 {
		t.Errorf("of none: %v", got)
	}
	for ns := uint64(1); ns < 1<<62; ns += ns/3 + 1 {
		if i := bucket(ns); ns > upper(i) || i > 0 && ns <= upper(i-1) {
			t.Errorf("%d ns are counted in bucket %d, which ends at %d", ns, i, upper(i))
		}
	}
}

// TestMeasuringMakesNoMemory: with the collector off, what each operation would make stays for the whole run.
func TestMeasuringMakesNoMemory(t *testing.T) {
	to := kernelAddress(netip.MustParseAddrPort("127.0.0.1:" + serve(t, "127.0.0.1")))
	fd, err := to.dial(unix.SOCK_STREAM, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(fd)
	request, answer := []byte{0}, []byte{0}
	if n := testing.AllocsPerRun(100, func() {
		if err := ask(fd, request, answer); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a round trip makes %v pieces of memory", n)
	}
	o, request := options{to: to}, []byte{closing}
	if n := testing.AllocsPerRun(100, func() {
		if err := o.exchange(request, answer); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a connection makes %v pieces of memory", n)
	}
}

func TestAServerRemembersAsManyBurstsAsItHasRoomFor(t *testing.T) {
	s := new(server)
	for i := uint64(1); i <= maxRuns+1; i++ {
		s.runOf(i).datagrams = i
	}
	if n := s.runOf(2).datagrams; n != 2 {
		t.Errorf("the second has %d", n)
	}
	if n := s.runOf(1).datagrams; n != 0 {
		t.Errorf("the first, whose place was taken, has %d", n)
	}
	if m := binary.LittleEndian.AppendUint64(nil, countMark); len(m) != 8 {
		t.Error("a mark is eight bytes")
	}
}
