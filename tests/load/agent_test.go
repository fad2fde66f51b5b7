package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/footbridge-net/footbridge/internal/testserver"
	"github.com/footbridge-net/footbridge/tests/actors"
	"github.com/footbridge-net/footbridge/tests/world"
)

// newAgent runs an agent in this process.
func newAgent(t *testing.T) (*Hub, *Agent) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "hub")
	hub, err := NewHub(socket)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- actors.Serve(socket, "a", newAgentServer()) }()
	t.Cleanup(func() {
		if err := hub.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("the agent ended with %v", err)
		}
	})
	agent, err := hub.Await("a", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return hub, agent
}

// listen serves TCP on a loopback address.
func listen(t *testing.T, handle func(*net.TCPConn)) string {
	t.Helper()
	return testserver.TCP(t, testserver.Loopback, handle).Addr().String()
}

// await polls the only report of an agent until it is as wanted.
func await(t *testing.T, a *Agent, what string, condition func(Report) bool) {
	t.Helper()
	var reports []Report
	if !world.Poll(10*time.Second, func() bool {
		var err error
		if reports, err = a.Reports(0); err != nil {
			t.Fatal(err)
		}
		return len(reports) == 1 && condition(reports[0])
	}) {
		t.Fatalf("waited for %s; the report is %+v", what, reports)
	}
	if err := a.Stop("*"); err != nil {
		t.Fatal(err)
	}
}

func TestAJobTellsWhatItSees(t *testing.T) {
	_, a := newAgent(t)
	start := func(j Job) {
		t.Helper()
		j.Name, j.Every = "job", ms
		if err := a.Start(j); err != nil {
			t.Fatal(err)
		}
	}
	said := listen(t, func(c *net.TCPConn) { io.WriteString(c, "192.0.2.2:1234\n") })
	start(Job{Kind: Ask, To: said, Want: "192.0.2.2:"})
	await(t, a, "answers", func(r Report) bool { return len(r.Successes(0)) > 5 && r.Failed == 0 })
	start(Job{Kind: Ask, To: said, Want: "192.0.2.3:"})
	await(t, a, "an address that is not the wanted one", func(r Report) bool { return r.Failed > 5 && strings.Contains(r.Latest, "192.0.2.2") })
	start(Job{Kind: Knock, To: said})
	await(t, a, "a door that is open", func(r Report) bool { return len(r.Successes(0)) > 5 })

	echo := listen(t, testserver.Echo)
	start(Job{Kind: Stream, To: echo})
	await(t, a, "a stream", func(r Report) bool { return r.Bytes > 100<<10 && r.Corrupt == "" && len(r.Breaks) == 0 })
	start(Job{Kind: Stream, To: listen(t, func(c *net.TCPConn) { io.CopyN(io.Discard, c, 1) }), Again: true})
	await(t, a, "streams that break", func(r Report) bool { return len(r.Breaks) > 2 })
	start(Job{Kind: Stream, To: listen(t, func(c *net.TCPConn) { io.Copy(c, io.MultiReader(io.LimitReader(c, 9), strings.NewReader("!"), c)) })})
	await(t, a, "a byte that nobody wrote", func(r Report) bool { return r.Corrupt != "" && len(r.Breaks) == 1 })
	start(Job{Kind: Stream, To: listen(t, func(c *net.TCPConn) { io.CopyN(c, c, 4096); io.Copy(io.Discard, c) })})
	await(t, a, "a stream that stands still", func(r Report) bool { return r.LongestGap(0) > 2*gapLimit })
}

