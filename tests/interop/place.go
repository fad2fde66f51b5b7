package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

// place is somebody on some machine: who runs a command, and where. The methods that return a place leave this one as it
// is.
type place struct {
	s      *stage
	name   string
	at     world.Place
	prefix []string // how somebody becomes the user
	env    []string
	dir    string
	input  string
}

// result is how a command ended.
type result struct {
	Out, Err string // without the last newline
	Code     int    // exit status, 128 and the signal, -1 if it did not start
}

// All is what the command said, output and errors.
func (r result) All() string { return strings.Trim(r.Out+"\n"+r.Err, "\n") }

// with returns the place with further variables, NAME=value.
func (p place) with(env ...string) place {
	p.env = append(slices.Clone(p.env), env...)
	return p
}

// in returns the place with another working folder.
func (p place) in(dir string) place {
	p.dir = dir
	return p
}

// reading returns the place with something on standard input.
func (p place) reading(text string) place {
	p.input = text
	return p
}

// try runs a command to its end.
func (p place) try(args ...string) result {
	c := p.start(args...)
	return c.wait()
}

// run runs a command, returns its output without the last newline, and fails the cell if the command fails.
func (p place) run(args ...string) string {
	r := p.try(args...)
	if r.Code != 0 {
		p.s.fail("%s, as %s: exit status %d: %s", strings.Join(args, " "), p.name, r.Code, lastLine(r.All()))
	}
	return r.Out
}

// sh runs lines of shell that stop at the first failure.
func (p place) sh(script string) string { return p.run("sh", "-euc", script) }

// refuse runs a command that must fail, and returns what it said.
func (p place) refuse(args ...string) string {
	r := p.try(args...)
	if r.Code == 0 {
		p.s.fail("%s, as %s, was not refused: %s", strings.Join(args, " "), p.name, lastLine(r.All()))
	}
	return r.All()
}

// served asks a web server until it answers, with a text unless that is "", and fails the cell after 20 seconds.
func (p place) served(url, want string) {
	p.s.wait("an answer from "+url, func() error {
		if r := p.try("curl", "-sS", "--max-time", "3", url); r.Code != 0 || want != "" && r.Out != want {
			return errors.New(r.All())
		}
		return nil
	})
}

// look is try that leaves no trace in the journal.
func (p place) look(args ...string) result {
	c := p.command(args)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	code, err := c.Run()
	if err != nil {
		return result{Err: err.Error(), Code: -1}
	}
	return result{trim(out.String()), trim(errs.String()), code}
}

// process is a command that goes on.
type process struct {
	pid int // in the world

	p        place
	cmd      *world.Cmd
	args     []string
	mu       sync.Mutex
	out, err bytes.Buffer
	ended    chan struct{}
	result   result
	begin    time.Time
}

func (p place) command(args []string) *world.Cmd {
	c := p.s.w.Command(p.at, append(slices.Clone(p.prefix), args...)...)
	c.Env, c.Dir = p.env, p.dir
	if p.input != "" {
		c.Stdin = strings.NewReader(p.input)
	}
	return c
}

// start starts a command, which ends with the cell at the latest.
func (p place) start(args ...string) *process {
	c := &process{p: p, args: args, ended: make(chan struct{}), begin: time.Now()}
	c.cmd = p.command(args)
	c.cmd.Stdout, c.cmd.Stderr = locked{c, &c.out}, locked{c, &c.err}
	p.s.mu.Lock()
	over := p.s.over
	if !over {
		p.s.running = append(p.s.running, c)
	}
	p.s.mu.Unlock()
	if over {
		p.s.fail("%s was not started: the cell's time is up", strings.Join(args, " "))
	}
	if err := c.cmd.Start(); err != nil {
		p.s.forget(c)
		p.s.fail("%s, as %s: %w", strings.Join(args, " "), p.name, err)
	}
	c.pid = c.cmd.PID
	go func() {
		code, err := c.cmd.Wait()
		p.s.forget(c)
		c.mu.Lock()
		c.result = result{trim(c.out.String()), trim(c.err.String()), code}
		if err != nil {
			c.result.Err = strings.Trim(c.result.Err+"\n"+err.Error(), "\n")
			c.result.Code = -1
		}
		r := c.result
		c.mu.Unlock()
		title := p.name + "$ " + strings.Join(args, " ")
		if r.Code != 0 {
			title += fmt.Sprintf("    [exit status %d]", r.Code)
		}
		p.s.enter(title, r.All(), time.Since(c.begin))
		close(c.ended)
	}()
	return c
}

func (s *stage) forget(c *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = slices.DeleteFunc(s.running, func(other *process) bool { return other == c })
}

// wait waits for the end.
func (c *process) wait() result {
	<-c.ended
	return c.result
}

// done says whether it has ended.
func (c *process) done() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// said is what it has written so far, output and errors.
func (c *process) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String() + c.err.String()
}

// expect waits until it has written a text, and fails the cell after 20 seconds, or if it ends before that.
func (c *process) expect(text string) {
	if world.Poll(waitLimit, func() bool { return strings.Contains(c.said(), text) || c.done() }) && strings.Contains(c.said(), text) {
		return
	}
	c.p.s.fail("waited for %s to say %q: it said %s", strings.Join(c.args, " "), text, lastLine(c.said()))
}

// signal sends a signal to the command alone.
func (c *process) signal(number syscall.Signal) { c.cmd.Signal(number) }

// stop ends it, with its process group, and waits.
func (c *process) stop() result {
	c.cmd.Kill()
	return c.wait()
}

// locked is a writer of a process's output.
type locked struct {
	c *process
	b *bytes.Buffer
}

func (l locked) Write(b []byte) (int, error) {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	return l.b.Write(b)
}

func trim(s string) string { return strings.TrimSuffix(s, "\n") }

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// indent is a text as it stands in a report: moved to the right, the middle of a long one left out.
func indent(s string) string {
	const head, tail = 20, 40
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return ""
	}
	if len(lines) > head+tail {
		lines = slices.Concat(lines[:head], []string{fmt.Sprintf("... %d lines ...", len(lines)-head-tail)}, lines[len(lines)-tail:])
	}
	return "    " + strings.Join(lines, "\n    ") + "\n"
}
