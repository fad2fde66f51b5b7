package load

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/tests/actors"
)

// ErrGone is returned by the methods of an Agent whose process has ended.
var ErrGone = actors.ErrGone

// Hub is where agents report.
type Hub struct{ *actors.Hub }

// Agent is a process that makes traffic.
type Agent struct{ *actors.Actor }

// NewHub listens on a unix socket.
func NewHub(socket string) (*Hub, error) {
	h, err := actors.NewHub(socket)
	return &Hub{h}, err
}

// Await returns the agent of that name that has come up last.
func (h *Hub) Await(name string, limit time.Duration) (*Agent, error) {
	a, err := h.Hub.Await(name, nil, limit)
	return &Agent{a}, err
}

// Agents lists the agents that answer, sorted by name.
func (h *Hub) Agents() []*Agent {
	var list []*Agent
	for _, a := range h.Actors() {
		list = append(list, &Agent{a})
	}
	return list
}

// patience is how long an agent may take to answer: it does nothing that takes long, but a machine may be busy.
const patience = 20 * time.Second

// Start starts jobs.
func (a *Agent) Start(jobs ...Job) error {
	for _, j := range jobs {
		if err := a.Call(patience, "Start", j, &struct{}{}); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends a job and forgets it; "*" is all of them.
func (a *Agent) Stop(name string) error { return a.Call(patience, "Stop", name, &struct{}{}) }

// Reports returns what each job of the agent has seen since a moment.
func (a *Agent) Reports(from time.Duration) (list []Report, err error) {
	err = a.Call(patience, "Report", from, &list)
	return list, err
}

// Signal sends a signal to a process of the agent's pid namespace, and returns the moment just before.
func (a *Agent) Signal(pid int, s syscall.Signal) (at time.Duration, err error) {
	if err = a.Call(patience, "Signal", SignalArgs{pid, int(s)}, &at); err != nil {
		err = fmt.Errorf("%v to %d: %w", s, pid, err)
	}
	return at, err
}

// Process looks at a process of the agent's pid namespace.
func (a *Agent) Process(pid int) (s Sample, err error) {
	err = a.Call(patience, "Process", pid, &s)
	return s, err
}

// Links lists the network interfaces that the agent sees, sorted.
func (a *Agent) Links() (names []string, err error) {
	err = a.Call(patience, "Links", struct{}{}, &names)
	return names, err
}

// Reports returns what all jobs of all agents have seen since a moment, by agent and job: "client/web".
func (h *Hub) Reports(from time.Duration) (map[string]Report, error) {
	all := make(map[string]Report)
	for _, a := range h.Agents() {
		reports, err := a.Reports(from)
		if errors.Is(err, ErrGone) {
			continue // its container has ended: who waits for it will say so
		}
		if err != nil {
			return nil, err
		}
		for _, r := range reports {
			all[a.Name+"/"+r.Job.Name] = r
		}
	}
	return all, nil
}