func TestDatagramsAreToldApart(t *testing.T) {
	_, a := newAgent(t)
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	go func() {
		b := make([]byte, 100)
		for {
			n, from, err := p.ReadFrom(b)
			if err != nil {
				return
			}
			number := binary.BigEndian.Uint64(b[8:])
			switch number % 4 {
			case 0: // lost
			case 1: // of another address
				p.WriteTo(append(slices.Clone(b[:n]), "192.0.2.99:1"...), from)
			case 2: // somebody else's, and this one's
				p.WriteTo(bytes.Repeat([]byte{1}, 16), from)
				fallthrough
			default:
				p.WriteTo(append(slices.Clone(b[:n]), "192.0.2.2:1"...), from)
			}
		}
	}()
	if err := a.Start(Job{Name: "job", Kind: Echo, To: p.LocalAddr().String(), Want: "192.0.2.2:", Every: ms, Patience: 50 * ms}); err != nil {
		t.Fatal(err)
	}
	await(t, a, "a quarter lost, a quarter wrong", func(r Report) bool {
		if r.Total < 200 {
			return false
		}
		for i, attempt := range r.Attempts[:100] {
			want := map[int]string{0: "no answer", 1: `seen as "192.0.2.99:1", not as "192.0.2.2:"`}[i%4]
			if attempt.Problem != want {
				t.Fatalf("datagram %d: problem %q, want %q", i, attempt.Problem, want)
			}
		}
		return true
	})
}

func TestAnAnswerOfANameServerIsLookedAt(t *testing.T) {
	reply := func(rcode int, records ...string) *dns.Msg {
		m := &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: rcode}}
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		return m
	}
	for _, c := range []struct {
		message *dns.Msg
		good    bool
	}{
		{reply(dns.RcodeSuccess, "a. CNAME b.", "b. A 192.0.2.7"), true},
		{reply(dns.RcodeSuccess, "a. A 192.0.2.8"), false},
		{reply(dns.RcodeSuccess), false},
		{reply(dns.RcodeServerFailure), false},
	} {
		if problem := misheard(c.message, "192.0.2.7"); (problem == "") != c.good {
			t.Errorf("%v: problem %q, good %v", c.message.Answer, problem, c.good)
		}
	}
}

// The 16 bits of an identifier find their question beyond the first 65,536.
func TestAnIdentifierFindsItsQuestion(t *testing.T) {
	x := queries(Job{Question: "a.example"})
	for _, number := range []uint64{1, 65535, 65536, 200000} {
		b := x.request(number)
		if got, _, ok := x.answer(b); !ok || got != number {
			t.Errorf("the answer to question %d is taken for that to %d (%v)", number, got, ok)
		}
	}
	early := x.request(262143)
	x.request(262145)
	if got, _, ok := x.answer(early); !ok || got != 262143 {
		t.Errorf("a late answer to question 262143 is taken for that to %d (%v)", got, ok)
	}
}

func TestAnAgentSignalsAndLooks(t *testing.T) {
	hub, a := newAgent(t)
	before := Now()
	at, err := a.Signal(os.Getpid(), 0)
	if err != nil || at < before || at > Now() {
		t.Errorf("signalled at %v (%v), between %v and %v", at, err, before, Now())
	}
	s, err := a.Process(os.Getpid())
	if err != nil || s.RSS < 1<<20 || s.Threads < 1 || s.FDs < 3 {
		t.Errorf("this process is told to be %+v (%v)", s, err)
	}
	if _, err := a.Process(1 << 30); err == nil {
		t.Error("a process that does not exist is told of")
	}
	if names, err := a.Links(); err != nil || !slices.Contains(names, "lo") {
		t.Errorf("interfaces %v (%v), without lo", names, err)
	}
	if err := a.Start(Job{Name: "x", Kind: "dance", Every: ms}); err == nil {
		t.Error("a job of an unknown kind was started")
	}
	if err := a.Start(Job{Name: "x", Kind: Ask}); err == nil {
		t.Error("a job without an interval was started")
	}
	if _, err := a.Signal(1<<30, syscall.SIGTERM); err == nil {
		t.Error("a signal reached a process that does not exist")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Links(); !errors.Is(err, ErrGone) || !a.Gone() || len(hub.Agents()) != 0 {
		t.Errorf("an agent that is gone: %v", err)
	}
}
