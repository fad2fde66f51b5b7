package engine

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/footbridge-net/footbridge/api"
)

// What a container that runs may lack for a while.
const (
	flawMute     = "answer"   // it does not say that it lives
	flawNetworks = "networks" // all of them
	flawNetwork  = "network " // and its name: one of them
	flawRoute    = "route "   // and a network's name: the default route over it
	flawPorts    = "published ports"
)

// flaws are what a run lacks, each with its cause. The zero value is ready.
type flaws struct {
	mu   sync.Mutex
	what map[string]error
}

func (f *flaws) set(what string, cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.what == nil {
		f.what = map[string]error{}
	}
	f.what[what] = cause
}

// become makes these the flaws, and no others.
func (f *flaws) become(what map[string]error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.what = what
}

func (f *flaws) any() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.what) > 0
}

// beyondRoutes reports whether it lacks more than default routes.
func (f *flaws) beyondRoutes() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for what := range f.what {
		if !strings.HasPrefix(what, flawRoute) {
			return true
		}
	}
	return false
}

func (f *flaws) has(what string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.what[what] != nil
}

// sentences says what the container lacks, one sentence a flaw. again is how it is made
// anew, with its name to be put in.
func (f *flaws) sentences(again string) []api.Warning {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []api.Warning
	for _, what := range slices.Sorted(maps.Keys(f.what)) {
		cause := f.what[what]
		switch {
		case what == flawMute:
			out = append(out, api.Warning{
				Text:   fmt.Sprintf("it does not answer (%v): it is left running, without networks and published ports until it does", cause),
				Remedy: "wait, it is asked again; or end it with `footbridge rm -f %s`",
			})
		case what == flawPorts:
			out = append(out, api.Warning{
				Text:   fmt.Sprintf("not all of its published ports could be opened again (%v)", cause),
				Remedy: "free them, it is tried again; or " + again,
			})
		case strings.HasPrefix(what, flawRoute):
			out = append(out, api.Warning{
				Text:   fmt.Sprintf("its default routes over network %s could not be set (%v): the network itself works", strings.TrimPrefix(what, flawRoute), cause),
				Remedy: "give the interface its addresses back, it is tried again; or " + again,
			})
		default:
			out = append(out, api.Warning{
				Text:   fmt.Sprintf("%s could not be connected again (%v)", what, cause),
				Remedy: "wait, it is tried again; or " + again,
			})
		}
	}
	return out
}

// again is how a container is made anew, for a format with its name.
func (c *ContainerDef) again() string {
	if c.Foreign != nil { // its processes are not ours to stop
		return "detach %s and attach it again"
	}
	return "stop %s and start it"
}

// flawsOf is what inspect shows as the error of a container that runs; e.mu is
// held.
func (c *ctr) flawsOf() string {
	if c.run == nil {
		return ""
	}
	var texts []string
	for _, w := range c.run.flaws.sentences(c.def.again()) {
		texts = append(texts, w.Text)
	}
	return strings.Join(texts, "; ")
}

// flawWarnings are the flaws of all containers.
func (e *Engine) flawWarnings() []api.Warning {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []api.Warning
	for _, c := range e.sortedContainers() {
		if c.run == nil {
			continue
		}
		for _, w := range c.run.flaws.sentences(c.def.again()) {
			out = append(out, api.Warning{
				Text:   fmt.Sprintf("container %s: %s", c.def.Name, w.Text),
				Remedy: fmt.Sprintf(w.Remedy, c.def.Name),
			})
		}
	}
	slices.SortStableFunc(out, func(a, b api.Warning) int { return cmp.Compare(a.Text, b.Text) })
	return out
}

// Bounds of a backoff: often at first, since most causes pass at once, and later
// rarely enough to cost nothing.
const (
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 30 * time.Second
)

// backoff waits longer each time.
type backoff struct {
	next  time.Duration
	timer *time.Timer
}

func newBackoff() *backoff { return &backoff{next: backoffFirst} }

// after returns a channel that yields after the next pause. It is called for one
// wait at a time.
func (b *backoff) after() <-chan time.Time {
	b.stop()
	b.timer = time.NewTimer(b.next)
	b.next = min(2*b.next, backoffMost)
	return b.timer.C
}

func (b *backoff) stop() {
	if b.timer != nil {
		b.timer.Stop()
	}
}
