package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

// spin leaves connections and sockets as nobody wants them and looks whether the worker does anything about it. None of
// them has anything to do: a hundredth of a processor is for what keeps trying, such as window probes.
func spin(s *stage, r *result) error {
	const each = 20
	most := pick(1., 10.) // the short form has all kinds at once; a busy loop is 100
	if err := s.main.network("spin", "10.107.0.0/16"); err != nil {
		return err
	}
	var flags []string
	ports := []int{bulkPort, holdPort, finPort, resetPort}
	for _, port := range ports {
		flags = append(flags, "-p", fmt.Sprintf("%d:%d", port+published, port))
	}
	c, err := s.main.container("source", "spin", flags...)
	if err != nil {
		return err
	}
	other, err := s.main.container("other", "spin")
	if err != nil {
		return err
	}
	for _, a := range []*actor{c, other, s.user} {
		if err := a.call("Serve", 0, &struct{}{}); err != nil {
			return err
		}
	}
	host := world.Addr("HOST4").String()
	at := func(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
	flows := func(a *actor, args FlowArgs) func() error {
		args.Count, args.AtOnce = each, 4
		return func() error {
			var took time.Duration
			return a.call("OpenFlows", args, &took)
		}
	}
	press := func(to string) func() error {
		return func() error {
			return c.call("Press", FlowArgs{Targets: []string{to}, Count: each}, &struct{}{})
		}
	}
	cases := []struct {
		name  string
		begin func() error
	}{
		{"container has ended its direction, host not", flows(c, FlowArgs{Targets: []string{at(host, holdPort)}, Half: true})},
		{"host has ended its direction, container not", flows(c, FlowArgs{Targets: []string{at(host, finPort)}})},
		{"client of a published port has ended its direction", flows(s.client, FlowArgs{Targets: []string{at(host, holdPort+published)}, Half: true})},
		{"container has ended its direction to a client", flows(s.client, FlowArgs{Targets: []string{at(host, finPort+published)}})},
		{"host has reset, container does not read", flows(c, FlowArgs{Targets: []string{at(host, resetPort)}})},
		{"container has reset, client does not read", flows(s.client, FlowArgs{Targets: []string{at(host, resetPort+published)}})},
		{"UDP to where nobody is", func() error {
			to := []string{at(host, 7998), at(world.Addr("WEB4").String(), 7998), at(world.Addr("UNREACHABLE4").String(), 7998)}
			return c.call("Knock", FlowArgs{Targets: to, Count: each}, &struct{}{})
		}},
		{"host does not read, its windows are shut", press(at(host, holdPort))},
		{"host reads 1 kB/s", press(at(host, crawlPort))},
		{"container does not read, its windows are shut", press(other.to(holdPort))},
		{"client does not read what a container sends", flows(s.client, FlowArgs{Targets: []string{at(host, bulkPort+published)}, Say: 1})},
	}
	status, err := s.main.status()
	if err != nil {
		return err
	}
	let := func() error {
		var errs []error
		for _, a := range []*actor{c, other, s.user, s.client} {
			errs = append(errs, a.release(), a.call("CloseFlows", true, &struct{}{}))
		}
		return errors.Join(errs...)
	}
	long := pick(5*time.Second, 3*time.Second)
	measure := func(name string, begin ...func() error) error {
		for _, f := range begin {
			if err := f(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		// What is left to do at first, such as a grace, may take a second.
		var share float64
		for range 3 {
			used, err := s.spent(status.Worker.PID, func() error {
				time.Sleep(long) // what is measured
				return nil
			})
			if err != nil {
				return err
			}
			if share = 100 * used.Seconds() / long.Seconds(); share <= most {
				break
			}
		}
		r.most(name+": worker", share, "% CPU", most, "%d of them", each)
		return let()
	}
	if *short {
		var all []func() error
		for _, c := range cases {
			all = append(all, c.begin)
		}
		return measure(fmt.Sprintf("%d kinds at once", len(cases)), all...)
	}
	for _, c := range cases {
		if err := measure(c.name, c.begin); err != nil {
			return err
		}
	}
	return nil
}
