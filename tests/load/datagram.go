package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// pending is an attempt that waits for its datagram.
type pending struct {
	number uint64
	begin  time.Duration
}

// exchange sends a datagram every so often and reads answers; request makes one, and answer returns the number of the
// attempt that a datagram belongs to and what is wrong with it; ok is false for what is nobody's.
type exchange struct {
	request func(number uint64) []byte
	answer  func(datagram []byte) (number uint64, problem string, ok bool)
}

func (x exchange) run(ctx context.Context, j Job, a *account) {
	c, err := (&net.Dialer{}).DialContext(ctx, "udp", j.To)
	if err != nil {
		a.end(a.begin(Now()), Now(), err.Error())
		return
	}
	defer c.Close()
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := c.Read(b)
			now := Now()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue // an ICMP error of one datagram: that one is not answered
			}
			if number, problem, ok := x.answer(b[:n]); ok {
				a.end(number, now, problem)
			}
		}
	}()
	tick := time.NewTicker(j.Every)
	defer tick.Stop()
	var waiting []pending
	for {
		now := Now()
		for len(waiting) > 0 && now-waiting[0].begin > j.patience() {
			a.end(waiting[0].number, now, "no answer")
			waiting = waiting[1:]
		}
		number := a.begin(now)
		waiting = append(waiting, pending{number, now})
		// An error is of an earlier datagram, or of a full queue; either way there will be no answer.
		_, _ = c.Write(x.request(number))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// markSize is the part of an echoed datagram that says whose it is.
const markSize = 16

// echoes is the exchange of a job of kind Echo.
func echoes(j Job) exchange {
	nonce := rand.Uint64()
	return exchange{
		request: func(number uint64) []byte {
			b := binary.BigEndian.AppendUint64(nil, nonce)
			return binary.BigEndian.AppendUint64(b, number)
		},
		answer: func(b []byte) (uint64, string, bool) {
			if len(b) < markSize || binary.BigEndian.Uint64(b) != nonce {
				return 0, "", false
			}
			problem := ""
			if said := string(b[markSize:]); !strings.HasPrefix(said, j.Want) {
				problem = fmt.Sprintf("seen as %q, not as %q", said, j.Want)
			}
			return binary.BigEndian.Uint64(b[8:]), problem, true
		},
	}
}

// queries is the exchange of a job of kind Query. 65,536 questions in flight are more than any patience lasts for.
func queries(j Job) exchange {
	latest := make(chan uint64, 1)
	latest <- 0
	return exchange{
		request: func(number uint64) []byte {
			<-latest
			latest <- number
			q := new(dns.Msg)
			q.SetQuestion(dns.Fqdn(j.Question), dns.TypeA)
			q.Id = uint16(number)
			b, err := q.Pack()
			if err != nil {
				panic(fmt.Sprintf("load: the question for %q cannot be packed: %v", j.Question, err))
			}
			return b
		},
		answer: func(b []byte) (uint64, string, bool) {
			m := new(dns.Msg)
			if err := m.Unpack(b); err != nil {
				return 0, "", false
			}
			newest := <-latest
			latest <- newest
			number := newest&^0xffff | uint64(m.Id)
			if number > newest {
				number -= 1 << 16
			}
			return number, misheard(m, j.Want), true
		},
	}
}

// misheard says what is wrong with the answer of a name server.
func misheard(m *dns.Msg, want string) string {
	if m.Rcode != dns.RcodeSuccess {
		return dns.RcodeToString[m.Rcode]
	}
	if want == "" {
		return ""
	}
	for _, rr := range m.Answer {
		if r, ok := rr.(*dns.A); ok {
			if address, ok := netip.AddrFromSlice(r.A); ok && address.Unmap().String() == want {
				return ""
			}
		}
	}
	return fmt.Sprintf("the answer %v does not have %s", m.Answer, want)
}
