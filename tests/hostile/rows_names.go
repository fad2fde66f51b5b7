package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/footbridge-net/footbridge/tests/world"
)

const groupNames = "names"

// naming are the rows about the name server of the gateways.
var naming = []row{
	{group: groupNames, name: "outside names from an internal network: A AAAA PTR SRV TXT ANY, UDP and TCP", run: namesFromInternal},
	{group: groupNames, name: "the same by somebody who is on another network too", run: namesMultiHomed},
	{group: groupNames, name: "names and addresses of other networks", run: namesOfOthers},
	{group: groupNames, name: "forged answers, to the asker and to the forwarder's ports", run: forgedAnswers},
	{group: groupNames, name: "a container named as a name of the outside", run: namedAsOutside},
	{group: groupNames, name: "malformed questions, UDP and TCP, while others ask", run: malformedQuestions},
	{group: groupNames, name: "10,000 idle TCP connections, trickles and lies about lengths", run: slowQuestions},
}

// question is a DNS query in wire format.
func question(id uint16, name string) []byte {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), dns.TypeA)
	m.Id = id
	b, err := m.Pack()
	if err != nil {
		panic(fmt.Sprintf("hostile: the question for %q: %v", name, err)) // names are written in this program
	}
	return b
}

// AskArgs are questions for a name server.
type AskArgs struct {
	Server    string // with port
	Questions []Question
	Wait      time.Duration
}

// Question is one of them.
type Question struct {
	Name string
	Type uint16
	TCP  bool
}

// Answer is what a server said: an rcode by name, or why there was none, and the records' data.
type Answer struct {
	Rcode string
	Data  []string
}

