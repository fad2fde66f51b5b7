package world

import (
	"fmt"
	"net"
	"strings"

	"github.com/miekg/dns"
)

// The zone that the world's name servers answer. Everything else does not exist.
//
//	web.example.test      A, AAAA     the web server
//	v4only.example.test   A
//	v6only.example.test   AAAA
//	alias.example.test    CNAME web
//	text.example.test     TXT "a text"
//	middle.example.test   TXT of about 1,000 bytes: more than plain UDP carries, less than EDNS0 does
//	big.example.test      TXT of about 5,000 bytes: only TCP carries it
//	whoami.example.test   TXT "first" or "second": which server answered
//	servfail., refused., notimp.example.test   that rcode
//	silent.example.test   no answer at all
//	10.100.51.198.in-addr.arpa and the web server's IPv6 address: PTR web.example.test
const zone = "example.test."

// nameServer answers one address's questions.
type nameServer struct{ name string }

// ServeDNS answers one question.
func (s nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	if len(q.Question) != 1 {
		m.Rcode = dns.RcodeFormatError
		w.WriteMsg(m)
		return
	}
	question := q.Question[0]
	name := strings.ToLower(question.Name)
	host, inZone := strings.CutSuffix(name, "."+zone)
	switch {
	case inZone && host == "silent":
		return
	case inZone && host == "servfail":
		m.Rcode = dns.RcodeServerFailure
	case inZone && host == "refused":
		m.Rcode = dns.RcodeRefused
	case inZone && host == "notimp":
		m.Rcode = dns.RcodeNotImplemented
	default:
		records, exists := s.records(name, host, inZone, question)
		m.Answer = records
		if !exists {
			m.Rcode = dns.RcodeNameError
			m.Ns = []dns.RR{record("example.test. 60 IN SOA ns.example.test. root.example.test. 1 60 60 60 60")}
		}
	}
	if opt := q.IsEdns0(); opt != nil {
		m.SetEdns0(1232, opt.Do())
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		size := dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = min(max(int(opt.UDPSize()), dns.MinMsgSize), 1232)
		}
		m.Truncate(size)
	}
	w.WriteMsg(m)
}

// records returns the answers to a question, and whether the name exists.
func (s nameServer) records(name, host string, inZone bool, q dns.Question) ([]dns.RR, bool) {
	is := func(t uint16) bool { return q.Qtype == t || q.Qtype == dns.TypeANY }
	var list []dns.RR
	add := func(format string, args ...any) {
		list = append(list, record(q.Name+" 60 IN "+fmt.Sprintf(format, args...)))
	}
	text := func(value string) {
		if is(dns.TypeTXT) {
			add("TXT %q", value)
		}
	}
	if !inZone {
		for _, address := range []string{"WEB4", "WEB6"} {
			reverse, err := dns.ReverseAddr(Addr(address).String())
			if err == nil && reverse == name {
				if is(dns.TypePTR) {
					add("PTR web.%s", zone)
				}
				return list, true
			}
		}
		return nil, name == zone
	}
	switch host {
	case "web", "v4only", "v6only":
		if is(dns.TypeA) && host != "v6only" {
			add("A %s", Addr("WEB4"))
		}
		if is(dns.TypeAAAA) && host != "v4only" {
			add("AAAA %s", Addr("WEB6"))
		}
	case "alias":
		add("CNAME web.%s", zone)
		if is(dns.TypeA) {
			list = append(list, record(fmt.Sprintf("web.%s 60 IN A %s", zone, Addr("WEB4"))))
		}
		if is(dns.TypeAAAA) {
			list = append(list, record(fmt.Sprintf("web.%s 60 IN AAAA %s", zone, Addr("WEB6"))))
		}
	case "text":
		text("a text")
	case "whoami":
		text(s.name)
	case "middle", "big":
		lines := map[string]int{"middle": 5, "big": 25}[host]
		for i := range lines {
			text(fmt.Sprintf("%02d ", i) + strings.Repeat("x", 190))
		}
	default:
		return nil, false
	}
	return list, true
}

// record parses a resource record written in this file; a mistake in it is a mistake of the program.
func record(text string) dns.RR {
	rr, err := dns.NewRR(text)
	if err != nil {
		panic(fmt.Sprintf("world: bad resource record %q: %v", text, err))
	}
	return rr
}
