package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

// ErrGone is returned by the methods of an Agent whose process has ended.
var ErrGone = errors.New("the agent is gone")

// Hub is where agents report.
type Hub struct {
	listener net.Listener

	mu     sync.Mutex
	agents map[string]*Agent // by name, the latest one
}

// Agent is a process that makes traffic.
type Agent struct {
	Name string
	PID  int // in its own pid namespace

	mu   sync.Mutex // held for one request and its answer
	conn net.Conn
	in   *json.Decoder
	out  *json.Encoder
	gone bool
}

// NewHub listens on a unix socket.
func NewHub(socket string) (*Hub, error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	h := &Hub{listener: l, agents: make(map[string]*Agent)}
	go h.accept()
	return h, nil
}

func (h *Hub) accept() {
	for {
		c, err := h.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			a := &Agent{conn: c, in: json.NewDecoder(c), out: json.NewEncoder(c)}
			var said hello
			if err := a.in.Decode(&said); err != nil {
				c.Close()
				return
			}
			a.Name, a.PID = said.Name, said.PID
			h.mu.Lock()
			defer h.mu.Unlock()
			if earlier := h.agents[a.Name]; earlier != nil {
				_ = earlier.Close() // of a container that is no more
			}
			h.agents[a.Name] = a
		}()
	}
}

// Await returns the agent of that name that has come after the given one, which may be nil.
func (h *Hub) Await(name string, after *Agent, limit time.Duration) (*Agent, error) {
	var a *Agent
	found := world.Poll(limit, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		a = h.agents[name]
		return a != nil && a != after
	})
	if !found {
		return nil, fmt.Errorf("waited %v for the agent %s", limit, name)
	}
	return a, nil
}

// Agents lists the agents that answer, sorted by name.
func (h *Hub) Agents() []*Agent {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []*Agent
	for _, a := range h.agents {
		if !a.Gone() {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(x, y *Agent) int {
		if x.Name < y.Name {
			return -1
		}
		return 1
	})
	return list
}

// Close ends all agents.
func (h *Hub) Close() error {
	err := h.listener.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.agents {
		err = errors.Join(err, a.Close())
	}
	return err
}

// Close ends the agent. Requests after it return ErrGone.
func (a *Agent) Close() error {
	if err := a.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Gone says whether a request has found the agent gone.
func (a *Agent) Gone() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gone
}

// patience is how long an agent may take to answer: it does nothing that takes long, but a machine may be busy.
const patience = 20 * time.Second

func (a *Agent) do(r request) (answer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone {
		return answer{}, fmt.Errorf("%s: %w", a.Name, ErrGone)
	}
	var said answer
	err := a.conn.SetDeadline(time.Now().Add(patience))
	if err == nil {
		err = a.out.Encode(r)
	}
	if err == nil {
		err = a.in.Decode(&said)
	}
	if err != nil {
		a.gone = true
		a.conn.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return answer{}, fmt.Errorf("%s has not answered within %v: %w", a.Name, patience, ErrGone)
		}
		return answer{}, fmt.Errorf("%s: %w (%v)", a.Name, ErrGone, err)
	}
	return said, said.err(a.Name)
}

// Start starts jobs.
func (a *Agent) Start(jobs ...Job) error {
	for _, j := range jobs {
		if _, err := a.do(request{Start: &j}); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends a job and forgets it; "*" is all of them.
func (a *Agent) Stop(name string) error {
	_, err := a.do(request{Stop: name})
	return err
}

// Reports returns what each job of the agent has seen since a moment.
func (a *Agent) Reports(from time.Duration) ([]Report, error) {
	said, err := a.do(request{Report: &from})
	return said.Reports, err
}

// Signal sends a signal to a process of the agent's pid namespace, and returns the moment just before.
func (a *Agent) Signal(pid int, s syscall.Signal) (time.Duration, error) {
	said, err := a.do(request{Signal: &signal{pid, int(s)}})
	if err != nil {
		err = fmt.Errorf("%v to %d: %w", s, pid, err)
	}
	return said.At, err
}

// Process looks at a process of the agent's pid namespace.
func (a *Agent) Process(pid int) (Sample, error) {
	said, err := a.do(request{Process: pid})
	if said.Sample == nil {
		return Sample{}, err
	}
	return *said.Sample, err
}

// Links lists the network interfaces that the agent sees, sorted.
func (a *Agent) Links() ([]string, error) {
	said, err := a.do(request{Links: true})
	return said.Links, err
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
