package load

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

// The containers of the usual traffic: two on a network of both families, one of which is published, and one that is
// on a network of its own, for being out of reach.
const (
	Asker  = "asker"
	Server = "server"
	Hidden = "hidden"

	Shared = "shared" // network of Asker and Server
	Apart  = "apart"  // network of Hidden

	Published = 8000 // host port of Server's PeerPort, TCP and UDP
)

// machine is a job that nothing of footbridge has a part in.
const machine = "the machine itself"

// Machine names the report that shows how long the machine itself keeps a process waiting: its probes go from the
// client to the client.
const Machine = "client/" + machine

// SetUp makes the networks and containers of the usual traffic.
func (s *Stage) SetUp() error {
	for _, network := range [][]string{
		{"--ipv6", "--subnet", "10.60.0.0/24", "--subnet", "fd60::/64", Shared},
		{"--subnet", "10.61.0.0/24", Apart},
	} {
		if _, err := s.Footbridge(append([]string{"network", "create"}, network...)...); err != nil {
			return err
		}
	}
	port := fmt.Sprintf("%d:%d", Published, PeerPort)
	for _, c := range []struct {
		name  string
		flags []string
	}{
		{Server, []string{"--network", Shared, "-p", port, "-p", port + "/udp"}},
		{Asker, []string{"--network", Shared}},
		{Hidden, []string{"--network", Apart}},
	} {
		if _, err := s.Container(c.name, c.flags...); err != nil {
			return err
		}
	}
	return nil
}

// Intensity says how dense the usual traffic is.
type Intensity struct {
	Probe  time.Duration // between two probes of a kind; TCP connections, which cost more, are half as frequent
	Frame  time.Duration // between two datagrams of the flow that shows how long a frame takes
	Stream time.Duration // between two blocks of a stream
	Bulk   int           // bytes of a block of the stream that makes the load
	// Patience is how long an answer is waited for; default that of Job.
	Patience time.Duration
}

// Traffic starts the usual jobs: streams, echoes, questions and knocks at whatever is closed, on all agents.
func (s *Stage) Traffic(i Intensity) error {
	asker, err := s.Hub.Await(Asker, arrival)
	if err != nil {
		return err
	}
	address := make(map[string]string)
	for _, of := range []struct {
		name, container, network string
		family                   int
	}{
		{"server4", Server, Shared, 4}, {"server6", Server, Shared, 6}, {"asker4", Asker, Shared, 4},
		{"asker6", Asker, Shared, 6}, {"hidden4", Hidden, Apart, 4},
	} {
		if address[of.name], err = s.Address(of.container, of.network, of.family); err != nil {
			return err
		}
	}
	resolver, err := s.Resolver(Asker)
	if err != nil {
		return err
	}
	at := func(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
	to := func(name string, port int) string { return at(world.Addr(name).String(), port) }
	from := func(host string) string { return net.JoinHostPort(host, "") }
	server, server6 := address["server4"], address["server6"]

	if err := asker.Start(i.patiently(
		Job{Name: "stream to server", Kind: Stream, To: at(server, EchoPort), Every: i.Stream, Between: true},
		Job{Name: "stream to server, IPv6", Kind: Stream, To: at(server6, EchoPort), Every: i.Stream, Between: true},
		Job{Name: "bulk to server", Kind: Stream, To: at(server, EchoPort), Every: i.Stream, Block: i.Bulk, Between: true},
		Job{Name: "stream to outside", Kind: Stream, To: to("WEB4", world.PortEcho), Every: i.Stream, Again: true},
		Job{Name: "stream to outside, IPv6", Kind: Stream, To: to("WEB6", world.PortEcho), Every: i.Stream, Again: true},
		Job{Name: "frames to server", Kind: Echo, To: at(server, EchoPort), Every: i.Frame, Between: true},
		Job{Name: "UDP to server", Kind: Echo, To: at(server, EchoPort), Want: from(address["asker4"]), Every: i.Probe, Between: true},
		Job{Name: "UDP to server, IPv6", Kind: Echo, To: at(server6, EchoPort), Want: from(address["asker6"]), Every: i.Probe, Between: true},
		Job{Name: "UDP to outside", Kind: Echo, To: to("WEB4", world.PortEcho), Every: i.Probe},
		Job{Name: "TCP to server", Kind: Ask, To: at(server, PeerPort), Want: from(address["asker4"]), Every: 2 * i.Probe, Between: true},
		Job{Name: "TCP to outside", Kind: Ask, To: to("WEB4", world.PortPeer), Want: from(world.Addr("UPLINK4").String()), Every: 2 * i.Probe},
		Job{Name: "name of a container", Kind: Query, To: at(resolver, 53), Question: Server, Want: server, Every: i.Probe},
		Job{Name: "name of the outside", Kind: Query, To: at(resolver, 53), Question: "web.example.test", Want: world.Addr("WEB4").String(), Every: i.Probe},
	)...); err != nil {
		return err
	}
	if err := s.Client.Start(i.patiently(
		Job{Name: machine, Kind: Echo, To: at("127.0.0.1", EchoPort), Every: i.Probe},
		Job{Name: "published TCP", Kind: Ask, To: to("HOST4", Published), Want: from(world.Addr("CLIENT4").String()), Every: 2 * i.Probe},
		Job{Name: "published TCP, IPv6", Kind: Ask, To: to("HOST6", Published), Want: from(world.Addr("CLIENT6").String()), Every: 2 * i.Probe},
		Job{Name: "published UDP", Kind: Echo, To: to("HOST4", Published), Want: from(world.Addr("CLIENT4").String()), Every: i.Probe},
	)...); err != nil {
		return err
	}
	return s.knocks(asker, address, i)
}

// patiently gives jobs the patience.
func (i Intensity) patiently(jobs ...Job) []Job {
	for n := range jobs {
		jobs[n].Patience = i.Patience
	}
	return jobs
}

// knockPatience is how long a door is listened at.
const knockPatience = 300 * time.Millisecond

// knocks starts the jobs that must not succeed.
func (s *Stage) knocks(asker *Agent, address map[string]string, i Intensity) error {
	knock := func(name, host string, port int) Job {
		return Job{Name: "closed: " + name, Kind: Knock, To: net.JoinHostPort(host, strconv.Itoa(port)),
			Every: 4 * i.Probe, Patience: knockPatience}
	}
	world4 := func(name string) string { return world.Addr(name).String() }
	if err := asker.Start(
		knock("another network's container", address["hidden4"], PeerPort),
		knock("another network's gateway", "10.61.0.1", 53),
		knock("cloud metadata", world4("METADATA4"), 80),
		knock("the host's loopback by the gateway", "10.60.0.1", world.PortLoopback),
		knock("the host's loopback by the gateway, IPv6", "fd60::1", world.PortLoopback),
	); err != nil {
		return err
	}
	return s.Client.Start(
		knock("a container's own address", address["server4"], PeerPort),
		knock("a port that is not published", world4("HOST4"), PeerPort),
		knock("the gateway", "10.60.0.1", 53),
		knock("the host's loopback", world4("HOST4"), world.PortLoopback),
	)
}
