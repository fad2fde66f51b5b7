package load

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
)

// personality is argv[1] of an agent; then follow the hub's socket and the agent's name. With quiet behind it, the
// agent has no servers.
const (
	personality = "load-agent"
	quiet       = "-without-servers"
)

// Dispatch returns at once unless this process was started as an agent; else it never returns. A program that uses
// this package calls it before anything else.
func Dispatch() {
	if len(os.Args) != 4 || os.Args[1] != personality && os.Args[1] != personality+quiet {
		return
	}
	var err error
	if os.Args[1] == personality {
		err = serve()
	}
	if err == nil {
		err = runAgent(os.Args[2], os.Args[3])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "load agent %s: %v\n", os.Args[3], err)
		os.Exit(1)
	}
	os.Exit(0)
}

// CommandLine is the command that runs an agent of a hub.
func CommandLine(program, socket, name string) []string {
	return []string{program, personality, socket, name}
}

// runAgent serves the hub until it is gone.
func runAgent(socket, name string) error {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	in, out := json.NewDecoder(c), json.NewEncoder(c)
	if err := out.Encode(hello{Name: name, PID: os.Getpid()}); err != nil {
		return err
	}
	s := &agentServer{jobs: make(map[string]*running)}
	for {
		var r request
		if err := in.Decode(&r); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := out.Encode(s.serve(r)); err != nil {
			return err
		}
	}
}

// running is a job under way.
type running struct {
	job     Job
	account *account
	cancel  context.CancelFunc
	done    chan struct{}
}

// agentServer does what a hub asks. Requests come one after the other.
type agentServer struct{ jobs map[string]*running }

func (s *agentServer) serve(r request) answer {
	switch {
	case r.Start != nil:
		return answer{Error: text(s.start(*r.Start)), At: Now()}
	case r.Stop != "":
		s.stop(r.Stop)
		return answer{At: Now()}
	case r.Report != nil:
		a := answer{At: Now()}
		for _, j := range s.jobs {
			a.Reports = append(a.Reports, j.account.report(j.job, *r.Report))
		}
		slices.SortFunc(a.Reports, func(x, y Report) int { return cmp.Compare(x.Job.Name, y.Job.Name) })
		return a
	case r.Signal != nil:
		if r.Signal.PID <= 1 {
			return answer{Error: fmt.Sprintf("%d is not one process", r.Signal.PID)}
		}
		at := Now()
		return answer{Error: text(syscall.Kill(r.Signal.PID, syscall.Signal(r.Signal.Number))), At: at}
	case r.Process != 0:
		sample, err := sampleProcess(r.Process)
		return answer{Error: text(err), At: Now(), Sample: &sample}
	case r.Links:
		names, err := links()
		return answer{Error: text(err), At: Now(), Links: names}
	}
	return answer{Error: "nothing was asked"}
}

func (s *agentServer) start(j Job) error {
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

// stop ends a job, or all, and forgets what it saw.
func (s *agentServer) stop(name string) {
	var wg sync.WaitGroup
	for n, j := range s.jobs {
		if n == name || name == "*" {
			j.cancel()
			wg.Go(func() { <-j.done })
			delete(s.jobs, n)
		}
	}
	wg.Wait()
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

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
