package api

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

func (f *fake) container(nameOrID string) (*fakeContainer, error) {
	for _, c := range f.containers {
		if c.name == nameOrID || c.id == nameOrID {
			return c, nil
		}
	}
	return nil, Errorf(errdefs.ErrNotFound, "No such container: %s", nameOrID)
}

func (f *fake) ContainerCreate(_ context.Context, name string, req container.CreateRequest) (container.CreateResponse, error) {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return container.CreateResponse{}, err
	}
	if name == "" {
		name = fmt.Sprintf("nameless_%d", f.serial)
	}
	if req.HostConfig == nil || req.NetworkingConfig == nil {
		panic("the server promised that these are never nil")
	}
	c := &fakeContainer{id: f.newID(), name: name, req: req}
	c.proc = newProcess(req.Tty, req.Cmd)
	f.containers[c.id] = c
	return container.CreateResponse{ID: c.id}, nil
}

func (f *fake) ContainerStart(_ context.Context, nameOrID string) error {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return err
	}
	c, err := f.container(nameOrID)
	if err != nil {
		return err
	}
	if c.running {
		return errdefs.ErrNotModified
	}
	switch c.req.Cmd[0] {
	case "missing":
		return Errorf(ErrCommandNotFound, "exec: \"missing\": executable file not found in $PATH")
	case "cat":
		go func() {
			c.proc.run()
			f.exit(c, 0)
		}()
	}
	c.running = true
	f.emit(events.ContainerEventType, events.ActionStart, c.id, c.name)
	return nil
}

func (f *fake) exit(c *fakeContainer, code int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.running, c.exit = false, code
	for _, w := range c.waiters {
		w <- container.WaitResponse{StatusCode: code}
		close(w)
	}
	c.waiters = nil
}

func (f *fake) ContainerStop(_ context.Context, nameOrID string, o StopOptions) error {
	unlock, err := f.enter()
	if err == nil {
		f.lastStop = o
	}
	unlock()
	if err != nil {
		return err
	}
	return f.ContainerKill(context.Background(), nameOrID, "TERM")
}

func (f *fake) ContainerKill(_ context.Context, nameOrID string, signal string) error {
	unlock, err := f.enter()
	if err != nil {
		unlock()
		return err
	}
	c, err := f.container(nameOrID)
	if err != nil {
		unlock()
		return err
	}
	running := c.running
	c.signals = append(c.signals, signal)
	unlock()
	if !running {
		return errdefs.ErrNotModified
	}
	c.proc.outW.Close()
	c.proc.errW.Close()
	f.exit(c, 143)
	return nil
}

func (f *fake) ContainerRemove(_ context.Context, nameOrID string, o RemoveOptions) error {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return err
	}
	c, err := f.container(nameOrID)
	if err != nil {
		return err
	}
	if c.running && !o.Force {
		return Errorf(errdefs.ErrConflict, "cannot remove container %q: container is running: stop the container before removing or force remove", c.name)
	}
	delete(f.containers, c.id)
	return nil
}

func (f *fake) ContainerWait(_ context.Context, nameOrID string, condition container.WaitCondition) (<-chan container.WaitResponse, error) {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return nil, err
	}
	c, err := f.container(nameOrID)
	if err != nil {
		return nil, err
	}
	ch := make(chan container.WaitResponse, 1)
	if condition == container.WaitConditionNotRunning && !c.running {
		ch <- container.WaitResponse{StatusCode: c.exit}
		close(ch)
		return ch, nil
	}
	c.waiters = append(c.waiters, ch)
	return ch, nil
}

func (f *fake) ContainerList(_ context.Context, o ListOptions) ([]container.Summary, error) {
	unlock, err := f.enter()
	defer unlock()
	f.lastList = o
	if err != nil {
		return nil, err
	}
	var list []container.Summary
	for _, c := range f.containers {
		if !o.All && !c.running {
			continue
		}
		s := container.Summary{ID: c.id, Names: []string{"/" + c.name}, Command: "cat", Image: c.req.Image, State: container.StateCreated, Status: "Created"}
		if c.running {
			s.State, s.Status = container.StateRunning, "Up 3 seconds"
		}
		s.Ports = []container.PortSummary{{IP: netip.MustParseAddr("127.0.0.1"), PrivatePort: 80, PublicPort: 8080, Type: "tcp"}}
		list = append(list, s)
	}
	return list, nil
}

func (f *fake) ContainerDetail(context.Context, string) (ContainerDetail, error) {
	return ContainerDetail{Endpoints: map[string]EndpointDetail{"net": {Counters: map[string]uint64{"dropped_spoofed": 3}}}}, nil
}

func (f *fake) ContainerInspect(_ context.Context, nameOrID string) (container.InspectResponse, error) {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return container.InspectResponse{}, err
	}
	c, err := f.container(nameOrID)
	if err != nil {
		return container.InspectResponse{}, err
	}
	status := container.StateCreated
	if c.running {
		status = container.StateRunning
	}
	return container.InspectResponse{
		ID: c.id, Name: "/" + c.name, Config: c.req.Config, HostConfig: c.req.HostConfig,
		State:           &container.State{Status: status, Running: c.running, ExitCode: int(c.exit)},
		NetworkSettings: &container.NetworkSettings{},
	}, nil
}

