package dns

import (
	"testing"

	miekg "github.com/miekg/dns"
)

func BenchmarkContainerName(b *testing.B) {
	s := newServer(b, Options{Zone: myBridge(), Subnets: subnets})
	query := pack(b, question("c3.my_bridge.", miekg.TypeA))
	reply := func([]byte) {}
	b.ReportAllocs()
	for b.Loop() {
		s.HandleDatagram(client1, query, reply)
	}
}

func BenchmarkContainerReverse(b *testing.B) {
	s := newServer(b, Options{Zone: myBridge(), Subnets: subnets})
	query := pack(b, question("4.0.20.172.in-addr.arpa.", miekg.TypePTR))
	reply := func([]byte) {}
	b.ReportAllocs()
	for b.Loop() {
		s.HandleDatagram(client1, query, reply)
	}
}

func BenchmarkForwarded(b *testing.B) {
	r := startResolver(b, answering("203.0.113.7"))
	s := newServer(b, Options{Upstream: asking(b, UpstreamOptions{}, r.addr)})
	query := pack(b, question("example.com.", miekg.TypeA))
	replied := make(chan struct{})
	b.ReportAllocs()
	for b.Loop() {
		s.HandleDatagram(client1, query, func([]byte) { replied <- struct{}{} })
		<-replied
	}
}
