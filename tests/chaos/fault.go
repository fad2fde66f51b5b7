package main

import (
	"time"

	"github.com/footbridge-net/footbridge/tests/load"
)

// usualLimit is how long after a fault everything must work again.
const usualLimit = time.Second

// fault is one way to break something.
type fault struct {
	name string
	// share is how many of a hundred rounds it gets, at least one; 0 is one round.
	share int
	// bound is how long after the fault everything must work again; default usualLimit.
	bound time.Duration
	// unseen says whether nothing may be seen of it in a job but a delay; nil: in none.
	unseen func(load.Job) bool
	// delay is how long at most, and what the table shows instead of the recovery.
	delay time.Duration
	// after, if there is one, puts back what the last round has left, before anything is compared.
	after func(c *chaos) error
	// do does it and returns the moment from which on recovery is measured. What it finds lost it tells the row.
	do func(c *chaos, r *row) (hit time.Duration, err error)
}

func between(j load.Job) bool { return j.Between }
func anywhere(load.Job) bool  { return true }

// hides says whether nothing of the fault may be seen in a job but a delay.
func (f fault) hides(j load.Job) bool { return f.unseen != nil && f.unseen(j) }

func (f fault) limit() time.Duration {
	if f.bound > 0 {
		return f.bound
	}
	return usualLimit
}

// eased is the fault where everything takes so many times as long.
func (f fault) eased(times int) fault {
	f.bound = f.limit() * time.Duration(times)
	f.delay *= time.Duration(times)
	return f
}

func (f fault) rounds(all int) int {
	return max(1, all*f.share/100)
}

// faults are all that are tried, in this order.
var faults = []fault{
	{name: "worker killed", share: 100, do: (*chaos).killWorker},
	{name: "worker stopped (hung)", share: 10, bound: hungLimit, do: (*chaos).stopWorker},
	{name: "worker killed while containers are started", share: 50, do: during(startContainer)},
	{name: "worker killed while a port is published", share: 25, do: during(publishPort)},
	{name: "worker killed while a network is made", share: 25, do: during(makeNetwork)},
	{name: "worker killed while networks are connected", share: 25, do: during(connectNetwork)},
	{name: "worker killed again and again", share: 5, bound: loopLimit, do: (*chaos).killWorkerOften},
	{name: "upgrade to another binary", share: 25, unseen: between, delay: upgradeDelay, do: (*chaos).upgrade, after: (*chaos).downgrade},
	{name: "upgrade to a broken binary", share: 10, unseen: anywhere, delay: upgradeDelay, do: (*chaos).upgradeBroken},
	{name: "keeper killed", share: 50, do: (*chaos).killKeeper},
	{name: "keeper killed while commands wait", share: 10, do: (*chaos).killKeeperUnderCommands},
	{name: "keeper ended by SIGTERM", share: 10, do: (*chaos).terminateKeeper},
	{name: "keeper and worker killed", share: 25, do: (*chaos).killBoth},
	{name: "shim of a container killed", share: 25, unseen: anywhere, delay: neighbourDelay, do: (*chaos).killShim},
	{name: "pid 1 of a container killed", share: 25, unseen: anywhere, delay: neighbourDelay, do: (*chaos).killInit},
	{name: "network of a joined container vanishes", share: 10, unseen: anywhere, delay: neighbourDelay, do: (*chaos).vanish},
	{name: "disk full", share: 5, unseen: anywhere, delay: neighbourDelay, do: (*chaos).fillDisk},
	{name: "disk full and keeper killed", share: 5, do: (*chaos).fillDiskAndKill},
	{name: "no descriptors left to the keeper", share: 5, unseen: anywhere, delay: neighbourDelay, do: (*chaos).starveKeeper},
	{name: "no descriptors left to the worker", share: 5, bound: starveLimit, do: (*chaos).starveWorker},
	{name: "resolv.conf of the host replaced", share: 5, unseen: anywhere, delay: neighbourDelay, do: (*chaos).replaceResolver},
}
