package nsexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// A Method is a way into the namespaces.
type Method string

// The ways that there are.
const (
	Native  Method = "native"  // system calls between fork and exec
	Nsenter Method = "nsenter" // the program of util-linux
)

// A Spec says what to start, and where.
type Spec struct {
	User    *os.File // user namespace; nil stays in the caller's
	Net     *os.File // network namespace
	Arg0    string   // the new program's name for itself; see IsHelper
	Env     []string // its whole environment
	Socket  *os.File // its descriptor 3
	Dir     *os.File // its working directory, if that can be; nil: the caller's
	Methods []Method // ways to try, in order; nil is Native, then Nsenter
}

// An EnterError is a step on the way into the namespaces that failed.
type EnterError struct {
	Method Method
	Step   string // the system call
	Err    error  // mostly a syscall.Errno
}

func (e *EnterError) Error() string {
	return fmt.Sprintf("nsexec: %s: %s: %v", e.Method, e.Step, e.Err)
}

func (e *EnterError) Unwrap() error { return e.Err }

// An ExitError is a process that did not end well.
type ExitError struct {
	Method Method
	State  *os.ProcessState
	Stderr string // the beginning of what it said
}

func (e *ExitError) Error() string {
	text := fmt.Sprintf("nsexec: %s: %v", e.Method, e.State)
	if e.Stderr != "" {
		text += ": " + e.Stderr
	}
	return text
}

// A Process runs inside the namespaces.
type Process struct {
	Method  Method // the way it came in
	Pid     int
	Skipped error // why the methods before that were not possible, or nil

	proc *os.Process
	done chan struct{}
	err  error // valid after done
}

// Start starts this program in the namespaces. The process is killed when ctx
// ends, and is always reaped. A method that the system forbids (ENOSYS, EPERM or
// EACCES) is followed by the next one; any other failure is final.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	stderrRead, stderrWrite, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("nsexec: %w", err)
	}
	defer stderrWrite.Close()

	methods := spec.Methods
	if len(methods) == 0 {
		methods = []Method{Native, Nsenter}
	}
	var failures []error
	for _, method := range methods {
		var proc *os.Process
		switch method {
		case Native:
			proc, err = startNative(&spec, stderrWrite)
		case Nsenter:
			proc, err = startNsenter(&spec, stderrWrite)
		default:
			err = fmt.Errorf("nsexec: no method %q", method)
		}
		if err == nil {
			p := &Process{Method: method, Pid: proc.Pid, Skipped: errors.Join(failures...), proc: proc, done: make(chan struct{})}
			go p.reap(ctx, stderrRead)
			return p, nil
		}
		failures = append(failures, err)
		if !forbidden(err) {
			break
		}
	}
	stderrRead.Close()
	return nil, errors.Join(failures...)
}

// forbidden reports whether err says that another way may be open.
func forbidden(err error) bool {
	return errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES)
}

// stderrLimit bounds what is kept of the helper's complaints.
const stderrLimit = 4 << 10

// reap takes the process's end and what it said.
func (p *Process) reap(ctx context.Context, stderr *os.File) {
	stop := context.AfterFunc(ctx, func() { _ = p.proc.Kill() })
	said, _ := io.ReadAll(io.LimitReader(stderr, stderrLimit))
	_, _ = io.Copy(io.Discard, stderr)
	stderr.Close()
	state, err := p.proc.Wait()
	stop()
	switch {
	case err != nil:
		p.err = fmt.Errorf("nsexec: wait: %w", err)
	case !state.Success():
		p.err = &ExitError{Method: p.Method, State: state, Stderr: strings.TrimSpace(string(said))}
	}
	close(p.done)
}

// Wait waits for the process's end. An end other than exit status 0 is an
// *ExitError. Wait may be called any number of times.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Kill ends the process at once. Killing one that has ended is no error.
func (p *Process) Kill() { _ = p.proc.Kill() }
