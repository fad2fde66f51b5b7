package main

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"time"
)

// Servers for the long way are those of Serve with these offsets: each kind of traffic has its own, since a connection's losses
// go by its number at its server.
const (
	atHost      = 800  // the host's own, of which clients' connections to it are two kinds
	published   = 1200 // host ports that lead to the container's bulkPort
	betweenKind = 200
)

// kind is one way of the data over the long way, by a plain socket of the host and by a container's.
type kind struct {
	name       string
	plain, our func() (*actor, string) // who asks, and what
	receive    bool
}

func longPath(s *stage, r *result) error {
	if err := s.makeWay(); err != nil {
		return err
	}
	if err := s.main.network("path", "10.105.0.0/16"); err != nil {
		return err
	}
	var flags []string
	for i := range 2 {
		flags = append(flags, "-p", fmt.Sprintf("%d:%d", bulkPort+published+i*betweenKind, bulkPort))
	}
	c, err := s.main.container("source", "path", flags...)
	if err != nil {
		return err
	}
	if err := c.call("Serve", 0, &struct{}{}); err != nil {
		return err
	}
	for i := range 4 {
		if err := s.client.call("Serve", i*betweenKind, &struct{}{}); err != nil {
			return err
		}
	}
	for i := range 2 {
		if err := s.user.call("Serve", atHost+i*betweenKind, &struct{}{}); err != nil {
			return err
		}
	}
	ask := func(a *actor, host string, offset int) func() (*actor, string) {
		return func() (*actor, string) { return a, net.JoinHostPort(host, strconv.Itoa(bulkPort+offset)) }
	}
	kinds := []kind{
		{"container sends to the outside", ask(s.user, farEnd, 0), ask(c, farEnd, betweenKind), false},
		{"container receives from the outside", ask(s.user, farEnd, 2*betweenKind), ask(c, farEnd, 3*betweenKind), true},
		{"client sends to a published port", ask(s.client, nearEnd, atHost), ask(s.client, nearEnd, published), false},
		{"client receives from a published port", ask(s.client, nearEnd, atHost+betweenKind), ask(s.client, nearEnd, published+betweenKind), true},
	}
	if err := s.lossy(r, kinds); err != nil {
		return err
	}
	return s.wide(r, kinds)
}

// makeWay makes the long way and gives its ends their addresses.
func (s *stage) makeWay() error {
	if err := s.admin.call("MakeWay", WayArgs{}, &struct{}{}); err != nil {
		return err
	}
	// Queues as long as what is under way: a way that is only long loses nothing.
	const up = `ip addr add %[2]s/30 dev %[1]s && ip link set %[1]s up mtu 1500 txqueuelen 20000 &&
		ip route replace 198.18.0.0/30 dev %[1]s src %[2]s congctl cubic`
	if err := s.admin.shell(up, nearTUN, nearEnd); err != nil {
		return err
	}
	return s.client.shell(up, farTUN, farEnd)
}

// within is how close to a plain socket's rate a container's must be; two short rounds are not that exact.
func within() float64 { return pick(0.9, 0.8) }

// lossy lets all kinds run at the same time, several connections each: losses decide, not the machine, and the first
// connection of one meets the same losses as the first of the other.
func (s *stage) lossy(r *result, kinds []kind) error {
	const delay, loss, connections = 20 * time.Millisecond, 0.01, 8
	ratios := make([][]float64, len(kinds))
	plain, our := make([][]float64, len(kinds)), make([][]float64, len(kinds))
	worst := func() float64 {
		least := math.Inf(1)
		for _, list := range ratios {
			least = math.Min(least, median(list))
		}
		return least
	}
	rounds, long := pick(5, 2), pick(6*time.Second, 3*time.Second)
	for round := 0; round < rounds || round < 3*rounds && worst() < within(); round++ {
		if err := s.admin.call("MakeWay", WayArgs{Delay: delay, Loss: loss, Seed: uint64(round + 1)}, &struct{}{}); err != nil {
			return err
		}
		rates := make([]float64, 2*len(kinds))
		if err := together(rates, func(i int, _ float64) error {
			k := kinds[i/2]
			a, to := k.plain()
			if i%2 == 1 {
				a, to = k.our()
			}
			return a.call("Bulk", BulkArgs{To: to, Streams: connections, Time: long, Receive: k.receive}, &rates[i])
		}); err != nil {
			return err
		}
		for i := range kinds {
			plain[i], our[i] = append(plain[i], rates[2*i]*8e-6), append(our[i], rates[2*i+1]*8e-6)
			ratios[i] = append(ratios[i], rates[2*i+1]/rates[2*i])
		}
		if *verbose {
			fmt.Printf("      round %d: Mbit/s, plain and ours in turn: %.1f\n", round+1, scaled(rates, 8e-6))
		}
	}
	for i, k := range kinds {
		r.rate(k.name+", 40 ms, 1 % lost : the host's own socket", median(ratios[i]), within(), "%s, %s Mbit/s, %d connections, %d rounds",
			number(median(our[i])), number(median(plain[i])), connections, len(ratios[i]))
	}
	return nil
}

func scaled(values []float64, by float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = v * by
	}
	return out
}

// wide is a way without losses, on which the windows of both ends decide.
func (s *stage) wide(r *result, kinds []kind) error {
	if err := s.admin.call("MakeWay", WayArgs{Delay: 25 * time.Millisecond}, &struct{}{}); err != nil {
		return err
	}
	rounds, long := pick(3, 1), pick(4*time.Second, 2*time.Second)
	for _, k := range kinds[:pick(len(kinds), 2)] { // published ports go the same way inside
		of := func(who func() (*actor, string)) func() (float64, error) {
			return func() (rate float64, err error) {
				a, to := who()
				err = a.call("Bulk", BulkArgs{To: to, Time: long, Receive: k.receive}, &rate)
				return rate * 8e-6, err
			}
		}
		our, plain, ratio, err := pairs(rounds, within(), of(k.our), of(k.plain))
		if err != nil {
			return err
		}
		r.rate(k.name+", 50 ms, nothing lost : the host's own socket", ratio, within(), "%s, %s Mbit/s, one connection", number(our), number(plain))
	}
	return nil
}