func (f *fake) ContainerLogs(ctx context.Context, nameOrID string, o LogsOptions) (*Logs, error) {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return nil, err
	}
	c, err := f.container(nameOrID)
	if err != nil {
		return nil, err
	}
	f.lastLogs = o
	entries, logsErr := f.logs, f.logsErr
	return &Logs{TTY: c.req.Tty, Entries: func(yield func(LogEntry, error) bool) {
		for _, e := range entries {
			if e.Stream == stdcopy.Stdout && !o.Stdout || e.Stream == stdcopy.Stderr && !o.Stderr {
				continue
			}
			if !yield(e, nil) { // the client has gone already
				if o.Follow {
					f.detached <- struct{}{}
				}
				return
			}
		}
		if logsErr != nil {
			yield(LogEntry{}, logsErr)
			return
		}
		if o.Follow {
			<-ctx.Done()
			f.detached <- struct{}{}
		}
	}}, nil
}

func (f *fake) ContainerAttach(ctx context.Context, nameOrID string, o AttachOptions) (*Stream, error) {
	unlock, err := f.enter()
	if f.onAttach != nil {
		f.onAttach(ctx)
	}
	defer unlock()
	if err != nil {
		return nil, err
	}
	c, err := f.container(nameOrID)
	if err != nil {
		return nil, err
	}
	return f.stream(c.proc, o.Stdin, o.Stdout, o.Stderr), nil
}

func (f *fake) ContainerResize(_ context.Context, nameOrID string, size TTYSize) error {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return err
	}
	c, err := f.container(nameOrID)
	if err != nil {
		return err
	}
	c.size = size
	return nil
}

func (f *fake) ExecCreate(_ context.Context, nameOrID string, req container.ExecCreateRequest) (container.ExecCreateResponse, error) {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return container.ExecCreateResponse{}, err
	}
	c, err := f.container(nameOrID)
	if err != nil {
		return container.ExecCreateResponse{}, err
	}
	if !c.running {
		return container.ExecCreateResponse{}, Errorf(errdefs.ErrConflict, "container %s is not running", c.name)
	}
	id := f.newID()
	p := newProcess(req.Tty, req.Cmd)
	if req.DetachKeys != "" {
		if p.keys, err = ParseDetachKeys(req.DetachKeys); err != nil {
			return container.ExecCreateResponse{}, err
		}
	}
	f.execs[id] = p
	return container.ExecCreateResponse{ID: id}, nil
}

func (f *fake) exec(id string) (*fakeProcess, error) {
	if p, ok := f.execs[id]; ok {
		return p, nil
	}
	return nil, Errorf(errdefs.ErrNotFound, "No such exec instance: %s", id)
}

func (f *fake) ExecStart(_ context.Context, id string, req container.ExecStartRequest) (*Stream, error) {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return nil, err
	}
	p, err := f.exec(id)
	if err != nil {
		return nil, err
	}
	switch p.cmd[0] {
	case "missing":
		return nil, Errorf(ErrCommandNotFound, "exec: \"missing\": executable file not found in $PATH")
	case "panic":
		return &Stream{Stdout: panicReader{}, Detach: func() error { return nil }}, nil
	}
	if req.Detach {
		return nil, nil
	}
	go p.run()
	return f.stream(p, true, true, true), nil
}

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("a reader of the backend") }

func (f *fake) ExecInspect(_ context.Context, id string) (container.ExecInspectResponse, error) {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return container.ExecInspectResponse{}, err
	}
	p, err := f.exec(id)
	if err != nil {
		return container.ExecInspectResponse{}, err
	}
	code := 7
	return container.ExecInspectResponse{ID: id, ExitCode: &code, DetachKeys: p.keys, ProcessConfig: &container.ExecProcessConfig{Tty: p.tty}}, nil
}

func (f *fake) ExecResize(_ context.Context, id string, size TTYSize) error {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return err
	}
	p, err := f.exec(id)
	if err != nil {
		return err
	}
	p.size = size
	return nil
}

func (f *fake) ContainerRestart(ctx context.Context, nameOrID string, o StopOptions) error {
	if err := f.ContainerStop(ctx, nameOrID, o); err != nil && !errdefs.IsNotModified(err) {
		return err
	}
	return f.ContainerStart(ctx, nameOrID)
}

func (f *fake) ContainerRename(_ context.Context, nameOrID, name string) error {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return err
	}
	c, err := f.container(nameOrID)
	if err != nil {
		return err
	}
	c.name = name
	return nil
}

func (f *fake) ContainerTop(_ context.Context, nameOrID, args string) (container.TopResponse, error) {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return container.TopResponse{}, err
	}
	c, err := f.container(nameOrID)
	if err != nil {
		return container.TopResponse{}, err
	}
	return container.TopResponse{Titles: []string{"PID", "CMD"}, Processes: [][]string{{"42", c.name + " " + args}}}, nil
}

func (f *fake) ContainersPrune(_ context.Context, filters Filters) (ContainersPruneReport, error) {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return ContainersPruneReport{}, err
	}
	if err := filters.Check("until"); err != nil {
		return ContainersPruneReport{}, err
	}
	var report ContainersPruneReport
	for id, c := range f.containers {
		if !c.running {
			delete(f.containers, id)
			report.ContainersDeleted = append(report.ContainersDeleted, id)
		}
	}
	return report, nil
}
