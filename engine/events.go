package engine

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"

	"github.com/footbridge-net/footbridge/api"
)

const (
	// eventHistory is how many events are kept for --since, as Docker keeps.
	eventHistory = 256
	// eventBuffer is how far a subscriber may lag behind before it is dropped:
	// more than a run of 64 containers brings about at once.
	eventBuffer = 1024
)

// broker hands events to subscribers. It never waits for one.
type broker struct {
	now func() time.Time

	mu      sync.Mutex
	history []events.Message
	subs    map[*subscriber]struct{}
}

type subscriber struct {
	ch     chan events.Message
	accept func(events.Message) bool
}

func newBroker(now func() time.Time) *broker {
	return &broker{now: now, subs: make(map[*subscriber]struct{})}
}

// publish sends an event to everybody who wants it.
func (b *broker) publish(t events.Type, action events.Action, id string, attributes map[string]string) {
	now := b.now()
	m := events.Message{
		Type: t, Action: action, Scope: "local",
		Actor: events.Actor{ID: id, Attributes: maps.Clone(attributes)},
		Time:  now.Unix(), TimeNano: now.UnixNano(),
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.history) == eventHistory {
		b.history = append(b.history[:0], b.history[1:]...)
	}
	b.history = append(b.history, m)
	for s := range b.subs {
		if !s.accept(m) {
			continue
		}
		select {
		case s.ch <- m:
		default: // too slow: its channel ends, so that it knows
			b.drop(s)
		}
	}
}

// drop ends a subscription. b.mu is held.
func (b *broker) drop(s *subscriber) {
	if _, ok := b.subs[s]; ok {
		delete(b.subs, s)
		close(s.ch)
	}
}

// close ends all subscriptions.
func (b *broker) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.subs {
		b.drop(s)
	}
}

// subscribe returns a channel with what is kept since o.Since and what comes
// from now on, until ctx ends or o.Until has passed.
func (b *broker) subscribe(ctx context.Context, o api.EventsOptions) <-chan events.Message {
	s := &subscriber{
		ch:     make(chan events.Message, eventBuffer+eventHistory),
		accept: func(m events.Message) bool { return matchesEvent(o.Filters, m) },
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !o.Since.IsZero() {
		for _, m := range b.history {
			at := time.Unix(0, m.TimeNano)
			if !at.Before(o.Since) && (o.Until.IsZero() || !at.After(o.Until)) && s.accept(m) {
				s.ch <- m
			}
		}
	}
	end := func() { b.mu.Lock(); b.drop(s); b.mu.Unlock() }
	if !o.Until.IsZero() {
		left := o.Until.Sub(b.now())
		if left <= 0 {
			close(s.ch)
			return s.ch
		}
		timer := time.AfterFunc(left, end)
		context.AfterFunc(ctx, func() { timer.Stop(); end() })
	} else {
		context.AfterFunc(ctx, end)
	}
	b.subs[s] = struct{}{}
	return s.ch
}

// matchesEvent applies the filters that Docker has for events.
func matchesEvent(f api.Filters, m events.Message) bool {
	attr := m.Actor.Attributes
	object := func(t events.Type) func(string) bool {
		return func(v string) bool {
			return m.Type == t && (m.Actor.ID == v || attr["name"] == v || (len(v) >= shortLen && len(v) < 64 && short(m.Actor.ID) == short(v))) ||
				m.Type == events.NetworkEventType && t == events.ContainerEventType && attr["container"] == v
		}
	}
	return f.Match("type", func(v string) bool { return string(m.Type) == v }) &&
		f.Match("event", func(v string) bool { return string(m.Action) == v }) &&
		f.Match("container", object(events.ContainerEventType)) &&
		f.Match("network", object(events.NetworkEventType)) &&
		f.Match("scope", func(v string) bool { return v == m.Scope }) &&
		f.Match("image", func(v string) bool { return m.Type == events.ContainerEventType && attr["image"] == v }) &&
		// There are none of these, or nothing happens to them.
		!f.Has("daemon") && !f.Has("plugin") && !f.Has("volume") &&
		f.MatchLabels(attr)
}
