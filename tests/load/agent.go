package load

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/tests/actors"
)

// withoutServers is the word for an agent that has none.
const withoutServers = "without-servers"

// Dispatch returns at once unless this process was started as an agent; else it never returns. A program that uses
// this package calls it before anything else.
func Dispatch() {
	actors.Dispatch(func(words []string) (any, error) {
		if !slices.Contains(words, withoutServers) {
			if err := serve(); err != nil {
				return nil, err
			}
		}
		return newAgentServer(), nil
	})
}

// running is a job under way.
type running struct {
	job     Job
	account *account
	cancel  context.CancelFunc
	done    chan struct{}
}

// agentServer does what a hub asks.
type agentServer struct {
	mu   sync.Mutex // held for one request
	jobs map[string]*running
}

func newAgentServer() *agentServer { return &agentServer{jobs: make(map[string]*running)} }

// Report tells what each job has seen since a moment.
func (s *agentServer) Report(from time.Duration, reply *[]Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.jobs {
		*reply = append(*reply, j.account.report(j.job, from))
	}
	slices.SortFunc(*reply, func(x, y Report) int { return cmp.Compare(x.Job.Name, y.Job.Name) })
	return nil
}

// SignalArgs is a signal to a process.
type SignalArgs struct{ PID, Number int }

// Signal sends a signal, and tells the moment just before.
func (s *agentServer) Signal(to SignalArgs, at *time.Duration) error {
	if to.PID <= 1 {
		return fmt.Errorf("%d is not one process", to.PID)
	}
	*at = Now()
	return syscall.Kill(to.PID, syscall.Signal(to.Number))
}

// Process looks at a process.
func (s *agentServer) Process(pid int, reply *Sample) (err error) {
	*reply, err = sampleProcess(pid)
	return err
}

// Links lists the network interfaces that are seen.
func (s *agentServer) Links(_ struct{}, reply *[]string) (err error) {
	*reply, err = links()
	return err
}

// Start starts a job.
func (s *agentServer) Start(j Job, _ *struct{}) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.jobs[j.Name]; ok {
		return fmt.Errorf("there is a job %q already", j.Name)
	}
	if j.Every <= 0 {
		return fmt.Errorf("job %q has no interval", j.Name)
	}
	var run func(ctx context.Context, j Job, a *account)
	switch j.Kind {
	case Stream:
		run = stream
	case Echo:
		run = echoes(j).run
	case Query:
		run = queries(j).run
	case Ask:
		run = ask
	case Knock:
		run = knock
	default:
		return fmt.Errorf("job %q is of no kind that is known: %q", j.Name, j.Kind)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{job: j, account: new(account), cancel: cancel, done: make(chan struct{})}
	s.jobs[j.Name] = r
	go func() {
		defer close(r.done)
		run(ctx, j, r.account)
	}()
	return nil
}

// Stop ends a job, or all, and forgets what it saw.
func (s *agentServer) Stop(name string, _ *struct{}) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var wg sync.WaitGroup
	for n, j := range s.jobs {
		if n == name || name == "*" {
			j.cancel()
			wg.Go(func() { <-j.done })
			delete(s.jobs, n)
		}
	}
	wg.Wait()
	return nil
}

func links() ([]string, error) {
	interfaces, err := net.Interfaces()
	names := make([]string, 0, len(interfaces))
	for _, i := range interfaces {
		names = append(names, i.Name)
	}
	slices.Sort(names)
	return names, err
}
