package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"github.com/footbridge-net/footbridge/tests/load"
	"github.com/footbridge-net/footbridge/tests/world"
)

// churn is a kind of change.
type churn struct {
	name string
	once func(*soak, *rand.Rand) error
}

// churns are all kinds, each in a loop of its own.
var churns = []churn{
	{"containers with traffic", (*soak).guest},
	{"containers that end", (*soak).mayfly},
	{"networks", (*soak).network},
	{"restarts", (*soak).restarts},
}

// repeat makes one kind of change again and again until the context ends.
func (s *soak) repeat(ctx context.Context, index int, c churn, counts bool) {
	r := rand.New(rand.NewPCG(*seed, uint64(index)))
	for n := 1; ctx.Err() == nil; n++ {
		if err := c.once(s, r); err != nil {
			s.fail("%s, round %d: %v", c.name, n, err)
			// What is left of a round that failed must not make the next ones fail.
			return
		}
		if counts {
			s.cycles[index]++
		}
	}
}

// do gives commands that must succeed.
func (s *soak) do(commands ...[]string) error {
	for _, args := range commands {
		if _, err := s.stage.Footbridge(args...); err != nil {
			return err
		}
	}
	return nil
}

// guestPort is the host port of a guest.
const guestPort = 8400

// guest runs a container with a published port, lets it talk to everybody and everybody to it, and removes it in one
// of several ways.
func (s *soak) guest(r *rand.Rand) error {
	const name = "guest"
	port := fmt.Sprintf("%d:%d", guestPort, load.PeerPort)
	agent, err := s.stage.Container(name, "--network", load.Shared, "--network-alias", "visitor", "-p", port, "-p", port+"/udp")
	if err != nil {
		return err
	}
	resolver, err := s.stage.Resolver(name)
	if err != nil {
		return err
	}
	server, err := s.stage.Address(load.Server, load.Shared, 4)
	if err != nil {
		return err
	}
	at := func(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
	outside := world.Addr("WEB4").String()
	const often = 5 * time.Millisecond
	if err := agent.Start(
		load.Job{Name: "TCP to outside", Kind: load.Ask, To: at(outside, world.PortPeer), Every: often},
		load.Job{Name: "UDP to outside", Kind: load.Echo, To: at(outside, world.PortEcho), Every: often},
		load.Job{Name: "TCP to server", Kind: load.Ask, To: at(server, load.PeerPort), Every: often},
		load.Job{Name: "stream to server", Kind: load.Stream, To: at(server, load.EchoPort), Every: often},
		load.Job{Name: "stream to outside", Kind: load.Stream, To: at(outside, world.PortEcho), Every: often},
		load.Job{Name: "names", Kind: load.Query, To: at(resolver, 53), Question: load.Server, Want: server, Every: often},
		load.Job{Name: "names of the outside", Kind: load.Query, To: at(resolver, 53), Question: "web.example.test", Want: outside, Every: often},
	); err != nil {
		return err
	}
	host, client := world.Addr("HOST4").String(), world.Addr("CLIENT4").String()
	callers := []load.Job{
		{Name: "guest's TCP", Kind: load.Ask, To: at(host, guestPort), Want: client + ":", Every: often},
		{Name: "guest's UDP", Kind: load.Echo, To: at(host, guestPort), Want: client + ":", Every: often},
	}
	if err := s.stage.Client.Start(callers...); err != nil {
		return err
	}
	time.Sleep(time.Duration(200+r.IntN(600)) * time.Millisecond) // the length of the visit, or longer where all processors are at work
	if err := awaitAnswers(agent, s.stage.Client); err != nil {
		return err
	}
	if err := s.callersGo(callers); err != nil {
		return err
	}
	if err := s.finish(agent); err != nil {
		return err
	}
	switch r.IntN(3) {
	case 0:
		return s.do([]string{"rm", "-f", name})
	case 1:
		return s.do([]string{"kill", name}, []string{"wait", name}, []string{"rm", name})
	default:
		return s.do([]string{"stop", "-t", "0", name}, []string{"rm", name})
	}
}

// callersGo ends the client's jobs that called a guest, before the guest goes.
func (s *soak) callersGo(callers []load.Job) error {
	reports, err := s.stage.Client.Reports(0)
	if err != nil {
		return err
	}
	for _, j := range callers {
		for _, r := range reports {
			if r.Job.Name == j.Name {
				s.examine("client", r)
			}
		}
		if err := s.stage.Client.Stop(j.Name); err != nil {
			return err
		}
	}
	return nil
}

// mayfly runs commands that end by themselves, some of them with an error.
func (s *soak) mayfly(r *rand.Rand) error {
	code := r.IntN(3)
	result := s.stage.Try("run", "--rm", "--network", load.Shared, "-p", fmt.Sprintf("%d-%d:80-89", 8500, 8509), "sh", "-c",
		fmt.Sprintf("getent hosts %s >/dev/null && exit %d; exit 99", load.Server, code))
	if result.Code != code {
		return fmt.Errorf("a container that should end with status %d ended with %d: %s", code, result.Code, result.Stderr)
	}
	return nil
}

// network makes a network, connects and disconnects a container that lives, and removes it.
func (s *soak) network(r *rand.Rand) error {
	const name = "passing"
	create := []string{"network", "create", name}
	if r.IntN(2) == 0 {
		create = append(create, "--ipv6")
	}
	if r.IntN(3) == 0 {
		create = append(create, "--internal")
	}
	if err := s.do(create, []string{"network", "connect", "--alias", "there", name, load.Hidden}); err != nil {
		return err
	}
	if r.IntN(2) == 0 {
		if err := s.do([]string{"run", "--rm", "--network", name, "getent", "hosts", "there"}); err != nil {
			return err
		}
	}
	return s.do([]string{"network", "disconnect", name, load.Hidden}, []string{"network", "rm", name})
}

// restarts ends and starts the same container again.
func (s *soak) restarts(r *rand.Rand) error {
	const name = "again"
	if err := s.do([]string{"run", "-d", "--name", name, "--network", load.Apart, "-p", "8600:80", "sleep", "infinity"}); err != nil {
		return err
	}
	for range 1 + r.IntN(3) {
		if err := s.do([]string{"restart", "-t", "0", name}, []string{"exec", name, "true"}); err != nil {
			return err
		}
	}
	return s.do([]string{"rm", "-f", name})
}
