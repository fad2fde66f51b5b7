package main

import (
	"math"
	"net"
	"testing"
	"time"
)

// The traffic measures what it should, over the loopback interface and without a world.
func TestTrafficOnLoopback(t *testing.T) {
	a := new(Actor)
	if err := a.Serve(20000, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	defer a.Release(struct{}{}, &struct{}{})
	at := func(port string) string { return net.JoinHostPort("127.0.0.1", port) }
	for _, receive := range []bool{false, true} {
		var rate float64
		if err := a.Bulk(BulkArgs{To: at("27100"), Streams: 2, Time: 100 * time.Millisecond, Receive: receive}, &rate); err != nil || rate < 1e6 || math.IsInf(rate, 0) {
			t.Errorf("bulk, receive %v: %v bytes a second, %v", receive, rate, err)
		}
	}
	var rate float64
	if err := a.Connect(BulkArgs{To: at("27101"), Time: 50 * time.Millisecond}, &rate); err != nil || rate < 10 {
		t.Errorf("%v connections a second, %v", rate, err)
	}
	var took time.Duration
	if err := a.OpenFlows(FlowArgs{Targets: []string{at("27101")}, Count: 20, AtOnce: 4}, &took); err != nil {
		t.Fatal(err)
	}
	var alive int
	if err := a.TryFlows(struct{}{}, &alive); err != nil || alive != 20 {
		t.Errorf("%d of 20 connections alive, %v", alive, err)
	}
	if err := a.CloseFlows(true, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	// Who is not read gets stuck; who is read slowly does not.
	if err := a.OpenFlows(FlowArgs{Targets: []string{at("27102")}, Count: 1, Say: 64 << 20}, &took); err != nil {
		t.Fatal(err)
	}
	if took < 100*time.Millisecond {
		t.Errorf("64 MiB for a server that does not read were taken in %v", took)
	}
	if err := a.Press(FlowArgs{Targets: []string{at("27102")}, Count: 3}, &struct{}{}); err != nil {
		t.Error(err)
	}
	if err := a.Deaf(struct{}{}, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	var sent int
	if err := a.Shout(ShoutArgs{To: "127.0.0.1", Rate: 1000, Size: 100, Time: 100 * time.Millisecond}, &sent); err != nil || sent < 20 || sent > 101 {
		t.Errorf("%d datagrams in 100 ms at 1000 a second, %v", sent, err)
	}
	if err := a.Knock(FlowArgs{Targets: []string{at("27998")}, Count: 2}, &struct{}{}); err != nil {
		t.Error(err)
	}
}