// Ask asks one question after the other.
func (a *Actor) Ask(args AskArgs, answers *[]Answer) error {
	for _, q := range args.Questions {
		m := new(dns.Msg)
		m.SetQuestion(dns.Fqdn(q.Name), q.Type)
		c := dns.Client{Timeout: args.Wait}
		if q.TCP {
			c.Net = "tcp"
		}
		in, _, err := c.Exchange(m, args.Server)
		if err != nil {
			*answers = append(*answers, Answer{Rcode: err.Error()})
			continue
		}
		answer := Answer{Rcode: dns.RcodeToString[in.Rcode]}
		for _, rr := range in.Answer {
			answer.Data = append(answer.Data, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
		*answers = append(*answers, answer)
	}
	return nil
}

func (a *actor) ask(server netip.Addr, questions ...Question) ([]Answer, error) {
	var answers []Answer
	args := AskArgs{Server: netip.AddrPortFrom(server, 53).String(), Questions: questions, Wait: 2 * time.Second}
	err := a.call("Ask", args, &answers)
	return answers, err
}

// outsideQuestions are for names that only the outside knows.
func outsideQuestions() []Question {
	var list []Question
	for _, tcp := range []bool{false, true} {
		for _, q := range []Question{
			{Name: "web.example.test", Type: dns.TypeA}, {Name: "web.example.test", Type: dns.TypeAAAA}, {Name: "web", Type: dns.TypeA},
			{Name: "alias.example.test", Type: dns.TypeCNAME}, {Name: "text.example.test", Type: dns.TypeTXT}, {Name: "_http._tcp.example.test", Type: dns.TypeSRV},
			{Name: "10.100.51.198.in-addr.arpa", Type: dns.TypePTR}, {Name: "example.test", Type: dns.TypeANY}, {Name: "example.test", Type: dns.TypeMX},
			{Name: "secret-data.exfiltration.example", Type: dns.TypeA}, {Name: "secret.exfiltration.example", Type: dns.TypeHTTPS}, {Name: ".", Type: dns.TypeNS},
		} {
			q.TCP = tcp
			list = append(list, q)
		}
	}
	return list
}

// resolverLanes are where questions to the host's resolvers are seen.
func (s *stage) resolverLanes() []lane {
	root := s.actors[onRoot]
	return []lane{{actor: root, iface: "uplink", name: "the host's uplink"}, {actor: root, iface: "lo", name: "the host's loopback"}, {actor: root, iface: "lan", name: "the host's LAN"}}
}

// upstream counts what leaves the host for port 53 while something is done.
func (s *stage) upstream(do func() error) (seen [][]byte, err error) {
	var ids []int
	lanes := s.resolverLanes()
	for _, l := range lanes {
		var id int
		if err := l.actor.call("Watch", WatchArgs{Interface: l.iface, Port: 53, Outgoing: true}, &id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	if err := do(); err != nil {
		return nil, err
	}
	for i, l := range lanes {
		var frames [][]byte
		if err := l.actor.call("Watched", ids[i], &frames); err != nil {
			return nil, err
		}
		seen = append(seen, frames...)
	}
	return seen, nil
}

// refusedQuietly asks for outside names, of which none may be answered and nothing may leave.
func (s *stage) refusedQuietly(r *result, a *actor, servers ...netip.Addr) error {
	seen, err := s.upstream(func() error {
		for _, server := range servers {
			answers, err := a.ask(server, outsideQuestions()...)
			if err != nil {
				return err
			}
			for i, answer := range answers {
				r.tried++
				if len(answer.Data) > 0 || answer.Rcode != "NXDOMAIN" && answer.Rcode != "REFUSED" {
					r.in("%s, %v at %s: %s %v", a.Name, outsideQuestions()[i], server, answer.Rcode, answer.Data)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, f := range seen {
		r.in("left the host: %x", f[:min(len(f), 90)])
	}
	return nil
}

func namesFromInternal(s *stage, r *result) error {
	mole := s.machines["mole"]
	answers, err := mole.actor.ask(mole.gw4, Question{Name: "dora", Type: dns.TypeA})
	if err != nil {
		return err
	}
	if len(answers[0].Data) == 0 {
		return fmt.Errorf("the internal network's own names are not answered: %v", answers)
	}
	return s.refusedQuietly(r, mole.actor, mole.gw4, mole.gw6)
}

func namesMultiHomed(s *stage, r *result) error {
	dora, home := s.machines["dora/"+insideNet], s.machines["dora"]
	seen, err := s.upstream(func() error {
		answers, err := dora.actor.ask(home.gw4, Question{Name: "web.example.test", Type: dns.TypeA})
		if err == nil && len(answers[0].Data) == 0 {
			err = fmt.Errorf("the other network's gateway does not answer: %v", answers)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(seen) == 0 {
		return fmt.Errorf("an allowed question was not seen to leave the host: the watch shows nothing")
	}
	return s.refusedQuietly(r, dora.actor, dora.gw4, dora.gw6)
}

func namesOfOthers(s *stage, r *result) error {
	me := s.machines["mallory"]
	var questions []Question
	for _, name := range []string{"carol", "mole", "carol." + awayNet, "mole." + insideNet} {
		questions = append(questions, Question{Name: name, Type: dns.TypeA}, Question{Name: name, Type: dns.TypeAAAA})
	}
	for _, other := range []string{"carol", "mole"} {
		for _, a := range []netip.Addr{s.machines[other].ip4, s.machines[other].ip6} {
			reverse, err := dns.ReverseAddr(a.String())
			if err != nil {
				return err
			}
			questions = append(questions, Question{Name: reverse, Type: dns.TypePTR})
		}
	}
	own, err := me.actor.ask(me.gw4, Question{Name: "alice", Type: dns.TypeA})
	if err != nil {
		return err
	}
	if len(own[0].Data) == 0 {
		return fmt.Errorf("a neighbour's name is not answered: %v", own)
	}
	for _, server := range []netip.Addr{me.gw4, me.gw6} {
		answers, err := me.actor.ask(server, questions...)
		if err != nil {
			return err
		}
		for i, answer := range answers {
			r.tried++
			if len(answer.Data) > 0 {
				r.in("%v: %v", questions[i], answer.Data)
			}
		}
	}
	return nil
}

// forgedAnswers sends answers for a question that nobody answers: to the one who asks, and to the ports from which the
// forwarder may ask on the host.
func forgedAnswers(s *stage, r *result) error {
	me, alice := s.machines["mallory"], s.machines["alice"]
	const name = "silent.example.test"
	forged := netip.MustParseAddr("10.66.66.66")
	answer := func(id uint16) []byte {
		m := new(dns.Msg)
		if err := m.Unpack(question(id, name)); err != nil {
			return nil
		}
		m.Response, m.RecursionAvailable = true, true
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 600}, A: net.IP(forged.AsSlice())}}
		b, _ := m.Pack()
		return b
	}
	random := random(s.seed)
	var frames [][]byte
	for range s.rounds(4000, 60000) {
		b := answer(uint16(random.Intn(65536)))
		port := uint16(32768 + random.Intn(28232))
		frames = append(frames,
			inEthernet(me.gateway, me.mac, udpPacket(netip.AddrPortFrom(me.ip4, 53), netip.AddrPortFrom(world.Addr("UPLINK4"), port), b)),
			inEthernet(alice.mac, me.mac, udpPacket(netip.AddrPortFrom(me.gw4, 53), netip.AddrPortFrom(alice.ip4, port), b)),
			inEthernet(alice.mac, me.mac, udpPacket(netip.AddrPortFrom(me.ip4, 53), netip.AddrPortFrom(alice.ip4, port), b)))
	}
	done := make(chan error, 1)
	var sent SendReply
	go func() { done <- me.actor.call("Send", SendArgs{Interface: me.iface, Frames: frames}, &sent) }()
	for range s.rounds(1, 10) {
		answers, err := alice.actor.ask(alice.gw4, Question{Name: name, Type: dns.TypeA}, Question{Name: "web.example.test", Type: dns.TypeA})
		if err != nil {
			return err
		}
		if len(answers[0].Data) > 0 {
			r.in("alice was answered: %v", answers[0])
		}
		if len(answers[1].Data) != 1 || answers[1].Data[0] != world.Addr("WEB4").String() {
			r.bad("alice was not answered well while the answers were forged: %v", answers[1])
		}
	}
	err := <-done
	r.tried += sent.Sent
	return err
}

func namedAsOutside(s *stage, r *result) error {
	const outside = "web.example.test"
	if _, err := s.footbridge("run", "-d", "--name", "hijack", "--network", homeNet, "--network-alias", outside, "--network-alias", "v4only.example.test", "--", "sleep", "infinity"); err != nil {
		return err
	}
	defer s.footbridge("rm", "-f", "hijack")
	carol := s.machines["carol"]
	for _, name := range []string{outside, "v4only.example.test"} {
		answers, err := carol.actor.ask(carol.gw4, Question{Name: name, Type: dns.TypeA})
		if err != nil {
			return err
		}
		r.tried++
		if len(answers[0].Data) != 1 || answers[0].Data[0] != world.Addr("WEB4").String() {
			r.in("on another network %s is %v", name, answers[0])
		}
	}
	return nil
}

// malformedMessages are questions that no resolver asks; random ones among them by the seed.
func malformedMessages(s *stage, n int) [][]byte {
	good := question(1, "alice")
	change := func(f func(b []byte) []byte) []byte { return f(append([]byte(nil), good...)) }
	list := [][]byte{
		{}, {0}, make([]byte, 11), make([]byte, 12), make([]byte, 65507),
		change(func(b []byte) []byte { binary.BigEndian.PutUint16(b[4:], 65535); return b }),                                                         // questions
		change(func(b []byte) []byte { binary.BigEndian.PutUint16(b[6:], 65535); return b }),                                                         // answers
		change(func(b []byte) []byte { binary.BigEndian.PutUint16(b[10:], 65535); return b }),                                                        // additional
		change(func(b []byte) []byte { b[2] |= 0x80; return b }),                                                                                     // an answer
		change(func(b []byte) []byte { b[2] |= 0x28; return b }),                                                                                     // an update
		append(change(func(b []byte) []byte { return b[:12] }), 0xc0, 12, 0, 1, 0, 1),                                                                // a name that points at itself
		append(change(func(b []byte) []byte { return b[:12] }), 0xc0, 14, 0xc0, 12, 0, 1, 0, 1),                                                      // two that point at each other
		append(change(func(b []byte) []byte { return b[:12] }), 63, 'a', 0, 1),                                                                       // a label longer than the message
		append(change(func(b []byte) []byte { return b[:12] }), 0x80, 0x40, 0, 1),                                                                    // reserved labels
		append(append(change(func(b []byte) []byte { return b[:12] }), make([]byte, 300)...), 0, 1, 0, 1),                                            // no name, and more
		append(change(func(b []byte) []byte { return b[:12] }), []byte(strings.Repeat("\x3f"+strings.Repeat("a", 63), 5)+"\x00\x00\x01\x00\x01")...), // 320 bytes of a name
	}
	for i := range good {
		list = append(list, good[:i])
	}
	random := random(s.seed)
	for range n {
		b := append([]byte(nil), good...)
		for range 1 + random.Intn(6) {
			b[random.Intn(len(b))] = byte(random.Intn(256))
		}
		list = append(list, b)
	}
	return list
}

func malformedQuestions(s *stage, r *result) error {
	me, alice := s.machines["mallory"], s.machines["alice"]
	messages := malformedMessages(s, s.rounds(2000, 30000))
	var frames [][]byte
	for i, m := range messages {
		if len(m) > 1400 {
			continue
		}
		frames = append(frames, inEthernet(me.gateway, me.mac, udpPacket(netip.AddrPortFrom(me.ip4, uint16(1024+i%60000)), netip.AddrPortFrom(me.gw4, 53), m)))
	}
	return s.askMeanwhile(r, alice, func() error {
		var sent SendReply
		err := together(
			func() error { return me.actor.call("Send", SendArgs{Interface: me.iface, Frames: frames}, &sent) },
			func() error {
				server := netip.AddrPortFrom(me.gw4, 53).String()
				return me.actor.call("TCPMessages", TCPArgs{Server: server, Messages: messages}, &struct{}{})
			})
		r.tried += sent.Sent + len(messages)
		return err
	})
}

// together does things at the same time.
func together(things ...func() error) error {
	failed := make([]error, len(things))
	var all sync.WaitGroup
	for i, f := range things {
		all.Go(func() { failed[i] = f() })
	}
	all.Wait()
	return errors.Join(failed...)
}

// answerBound is within what others are answered, whatever one does to the name server.
const answerBound = 50 * time.Millisecond

// askMeanwhile measures a neighbour's questions, over UDP and TCP, during an attack, which is repeated when the answers came
// late: see maxRounds. What is lost is lost.
func (s *stage) askMeanwhile(r *result, m *machine, attack func() error) error {
	d := 2 * time.Second
	if s.short {
		d = 600 * time.Millisecond
	}
	server := netip.AddrPortFrom(m.gw4, 53).String()
	probes := map[string]Probe{"dns": {"dns", server}, "dns over TCP": {"dnstcp", server}}
	for round := 1; ; round++ {
		samples, err := measureDuring(m.actor, probes, d, func(time.Duration) error { return attack() })
		if err != nil {
			return err
		}
		late := false
		for kind, sample := range samples {
			late = late || percentile(sample.Took, 0.99) > answerBound
			if sample.Lost > 0 {
				r.bad("%s: %d questions of a neighbour's were not answered: %s", kind, sample.Lost, sample.Why)
			}
		}
		if late && round < maxRounds {
			continue
		}
		for kind, sample := range samples {
			p99 := percentile(sample.Took, 0.99)
			if p99 > answerBound {
				r.bad("%s: a neighbour waits %v for an answer (p99)", kind, p99)
			}
			r.remark("%s p99 %v", kind, rounded(p99))
		}
		return nil
	}
}

// slowQuestions opens connections and says nothing, or little, or lies about how much there is to come.
func slowQuestions(s *stage, r *result) error {
	me, alice := s.machines["mallory"], s.machines["alice"]
	count := s.rounds(800, 10000)
	says := [][]byte{nil, {0}, {0, 0}, {0xff, 0xff}, {0, 40, 1}, {0xff, 0xff, 1, 2, 3}}
	args := CrowdArgs{Target: netip.AddrPortFrom(me.gw4, 53).String(), Count: count, Says: says, Keep: true, Wait: 300 * time.Millisecond}
	opened := 0
	err := s.askMeanwhile(r, alice, func() error {
		var crowd CrowdReply
		err := me.actor.call("Crowd", args, &crowd)
		r.tried += count
		opened += crowd.Opened
		return errors.Join(err, me.actor.call("Release", struct{}{}, &struct{}{}))
	})
	r.remark("%d of %d opened", opened, r.tried)
	return err
}
